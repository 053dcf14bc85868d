"""The server's benchmark measures what it says, and its runs become tables."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from harmonyrt.benchmarks.report.serving import sizing
from harmonyrt.benchmarks.serving_client import Client, Reply, jpeg_pair, pair_request, percentiles
from harmonyrt.runtime import read_mask_file, read_picture_file


def test_pairs_differ_by_seed_and_have_their_size():
    pair = jpeg_pair(0.1, seed=4)
    assert pair.composite != jpeg_pair(0.1, seed=5).composite
    picture, mask = read_picture_file(pair.composite), read_mask_file(pair.mask)
    assert picture.rgb.shape[:2] == mask.values.shape
    assert pair.megapixels == pytest.approx(0.1, rel=0.01)
    assert 0.1 < (mask.values > 127).mean() < 0.3


def test_percentiles_are_in_milliseconds():
    assert percentiles([0.001, 0.002, 0.003]) == {"count": 3, "p50": 2.0, "p90": 2.8, "p99": 2.98, "max": 3.0}
    assert percentiles([]) == {"count": 0}


def test_a_server_that_is_not_there_is_a_lost_request():
    async def scene() -> Reply:
        return await Client(1).ask(pair_request(jpeg_pair(0.01)))

    assert asyncio.run(scene()).status == 0


@pytest.fixture(scope="module")
def reports(bundle, tmp_path_factory):
    """Short runs of all three modes."""
    folder = tmp_path_factory.mktemp("reports")
    for name, options in (
        ("serving", ["--megapixels", "0.05", "--rounds", "1", "--seconds", "0.3", "--open-seconds", "1"]),
        ("serving-soak", ["--soak", "120", "--kill-every", "0.3"]),
        ("serving-hostile", ["--mutations", "60"]),
    ):
        command = [sys.executable, "-m", "harmonyrt.benchmarks.serving", str(bundle), *options]
        subprocess.run([*command, "--json", str(folder / f"{name}.json")], check=True, capture_output=True, timeout=600)
    return folder


@pytest.mark.slow
def test_every_mode_runs_and_finds_the_server_well(reports):
    found = {path.stem: json.loads(path.read_text()) for path in reports.iterdir()}
    assert all(report["server_alive_at_end"] and report["exit_code"] == 0 for report in found.values())
    (row,) = found["serving"]["sizes"]
    assert row["same_bytes_as_plain"]
    assert row["throughput_ratio"] > 0
    assert set(row["open"]["statuses"]) <= {"200", "429"}
    counts = found["serving-soak"]["soak"]["counts"]
    assert set(counts) <= {"right", "aborted", "malformed", "too large", "told to come again", "sessions killed"}
    assert found["serving-soak"]["soak"]["session_failures"] >= 1
    assert found["serving-hostile"]["mutations"]["unexpected"] == []


@pytest.mark.slow
def test_reports_become_tables(reports):
    text = sizing(reports)
    assert "| 0.1 |" in text or "| 0.0 |" in text
    assert "**Soak.** 120 requests" in text
    assert "**Damaged forms.** Of 60" in text


def test_without_reports_there_is_no_table(tmp_path):
    assert sizing(tmp_path) == "Nothing is committed yet."
