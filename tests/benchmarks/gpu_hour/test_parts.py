"""What single parts do: the checkout's tests, the suite, builds, providers and the soak."""

from __future__ import annotations

import json
import types
from pathlib import Path

import numpy as np
import pytest

from fakes.gpu_hours import rows
from harmonyrt.benchmarks import gpu_suite
from harmonyrt.benchmarks.gpu_hour import builds, bundles, phnet, providers, soak, testing
from harmonyrt.benchmarks.gpu_hour.hour import Hour
from harmonyrt.runtime.backends import cuda
from harmonyrt.runtime.backends.tensorrt import log, validity, versions


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


def test_memory_that_grows_is_seen_and_a_spike_is_not():
    memory = soak.Memory(without_gpu=True)
    memory.samples = [{"calls": k, "resident_mb": 500 + k, "gpu_mb": 900.0} for k in range(1, 101)]
    memory.samples[-1]["gpu_mb"] = 5000.0
    growth = memory.growth(warm=5)
    assert growth["resident_mb"] == pytest.approx(77, abs=3)
    assert growth["gpu_mb"] == 0


def test_other_bytes_for_the_same_picture_fail_the_soak(monkeypatch, hour):
    import harmonyrt.runtime

    monkeypatch.setattr(harmonyrt.runtime.Harmonizer, "open", lambda *given, **wishes: Harmonizes(10))
    dry = Hour(hour.output, "soak", dry=True, seconds=100)
    dry.step("soak", lambda: soak._soak(dry, Path("bundle"), "onnx"))
    assert rows(dry)[0]["state"] == "failed"
    assert "other bytes" in rows(dry)[0]["sentence"]
