"""The driver, with children of our own: parts end in time, fail alone, and are not done twice."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest

from fakes.gpu_hours import MACHINE
from harmonyrt.benchmarks import first_hour, gpu_suite
from harmonyrt.benchmarks.gpu_hour import driver, inputs, page, parts, records
from harmonyrt.common import HarmonyError


@pytest.fixture
def drive(monkeypatch, tmp_path):
    """drive(script, ...) runs part `soak` with a Python script as its process, and returns (exit code, record)."""
    monkeypatch.setattr(gpu_suite, "machine", lambda: MACHINE)
    monkeypatch.setattr(inputs, "sources", lambda: {"product": "0", "tests": "0"})
    started = []

    def run(script, seconds=60, force=False, options=None, dry=False):
        def command(hour):
            started.append(hour.part)
            return [sys.executable, "-c", script, str(hour.rows_file)]

        monkeypatch.setattr(driver, "child_command", command)
        (part,) = parts.chosen(["soak"])
        part = parts.Part(part.number, part.name, part.title, seconds, part.module, part.shows)
        code = driver.run_parts([part], tmp_path, dry, force, options or {})
        return code, records.read_part(tmp_path, "soak")

    run.started = started
    return run


ROW = json.dumps(records.Row("calls", "passed", "", {"calls": 5}).plain(False))


WRITES = f"import sys; file = open(sys.argv[1], 'a'); file.write({ROW!r} + chr(10)); file.flush();"


def test_a_part_that_crashes_keeps_what_it_found(drive, tmp_path):
    code, part = drive(WRITES + "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert code == 1
    assert part["state"] == "failed"
    assert "signal SIGSEGV" in part["sentence"]
    assert part["rows"][0]["measured"] == {"calls": 5}
    assert "SIGSEGV" in (tmp_path / "index.html").read_text()
    assert not list((tmp_path / "parts").glob(".*"))


def test_a_part_that_hangs_is_ended(drive):
    code, part = drive(WRITES + "file.write('{\"cut sho'); file.flush(); import time; time.sleep(300)", seconds=4)
    assert code == 1
    assert "ended after 4 s" in part["sentence"]
    assert len(part["rows"]) == 2


def test_what_is_done_is_not_done_again_with_the_same_inputs(drive):
    for _ in range(2):
        code, part = drive(WRITES)
        assert (code, part["state"]) == (0, "passed")
    assert len(drive.started) == 1
    drive(WRITES, force=True)
    drive(WRITES, options={"something": "else"})
    assert len(drive.started) == 3


@pytest.mark.parametrize("dry", [True, False])
def test_only_a_dry_run_is_kept_to_one_thread(drive, monkeypatch, dry):
    """On two busy cores its tiny networks took ten times the CPU time in threads that waited for each other."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    one = "import os; raise SystemExit(os.environ.get('OMP_NUM_THREADS') != '1')"
    assert drive(one, dry=dry)[0] == (0 if dry else 1)


def test_what_failed_is_done_again(drive):
    assert drive("raise SystemExit(3)")[0] == 1
    assert drive(WRITES)[0] == 0


def test_inputs_are_code_machine_and_tools(monkeypatch, tmp_path):
    soak_part, tool_part = parts.chosen(["soak", "sanitizer"])
    sources = {"product": "1", "tests": "1"}
    first = inputs.inputs_of(soak_part, MACHINE, False, {}, sources)
    assert inputs.inputs_of(soak_part, MACHINE, False, {}, {**sources, "tests": "2"}) == first
    assert inputs.inputs_of(soak_part, MACHINE, False, {}, {**sources, "product": "2"}) != first
    assert inputs.inputs_of(soak_part, MACHINE, True, {}, sources) != first
    gpu = {"name": "H200", "driver_version": "580", "temperature.gpu": "40"}
    warm = {**gpu, "temperature.gpu": "80"}
    cold, hot, other = (
        inputs.inputs_of(soak_part, {**MACHINE, "card": one}, False, {}, sources)
        for one in (gpu, warm, {**gpu, "driver_version": "590"})
    )
    assert cold == hot != other
    without = inputs.inputs_of(tool_part, MACHINE, False, {}, sources)
    (tmp_path / "compute-sanitizer").touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert inputs.inputs_of(tool_part, MACHINE, False, {}, sources) != without


def test_dry_runs_and_measurements_do_not_share_a_folder(drive):
    drive(WRITES, dry=True)
    with pytest.raises(HarmonyError, match="holds a dry run, and this is a measurement"):
        drive(WRITES, dry=False)


def test_without_a_gpu_it_says_so_and_measures_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gpu_suite, "clocks", lambda *fields: None)
    assert first_hour.main(["--output", str(tmp_path / "run")]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: nvidia-smi finds no GPU here")
    assert "--dry-run" in said
    assert not list((tmp_path / "run").iterdir())


def test_the_page_needs_no_other_file_and_escapes_what_programs_said(tmp_path):
    part = {"part": 9, "name": "soak", "title": "Soak", "shows": "", "state": "failed", "began": "", "most_seconds": 1}
    row = records.Row("<b>", "failed", "<script>alert(1)</script>", {"ms": 1.23456, "many": {"a": [1, 2]}}).plain(False)
    summary = {"dry": False, "made": "", "machine": MACHINE}
    summary["parts"] = [{"part": p.number, "name": p.name, "state": "not done yet"} for p in parts.PARTS]
    page.write(tmp_path / "index.html", summary, [{**part, "dry": False, "rows": [row]}])
    text = (tmp_path / "index.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert not re.search(r"(src|href)=\"(?!#)", text)
    assert "1.235" in text
    assert "Dry run" not in text
