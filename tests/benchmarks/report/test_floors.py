"""The guard's floors are what one rule makes of the committed runs."""

import json
from dataclasses import replace

import pytest

from harmonyrt.benchmarks.report import floors, guard
from harmonyrt.benchmarks.report.guard import floor_of

ROW = {"name": "a", "size": 256, "threads": 1, "target": "openvino", "backend": "openvino", "precision": "fp32",
       "at_least": 1.0}  # fmt: skip
EPYC = "AMD EPYC, 2 cores"


@pytest.fixture(scope="module")
def runs():
    return list(floors.committed_runs())


def test_the_committed_floors_follow_from_the_committed_runs(capsys):
    assert floors.main(["--check"]) == 0
    assert capsys.readouterr().out == "as the committed runs want it\n"


def test_a_floor_is_cut_from_the_lowest_ratio_of_all_runs(runs):
    floor = floor_of({**ROW, "against": "torch"})
    (once,) = floors.ratios(EPYC, floor, runs)
    run = next(run for run in runs if floors.ratios(EPYC, floor, [run]))
    slower = [
        replace(m, samples=tuple(tuple(2 * s for s in turn) for turn in m.samples)) if m.case.kind == "engine" else m
        for m in run.measured
    ]
    both = [run, replace(run, measured=tuple(slower))]
    assert floors.ratios(EPYC, floor, both) == pytest.approx([once, once / 2])
    rows = {EPYC: [{**ROW, "against": "torch"}]}
    (new,) = floors.renewed(rows, both)[EPYC]
    assert new["at_least"] == pytest.approx(guard.MARGIN * once / 2, abs=0.01)
    assert new["at_least"] <= guard.MARGIN * once / 2


@pytest.mark.parametrize(
    ("change", "machine"),
    [
        ({"size": 264}, EPYC),
        ({"threads": 3}, EPYC),
        ({"rewrites": ["winograd"]}, EPYC),
        ({"backend": "onnxruntime"}, EPYC),  # which opens no engine of that target
        ({"needs": ["AMX BF16"]}, EPYC),
        ({}, "another CPU, 2 cores"),
    ],
)
def test_what_no_run_shows_keeps_its_floor(runs, change, machine):
    row = {**ROW, **change, "at_least": 1.23}
    assert floors.ratios(machine, floor_of(row), runs) == []
    assert floors.renewed({machine: [row]}, runs) == {machine: [row]}


def test_floors_that_differ_are_said_and_written(tmp_path, capsys):
    path = tmp_path / "guard.json"
    path.write_text(json.dumps({EPYC: [ROW]}))
    assert floors.main(["--check", "--floors", str(path)]) == 1
    assert "differs: run this again" in capsys.readouterr().out
    assert floors.main(["--floors", str(path)]) == 0
    assert floors.main(["--check", "--floors", str(path)]) == 0
    assert json.loads(path.read_text())[EPYC][0]["at_least"] > 1


def test_a_file_that_is_no_json_is_one_sentence(tmp_path, capsys):
    (tmp_path / "guard.json").write_text("{")
    assert floors.main(["--floors", str(tmp_path / "guard.json")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
