"""Real processes timing a tiny bundle: what is measured, recorded, read back and drawn. No assertion is on a time."""

import json

import pytest

from harmonyrt.benchmarks.cases import Case
from harmonyrt.benchmarks.compare import Budget, measure
from harmonyrt.benchmarks.report.tables import BEGIN, END, rewrite, tables
from harmonyrt.benchmarks.results import HEADINGS, finished_run, markdown, read, rows, write
from harmonyrt.common import HarmonyError

QUICK = Budget(rounds=2, seconds=0, least=2, burn_in_seconds=0)


@pytest.fixture(scope="module")
def run(bundle):
    sides = [
        Case("engine", str(bundle), 32, 32, threads=1, backend="onnxruntime"),
        Case("engine", str(bundle), 32, 32, threads=1, backend="onnxruntime"),
        Case("picture", str(bundle), 50, 70, threads=1, backend="onnxruntime"),
    ]
    return finished_run("tiny", "harmonyrt bench tiny", QUICK, measure(sides, QUICK))


def test_sides_are_interleaved_and_compared_with_the_first(run):
    first, second, picture = run.measured
    assert first.speedup is None
    assert second.speedup is not None
    assert second.speedup.low <= second.speedup.median <= second.speedup.high
    assert second.psnr_to_first_db == 200  # the same engine gives the same bytes
    assert picture.psnr_to_first_db is None  # another shape
    assert [len(turns) for turns in first.samples] == [2, 2]
    assert first.about["backend"] == "onnxruntime"
    assert first.peak_rss_mb is None or first.peak_rss_mb > 10


def test_run_survives_its_file(run, tmp_path):
    write(run, tmp_path / "bench-tiny.json")
    assert read(tmp_path / "bench-tiny.json") == run


def test_tables_come_from_files(run, tmp_path):
    write(run, tmp_path / "bench-tiny.json")
    document = tmp_path / "benchmarks.md"
    document.write_text(f"# Before\n{BEGIN}\nold\n{END}\nafter\n")
    assert rewrite(document, tables(tmp_path))
    text = document.read_text()
    assert markdown(run) in text
    assert "old" not in text
    assert text.startswith("# Before\n")
    assert text.endswith("\nafter\n")
    assert not rewrite(document, tables(tmp_path))
    assert all(len(row) == len(HEADINGS) for row in rows(run))


def test_plot(run, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib draws the plot")
    from harmonyrt.benchmarks.plot import plot

    plot(run, tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"kind": "other"}))
    with pytest.raises(HarmonyError, match="not a benchmark"):
        read(tmp_path / "x.json")


def test_refusal_of_a_side_reaches_the_caller(bundle, tmp_path):
    with pytest.raises(HarmonyError, match="does not exist"):
        measure([Case("engine", str(tmp_path / "none"), 32, 32)], QUICK)
    with pytest.raises(HarmonyError, match="built for"):
        measure([Case("engine", str(bundle), 64, 64)], QUICK)
