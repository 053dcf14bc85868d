"""The first hour with a GPU: its parts end in time, fail alone, are not done twice, and a dry run measures nothing."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from harmonyrt.benchmarks import first_hour, gpu_suite
from harmonyrt.benchmarks.gpu_hour import (
    builds,
    bundles,
    diffusion_build,
    driver,
    inputs,
    page,
    parts,
    phnet,
    providers,
    records,
    soak,
    testing,
)
from harmonyrt.benchmarks.gpu_hour.hour import Hour, NotHere
from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.export import build_engines
from harmonyrt.runtime.backends import cuda
from harmonyrt.runtime.backends.tensorrt import log, validity, versions

ROOT = Path(__file__).resolve().parents[2]
MACHINE = {"card": None, "cpu": "a CPU", "python": "3.11", "versions": {"torch": "2"}, "system": "Linux"}


def numbers_in(found, path=""):
    """Where a structure has numbers."""
    if isinstance(found, dict):
        return [place for key, value in found.items() for place in numbers_in(value, f"{path}.{key}")]
    if isinstance(found, list):
        return [place for k, value in enumerate(found) for place in numbers_in(value, f"{path}[{k}]")]
    return [path] if isinstance(found, int | float) and not isinstance(found, bool) else []


# --- the plan of the hour


def test_every_part_ends_in_time_and_all_of_them_within_the_hour():
    assert all(part.seconds <= parts.LONGEST_PART for part in parts.PARTS)
    assert sum(part.seconds for part in parts.PARTS) <= parts.HOUR_SECONDS
    assert [part.number for part in parts.PARTS] == list(range(1, len(parts.PARTS) + 1))


@pytest.mark.parametrize("part", parts.PARTS, ids=lambda part: part.name)
def test_every_part_has_its_module(part):
    assert callable(importlib.import_module(f"harmonyrt.benchmarks.gpu_hour.{part.module}").run)


def test_parts_are_chosen_by_number_or_name_and_done_in_order():
    assert [part.name for part in parts.chosen(["soak", "1"])] == ["doctor", "soak"]
    assert parts.chosen([]) == list(parts.PARTS)
    with pytest.raises(HarmonyError, match="no part 13; the parts are 1 doctor"):
        parts.chosen(["13"])


@pytest.mark.parametrize(
    "arguments",
    [
        *(wish.arguments for wish in bundles.wishes()),
        *(diffusion_build.arguments(diffusion_build._FULL, target) for target in bundles.GPU_TARGETS),
    ],
    ids=" ".join,
)
def test_builds_of_the_hour_can_be_asked_for(arguments, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(versions, "check_installed", lambda target: None)
    assert build_engines.main([*arguments, "--output", str(tmp_path), "--dry-run"]) == 0
    assert capsys.readouterr().out.strip()


# --- one part


@pytest.fixture
def hour(tmp_path):
    (tmp_path / "parts").mkdir()
    return Hour(tmp_path, "soak", dry=False, seconds=100)


def rows(hour):
    return [json.loads(line) for line in hour.rows_file.read_text().splitlines()]


def raises(error):
    def work():
        raise error

    return work


def test_a_step_that_breaks_is_a_row_and_the_next_begins(hour):
    assert not hour.step("a", raises(ZeroDivisionError("by zero")))
    assert not hour.step("b", raises(NotHere("install it")))
    assert not hour.step("c", raises(WorkFailed("it failed")))
    assert hour.step("d", lambda: {"ms": 1.5})
    assert not hour.step("e", lambda: {}, least=1000)
    assert [row["state"] for row in rows(hour)] == ["failed", "absent", "failed", "passed", "short"]
    assert rows(hour)[0]["sentence"] == "ZeroDivisionError: by zero"
    assert rows(hour)[3]["measured"] == {"ms": 1.5}


def test_a_program_is_ended_with_all_that_it_started(hour, tmp_path):
    note = tmp_path / "grandchild"
    script = f"sleep 600 & echo $! > {note}.new; mv {note}.new {note}; wait"
    hour.step("hangs", lambda: hour.command("hangs", ["sh", "-c", script], most=2))
    assert rows(hour)[0]["state"] == "short"
    pid, patience = int(note.read_text()), time.monotonic() + 20
    while _alive(pid) and time.monotonic() < patience:
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except OSError:
        return False


def test_what_a_program_said_last_is_the_sentence(hour):
    ended = hour.command("fails", [sys.executable, "-c", "import sys; sys.exit('error: the GPU is busy')"])
    assert (ended.code, ended.last_words) == (1, "error: the GPU is busy")


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (["passed", "absent"], "passed"),
        (["passed", "failed", "short"], "failed"),
        (["absent", "absent"], "absent"),
        (["passed", "short"], "short"),
        ([], "absent"),
    ],
)
def test_the_state_of_a_part(states, state):
    found = [records.Row(f"row {k}", one, "why").plain(False) for k, one in enumerate(states)]
    assert records.state_of(found) == state
    assert records.sentence_of(found)


def test_a_dry_row_has_no_number():
    measured = {"p50_ms": 1.25, "calls": 3, "fine": True, "nested": [{"fps": 8}, 2.0], "named": "sm_90", "none": None}
    row = records.Row("a", "passed", "", measured).plain(dry=True)
    assert numbers_in(row) == []
    assert row["measured"]["nested"] == [{"fps": "dry"}, "dry"]
    assert row["measured"]["fine"] is True
    assert records.Row("a", "passed", "", measured).plain(dry=False)["measured"] == measured


# --- the driver, with children of our own


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


# --- the tests of the checkout


def test_a_test_file_of_skips_shows_nothing_and_a_failure_has_its_row(monkeypatch, hour, tmp_path):
    monkeypatch.setattr(testing, "ROOT", tmp_path)
    (tmp_path / "test_skips.py").write_text("import pytest\ndef test_a():\n    pytest.skip('no TensorRT')\n")
    (tmp_path / "test_fails.py").write_text("def test_b():\n    assert 1 == 2\ndef test_c():\n    pass\n")
    for name in ("test_skips.py", "test_fails.py"):
        testing.run_file(hour, tmp_path / name, [])
    skips, fails, failure = rows(hour)
    assert (skips["state"], skips["sentence"]) == ("absent", "all 1 tests were skipped: no TensorRT")
    assert (fails["state"], fails["sentence"]) == ("failed", "1 of 2 tests failed")
    assert failure["what"] == "test_fails: test_b"
    assert "assert 1 == 2" in failure["sentence"]


# --- the suite


def test_what_the_suite_measured_before_it_was_ended_is_kept(monkeypatch, hour):
    def ended(arguments):
        row = {"runner": "tensorrt", "precision": "fp16", "size": 512, "batch": 1, "fps": 100.0}
        report = {"schema": 1, "measured": [row], "skipped": [{"what": "torch", "reason": "not there"}]}
        Path(arguments[-1]).write_text(json.dumps(report))
        raise KeyboardInterrupt

    monkeypatch.setattr(gpu_suite, "main", ended)
    with pytest.raises(KeyboardInterrupt):
        phnet.run(hour)
    measured, skipped = rows(hour)
    assert (measured["what"], measured["measured"]) == ("tensorrt fp16, 512 px, batch 1", {"fps": 100.0})
    assert skipped["state"] == "absent"
    assert json.loads((hour.output / "phnet-suite.json").read_text())["measured"]


# --- a GPU that a flavour of TensorRT does not run on


@pytest.fixture
def hopper(monkeypatch):
    """A GPU of 9.0, which TensorRT for RTX does not name, and builds that only note what they were asked for."""
    built: list[str] = []
    gpu = types.SimpleNamespace(capability=lambda index: (9, 0), device_count=lambda: 1)
    monkeypatch.setattr(cuda, "open_cuda", lambda: gpu)
    monkeypatch.setattr(versions, "installed", lambda target: {"tensorrt-rtx": "1.7.1", "tensorrt": "11.4.0"}[target])
    monkeypatch.setattr(builds, "build", lambda hour, wish, checkpoint: built.append(wish.name) or {})
    return built


def test_what_does_not_run_on_this_gpu_is_built_once_and_asked(monkeypatch, hour, hopper):
    answer = {"refusal": "it was not built for this GPU"}
    monkeypatch.setattr(validity, "ask", lambda trt, runtime, plan: (answer["refusal"], None))
    fake = types.SimpleNamespace(Runtime=lambda logger: None)
    monkeypatch.setattr(versions, "load", lambda target: fake)
    monkeypatch.setattr(log, "open_log", lambda trt: log.Log())
    plan = hour.bundles / "phnet-512-fp16" / "tensorrt-rtx-sm80.engine"
    plan.parent.mkdir(parents=True)
    plan.write_bytes(b"plan")
    builds.run(hour)
    found = {row["what"]: row for row in rows(hour)}
    rtx = [name for name in hopper if name.startswith("tensorrt-rtx ")]
    assert rtx == ["tensorrt-rtx fp16 512"]
    assert {name for name in hopper if name.startswith("tensorrt ")} == {
        wish.name for wish in bundles.wishes() if wish.target == "tensorrt"
    }
    asked = found["tensorrt-rtx asked about this GPU"]
    assert (asked["state"], "not built for this GPU" in asked["sentence"]) == ("absent", True)
    other = found["tensorrt-rtx fp32 512"]
    assert other["state"] == "absent"
    assert "does not run on compute capability 9.0" in other["sentence"]
    hour.rows_file.unlink()
    answer["refusal"] = None
    builds.run(hour)
    surprise = next(row for row in rows(hour) if row["what"] == "tensorrt-rtx asked about this GPU")
    assert surprise["state"] == "failed", "NVIDIA's list and its library disagree: somebody has to look"


def test_the_suite_builds_nothing_that_cannot_be_measured_here(monkeypatch, hopper):
    def engines(*asked):
        raise AssertionError("it was built")

    monkeypatch.setattr(gpu_suite.runners, "engines", engines)
    suite = gpu_suite.Suite(100, {"skipped": [], "measured": [], "engines": []})
    gpu_suite._engine_step(suite, None, "tensorrt-rtx", "fp16", 512, 1)
    (left_out,) = suite.report["skipped"]
    assert "does not run on compute capability 9.0" in left_out["reason"]


# --- ONNX Runtime's providers


@pytest.mark.parametrize(
    ("change", "said"), [(0, ""), (40, "dB from the CPU's"), (None, "other bytes in a later call")]
)
def test_a_provider_is_held_to_the_cpus_picture_and_to_itself(monkeypatch, hour, change, said):
    import harmonyrt.runtime

    asked: list[dict] = []

    class Opened(Harmonizes):
        info = types.SimpleNamespace(backend="onnxruntime", device="cuda:0")
        timings = types.SimpleNamespace(engine=0.001)

        def harmonize(self, composite, mask):
            self.left -= 1
            return composite ^ np.uint8(self.left % 2 if change is None else change)

    def opened(bundle, **wishes):
        asked.append(wishes)
        return Opened(10)

    monkeypatch.setattr(harmonyrt.runtime.Harmonizer, "open", opened)
    monkeypatch.setattr(providers, "_CALLS", 3)
    pair = soak.picture(32, 32)
    found = {"bundle": Path("bundle"), "pair": pair, "picture": pair[0]}
    for name, wishes in providers.WAYS:
        hour.step(name, lambda wishes=wishes: providers._one(hour, found, wishes))
    assert {row["state"] for row in rows(hour)} == {"failed" if said else "passed"}
    assert all(said in row["sentence"] for row in rows(hour))
    assert {one["backend"] for one in asked} == {"onnxruntime"}, "auto may take another"
    assert [one["provider"] for one in asked] == ["cuda", "cuda", "tensorrt", "tensorrt"]
    assert asked[1]["provider_options"] == {"enable_cuda_graph": True}
    assert len({one["cache"] for one in asked}) == 1, "the last opens what the one before it kept"


# --- the soak


def test_memory_that_grows_is_seen_and_a_spike_is_not():
    memory = soak.Memory(without_gpu=True)
    memory.samples = [{"calls": k, "resident_mb": 500 + k, "gpu_mb": 900.0} for k in range(1, 101)]
    memory.samples[-1]["gpu_mb"] = 5000.0
    growth = memory.growth(warm=5)
    assert growth["resident_mb"] == pytest.approx(77, abs=3)
    assert growth["gpu_mb"] == 0


class Harmonizes:
    """A harmonizer that changes its mind after some calls."""

    def __init__(self, calls):
        self.left = calls

    def __enter__(self):
        return self

    def __exit__(self, *ended):
        pass

    def harmonize(self, composite, mask):
        self.left -= 1
        return composite + np.uint8(self.left < 0)


def test_other_bytes_for_the_same_picture_fail_the_soak(monkeypatch, hour):
    import harmonyrt.runtime

    monkeypatch.setattr(harmonyrt.runtime.Harmonizer, "open", lambda *given, **wishes: Harmonizes(10))
    dry = Hour(hour.output, "soak", dry=True, seconds=100)
    dry.step("soak", lambda: soak._soak(dry, Path("bundle"), "onnx"))
    assert rows(dry)[0]["state"] == "failed"
    assert "other bytes" in rows(dry)[0]["sentence"]


# --- a dry run, whole


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
