"""The first hour with a GPU, whole, as a dry run: it walks through every part and measures nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from fakes.gpu_hours import numbers_in
from harmonyrt.benchmarks.gpu_hour import parts, records

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def dry_run(made_once, diffharmony_bundles, tiny_engines):
    """The whole of it; both bundles are those that other tests build and use too, of the same weights.

    So the build's command runs as a part gives it, and finds that nothing changed.
    """

    def make(folder):
        for built in (diffharmony_bundles["kl"], tiny_engines[0] / "phnet-64-fp32"):
            shutil.copytree(built, folder / "run" / "bundles" / built.name)
        command = [
            sys.executable,
            str(ROOT / "benchmarks" / "first_hour.py"),
            "--dry-run",
            "--output",
            str(folder / "run"),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        (folder / "said").write_text(done.stderr)
        assert done.returncode == 0, done.stderr[-3000:]

    return made_once("first-hour", make) / "run"


@pytest.mark.slow
def test_a_dry_run_walks_through_every_part(dry_run):
    for part in parts.PARTS:
        found = records.read_part(dry_run, part.name)
        assert found["dry"] is True
        assert found["state"] in ("passed", "absent"), found["rows"]
        assert found["rows"]
    said = json.loads((dry_run / "logs" / "build-onnx-fp32-64.log").read_text())
    assert [bundle["status"] for bundle in said["bundles"]] == ["unchanged"], "the stand-in's weights are the tiny ones"
    summary = json.loads((dry_run / records.SUMMARY).read_text())
    assert len(summary["parts"]) == len(parts.PARTS)
    assert summary["dry"] is True


@pytest.mark.slow
def test_no_number_of_a_dry_run_looks_like_a_measurement(dry_run):
    for part in parts.PARTS:
        found = records.read_part(dry_run, part.name)
        assert found["seconds"] == "dry"
        for row in found["rows"]:
            assert row["dry"] is True
            assert numbers_in(row) == [], row
    suite = json.loads((dry_run / "phnet-suite.json").read_text())
    assert suite["measured"]
    assert numbers_in({**suite, "schema": None}) == []
    for path in (dry_run / "nsight").glob("*.json"):
        assert numbers_in(json.loads(path.read_text())) == []
    assert "Dry run: nothing here was measured" in (dry_run / records.PAGE).read_text()


@pytest.mark.slow
def test_a_dry_run_leaves_only_its_folder(dry_run):
    names = {path.name for path in dry_run.iterdir()}
    assert names == {
        *("bundles", "logs", "parts", "nsight", "dry-tiny.safetensors"),
        *("phnet-suite.json", records.SUMMARY, records.PAGE),
    }
