"""`build --tune`: what is measured decides what is kept and what `backend="auto"` opens. No assertion is on a time."""

from __future__ import annotations

import json
import logging

import pytest

from harmonyrt.export.build import tune
from harmonyrt.export.rewrites import LOW_MEMORY
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.machine import cores, machine_name

ASK = ("phnet", "--sizes", "64", "--tune", "1", "--checkpoint")


@pytest.fixture
def stopwatch(monkeypatch):
    """stopwatch(plain=, winograd=): what measuring says of bundles without and with Winograd; None: cannot run."""
    asked = []

    def set_to(plain, winograd):
        def milliseconds(bundle, backend, target, threads, seconds):
            asked.append((backend, target, threads))
            rewrites = open_bundle(bundle).manifest.engines[0].rewrites
            return winograd if "winograd" in rewrites else plain

        monkeypatch.setattr(tune, "milliseconds", milliseconds)
        return asked

    return set_to


@pytest.mark.parametrize(("plain", "winograd", "kept"), [(9.0, 3.0, True), (9.0, 8.9, False), (9.0, None, False)])
def test_more_rewrites_have_to_earn_their_place(build, tiny_checkpoint, tmp_path, stopwatch, plain, winograd, kept):
    stopwatch(plain, winograd)
    assert build(*ASK, tiny_checkpoint, "--output", tmp_path)[0] == 0
    manifest = open_bundle(tmp_path / "phnet-64-fp32").manifest
    (engine,) = manifest.engines
    assert ("winograd" in engine.rewrites) == kept
    assert {m.milliseconds for m in manifest.measurements} == {winograd if kept else plain}
    assert {m.machine for m in manifest.measurements} == {machine_name()}
    assert sorted(path.name for path in (tmp_path / "phnet-64-fp32").iterdir()) == ["manifest.json", "model.onnx"]


def test_who_asks_for_little_memory_gets_it(build, tiny_checkpoint, tmp_path, stopwatch):
    stopwatch(9.0, 3.0)
    code, *_ = build("phnet", "--sizes", "64", "--tune", "1", "--rewrites", "low-memory", "--checkpoint",
                     tiny_checkpoint, "--output", tmp_path)  # fmt: skip
    assert code == 0
    (engine,) = open_bundle(tmp_path / "phnet-64-fp32").manifest.engines
    assert engine.rewrites == LOW_MEMORY


def test_the_budget_is_shared_by_what_is_left(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(tune.time, "monotonic", lambda: now[0])
    given = []
    for share, taken in zip(tune.shares(12.0, 4), (3.0, 6.0, 1.0, 9.0), strict=True):
        given.append(share)
        now[0] += taken
    assert given == [3.0, 3.0, 1.5, 2.0]  # 12/4, 9/3, 3/2, 2/1


def test_a_tuned_bundle_is_unchanged_here_and_built_again_elsewhere(
    build, tiny_checkpoint, tmp_path, stopwatch, monkeypatch
):
    stopwatch(9.0, 9.0)
    ask = (*ASK, tiny_checkpoint, "--output", tmp_path)
    build(*ask)
    assert "nothing changed" in build(*ask, "--dry-run")[1] or "unchanged" in build(*ask, "--dry-run")[1]
    monkeypatch.setattr("harmonyrt.export.build.recipe.machine_name", lambda: "another CPU, 64 cores")
    assert "to build" in build(*ask, "--dry-run")[1]


def test_every_way_to_run_is_measured_and_the_fastest_is_opened(build, tiny_checkpoint, tmp_path, monkeypatch, caplog):
    pytest.importorskip("openvino")
    speeds = {"onnxruntime": 2.0, "openvino": 5.0}
    monkeypatch.setattr(tune, "milliseconds", lambda bundle, backend, target, threads, seconds: speeds[backend])
    code, _, said = build(*ASK, tiny_checkpoint, "--output", tmp_path, "--targets", "onnx", "openvino")
    assert code == 0
    assert "tuning: openvino (openvino)" in said
    assert "tuning: fastest with 1 thread: onnxruntime (onnx), 2.0 ms" in said
    place = tmp_path / "phnet-64-fp32"
    found = {(m.backend, m.target, m.threads) for m in open_bundle(place).manifest.measurements}
    counts = {1, cores()}
    assert found == {(b, t, n) for b, t in (("onnxruntime", "onnx"), ("openvino", "openvino")) for n in counts}
    info = Harmonizer.open(place, device="cpu").info
    assert (info.backend, "measured fastest here" in info.why) == ("onnxruntime", True)

    moved = json.loads((place / "manifest.json").read_text())
    for row in moved["measurements"]:
        row["machine"] = "another CPU, 64 cores"
    (place / "manifest.json").write_text(json.dumps(moved))
    with caplog.at_level(logging.INFO, "harmonyrt.runtime"):
        info = Harmonizer.open(place, device="cpu").info
    assert info.backend == "openvino"
    assert "tuned on another CPU, 64 cores, not here" in caplog.text


def test_a_process_of_its_own_measures(bundle, tmp_path):
    taken = tune.milliseconds(bundle, "onnxruntime", "onnx", 1, 0)
    assert taken is not None
    assert taken > 0
    assert tune.milliseconds(tmp_path / "none", "onnxruntime", "onnx", 1, 0) is None


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_a_budget_that_cannot_be(command, tiny_checkpoint, tmp_path, seconds):
    code, _, complained = command(
        "phnet", "--checkpoint", tiny_checkpoint, "--tune", seconds, "--output", tmp_path / "e"
    )
    assert code == 2
    assert "--tune" in complained
