"""Which engine of a run meets a target, and what the table says."""

import json

from harmonyrt.benchmarks.compare import Effort, Measured, Ratio
from harmonyrt.benchmarks.results import Run
from harmonyrt.benchmarks.subjects import Subject
from harmonyrt.benchmarks.tables import opening
from harmonyrt.benchmarks.targets import targets
from harmonyrt.benchmarks.timing import summarize


def side(precision, ratio, decibels, kind="engine"):
    about = {"backend": "openvino", "target": "openvino", "precision": precision, "device": "cpu"}
    speedup = None if ratio is None else Ratio(ratio, ratio - 0.1, ratio + 0.1)
    subject = Subject(kind, "bundle", 256, 256, threads=1)
    return Measured(subject, about, summarize([1.0]), 1.0, 1.0, 1.0, True, speedup, decibels, ((1.0,),))


def run(name, *sides):
    return Run(name, "harmonyrt bench", "2026-01-01", {}, Effort(), (side("fp32", None, None, "torch"), *sides))


def line(text, start):
    return next(row for row in text.splitlines() if row.startswith(f"| {start}"))


def test_the_fastest_engine_that_is_exact_enough_counts(tmp_path):
    sides = (side("fp32", 2.6, 110.0), side("fp32", 9.0, 60.0), side("fp32", 1.4, 120.0))
    text = targets([run("golden-256-1t", *sides)], tmp_path)
    assert "2.60x (2.50-2.70)" in line(text, "fp32, 256 px, 1 thread,")
    assert line(text, "fp32, 256 px, 1 thread,").endswith("| yes |")
    assert "no engine of this precision" in line(text, "bf16, 256 px, 1 thread")
    assert "not measured" in line(text, "fp32, 512 px, 2 threads")


def test_a_target_that_is_missed_says_so(tmp_path):
    text = targets([run("golden-256-1t-int8", side("int8", 3.5, 20.0))], tmp_path)
    assert line(text, "int8, 256 px, 1 thread").endswith("| no |")


def test_opening_is_a_table_and_two_targets(tmp_path):
    row = {"bundle": "default/a", "engine": "openvino fp32", "threads": 1, "open_empty_cache_ms": 900, "open_ms": 300}
    row |= {"first_call_ms": 400, "peak_rss_empty_cache_mb": 800, "peak_rss_mb": 460, "cache_mb": 150}
    path = tmp_path / "opening.json"
    path.write_text(json.dumps({"rows": [row], "machine": "a CPU", "date": "2026-01-01", "command": "python -m x"}))
    assert "| default/a | openvino fp32 | 1 | 900 | 300 | 400 | 800 | 460 | 150 |" in opening(path)
    text = targets([], tmp_path)
    assert line(text, "opening with a filled cache").endswith("| yes |")
    assert line(text, "peak resident memory").endswith("| no |")
    assert opening(tmp_path / "none.json") == []
