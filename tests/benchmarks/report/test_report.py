"""Which engine of a run meets a goal, and what the table says."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harmonyrt.benchmarks.cases import Case
from harmonyrt.benchmarks.compare import Budget, Measured, Ratio
from harmonyrt.benchmarks.report.front_page import front_page
from harmonyrt.benchmarks.report.goals import goals
from harmonyrt.benchmarks.report.pictures import draw
from harmonyrt.benchmarks.report.tables import BEGIN, END, documents, index, opening, overhead, overview, tables
from harmonyrt.benchmarks.results import Run, engine_name, write
from harmonyrt.benchmarks.timing import summarize
from harmonyrt.export.rewrites import SLOWER_THAN_PLAIN, names_of

MACHINE = {"cpu": {"model": "a CPU", "features": [], "cores_granted": 2}, "cards": [], "packages": {}}


def side(precision, ratio, decibels, kind="engine"):
    about = {
        "backend": "openvino",
        "target": "openvino",
        "precision": precision,
        "device": "cpu",
        "model": "PHNet 39.9 M",
    }
    if kind == "torch":
        about |= {"backend": "torch", "target": "eager"}
    speedup = None if ratio is None else Ratio(ratio, ratio - 0.1, ratio + 0.1)
    case = Case(kind, "bundle", 256, 256, threads=1)
    return Measured(case, about, summarize([1.0]), 1.0, 1.0, 1.0, True, speedup, decibels, ((1.0,),))


def run(name, *sides):
    return Run(name, "harmonyrt bench", "2026-01-01", MACHINE, Budget(), (side("fp32", None, None, "torch"), *sides))


def line(text, start):
    return next(row for row in text.splitlines() if row.startswith(f"| {start}"))


def test_the_fastest_engine_that_is_exact_enough_counts(tmp_path):
    sides = (side("fp32", 2.6, 110.0), side("fp32", 9.0, 60.0), side("fp32", 1.4, 120.0))
    text = goals([run("golden-256-1t", *sides)], tmp_path)
    assert "2.60x (2.50-2.70)" in line(text, "fp32, 256 px, 1 thread,")
    assert line(text, "fp32, 256 px, 1 thread,").endswith("| yes |")
    assert "no engine of this precision" in line(text, "bf16, 256 px, 1 thread")
    assert "not measured" in line(text, "fp32, 512 px, 2 threads")


def test_a_goal_that_is_missed_says_so(tmp_path):
    text = goals([run("golden-256-1t-int8", side("int8", 3.5, 20.0))], tmp_path)
    assert line(text, "int8, 256 px, 1 thread").endswith("| no |")


def test_int8_may_stand_in_the_run_of_the_other_precisions(tmp_path):
    text = goals([run("golden-256-1t", side("int8", 9.0, 45.0))], tmp_path)
    assert line(text, "int8, 256 px, 1 thread").endswith("| yes |")


def test_opening_is_a_table_and_two_goals(tmp_path):
    row = {"bundle": "default/a", "engine": "openvino fp32", "threads": 1, "open_empty_cache_ms": 900, "open_ms": 300}
    row |= {"first_call_ms": 400, "peak_rss_empty_cache_mb": 800, "peak_rss_mb": 460, "cache_mb": 150}
    row["parameters"] = 39_900_000
    smaller_network = {**row, "parameters": 9_990_000, "open_ms": 900, "peak_rss_mb": 100}
    report = {"rows": [row, smaller_network], "machine": "a CPU", "date": "2026-01-01", "command": "python -m x"}
    path = tmp_path / "opening.json"
    path.write_text(json.dumps(report))
    assert "| default/a | openvino fp32 | 1 | 900 | 300 | 400 | 800 | 460 | 150 |" in opening(path)
    text = goals([], tmp_path)
    assert line(text, "opening with a filled cache").endswith("| yes |")
    assert line(text, "peak resident memory").endswith("| no |")
    assert opening(tmp_path / "none.json") == []


def test_what_the_runtime_adds_is_a_table_and_two_goals(tmp_path):
    rows = [
        {"size": "1 MP", "threads": 1, "fit": 3.0, "engine": 100.0, "carry_back": 8.0},
        {"size": "12 MP", "threads": 2, "fit": 50.0, "engine": 100.0, "carry_back": 60.0},
    ]
    about = {"engine_size": [1024, 1024], "parameters": 9_990_000, "backend": "openvino fp32", "rounds": 3}
    about |= {"machine": "a CPU", "date": "2026-01-01", "command": "python -m x", "rows": rows}
    (tmp_path / "around_engine-1024.json").write_text(json.dumps(about))
    assert "| 1 MP | 1 | 3.0 | 8.0 | 11.0 | 100.0 | 11.0% |" in overhead(tmp_path)
    text = goals([], tmp_path)
    assert line(text, "fit, edit upsampling and blend").endswith("| 11.0% | engine of 10 M | no |")
    assert "| 110 ms |" in line(text, "the same for 12 megapixels")


def test_overview_has_a_table_for_each_network(tmp_path):
    two = run("golden-256-1t", side("fp32", 2.6, 110.0), side("bf16", 3.0, 50.0))
    text = "\n".join(overview([two]))
    assert "### PHNet 39.9 M, network only" in text
    assert "| openvino fp32 | 2.60x (1000.0) |" in text
    assert "| openvino bf16 | 3.00x (1000.0) |" in text


def test_another_machine_has_tables_of_its_own(tmp_path):
    write(run("golden-256-1t", side("fp32", 2.6, 110.0)), tmp_path / "bench-golden-256-1t.json")
    there = tmp_path / "other"
    there.mkdir()
    assert "On another machine" not in tables(tmp_path)
    faster = run("golden-256-1t", side("fp32", 2.0, 110.0))
    faster = replace(faster, machine={**MACHINE, "cpu": {**MACHINE["cpu"], "model": "a newer CPU"}})
    write(faster, there / "bench-golden-256-1t.json")
    here, _, other = tables(tmp_path).partition("## On another machine: a newer CPU, 2 cores granted")
    assert "2.60x" in here
    assert "2.00x" not in here
    assert line(other, "fp32, 256 px, 1 thread,").endswith("| no |")
    assert "| openvino fp32 | 2.00x" in other
    assert "2.60x" not in other


@pytest.mark.parametrize(
    ("names", "called"),
    [
        (names_of(["fast"], SLOWER_THAN_PLAIN), "openvino bf16, for AMX"),
        (names_of(["low-memory"]), "openvino bf16, low memory"),
        (names_of(["fast"]), "openvino bf16"),
        ((*names_of(["low-memory"]), "fused-convolutions"), "openvino bf16, native kernels"),
        ((), "openvino bf16, no rewrites"),
    ],
)
def test_engines_are_called_by_what_their_rewrites_leave_out(names, called):
    plain = side("bf16", 2.0, 50.0)
    assert engine_name(replace(plain, about={**plain.about, "rewrites": " ".join(names)})) == called


def test_pictures_are_drawn_from_runs(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib draws")
    drawn = draw([run("golden-256-1t", side("fp32", 2.6, 110.0))], tmp_path)
    assert [path.name for path in drawn] == ["latency-golden-256-1t.png", "fps-39.9m.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_the_committed_documents_are_what_the_committed_runs_say():
    """`make bench` would change nothing: no table was edited by hand, and no run was committed without its tables."""
    root = Path(__file__).resolve().parents[3]
    for document, fresh in documents(root).items():
        between = document.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
        assert between.strip() == fresh.strip(), f"{document.name} is out of date; run make bench"


def test_every_committed_measurement_is_listed_with_its_command():
    folder = Path(__file__).resolve().parents[3] / "benchmarks" / "results"
    listed = "\n".join(index(folder))
    for path in folder.rglob("*.json"):
        assert f"({path.relative_to(folder)})" in listed
        command = json.loads(path.read_text()).get("command")
        assert command or path.stem.startswith("training_pace"), f"{path.name} does not say what made it"


def test_the_front_page_has_default_engines_and_the_cost_of_opening(tmp_path):
    fast, low = side("bf16", 3.0, 50.0), side("fp32", 1.5, 50.0)
    case = Case("engine", "bundle", 256, 256, threads=2)
    sides = [
        replace(m, case=case, about={**m.about, "rewrites": " ".join(names_of([names]))})
        for m, names in ((fast, "fast"), (low, "low-memory"))
    ]
    row = {"bundle": "golden/low-memory/a", "engine": "openvino fp32", "parameters": 9_990_000, "open_ms": 129}
    row |= {"open_empty_cache_ms": 239, "peak_rss_empty_cache_mb": 223, "cache_mb": 40}
    (tmp_path / "opening.json").write_text(json.dumps({"rows": [row], "machine": "a CPU", "date": "2026-01-01"}))
    text = front_page([run("golden-256-2t", *sides)], [], tmp_path / "opening.json")
    assert "| openvino bf16 | 1000.0 (3.0x) |" in text
    assert "openvino fp32 |  " not in text
    assert "low memory, 256" not in text
    assert "| 10.0 M, openvino fp32 | low memory | 239 | 129 | 223 | 40 |" in text
