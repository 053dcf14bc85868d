"""The figures of quality that documents give are those of the committed reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harmonyrt.benchmarks.report.quality import BEFORE, SHIPPED, quality

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "benchmarks" / "results"


def report(name: str) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{name} holds {constant}, which is no JSON")

    return json.loads((RESULTS / name).read_text(encoding="utf-8"), parse_constant=refuse)


def row(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {start} |"))


def test_the_gpu_has_the_tables_of_the_reports():
    assert quality(RESULTS) in (ROOT / "weights" / "README.md").read_text(encoding="utf-8")


def test_the_readme_has_the_figures_of_the_reports():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    before, shipped = report(BEFORE), report(SHIPPED)
    follows = [f"{100 * one['follows']['-1 EV']:.0f} %" for one in (shipped, before)]
    assert f"a stop darker, objects follow it {follows[0]} of the way (earlier weights: {follows[1]})" in text
    assert f"{100 * shipped['cases']['moved']['worse']:.0f} % of composites come out worse" in text


@pytest.mark.parametrize("name", [BEFORE, SHIPPED])
def test_a_report_is_whole_and_names_no_machine(name):
    found = report(name)
    assert len(found["cases"]) == 36
    assert {one["pictures"] for one in found["cases"].values()} <= {102, 103}
    for place in ("/home", "/root", "/work", "/tmp"):
        assert place not in json.dumps(found)


def test_figures_and_what_was_reached_are_read_from_the_reports(tmp_path):
    for name, better in ((BEFORE, 0.0), (SHIPPED, 0.3)):
        found = report(SHIPPED)
        found["cases"]["moved"] |= {"ratio": 0.8 - better, "worse": 0.5, "share": 0.2 + better}
        (tmp_path / name).write_text(json.dumps(found))
    text = quality(tmp_path)
    assert row(text, "moved") == "| moved | 0.80, 50 %, 0.20 | 0.50, 50 %, 0.50 |"
    assert "| moved | 0.80 | 0.50 | at most 0.52, reached |" in text
    assert row(text, "share of the needed change") == (
        "| share of the needed change | 0.20 | 0.50 | at least 0.45, reached |"
    )
    assert row(text, "made worse, all of these").endswith("at most 12 % |")


def test_without_reports_there_is_no_table(tmp_path):
    assert quality(tmp_path) == ""
