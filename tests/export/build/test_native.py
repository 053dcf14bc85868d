"""`build --rewrites native`: an engine for the kernels, and a plain one that stands by it where they are missing."""

from __future__ import annotations

import logging
from itertools import islice

import numpy as np
import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.export.build import composites
from harmonyrt.export.phnet import recipe, session, to_onnx
from harmonyrt.export.rewrites import LOW_MEMORY, fitting, native
from harmonyrt.export.targets import BuildOptions
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime import native as kernels
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.cpu_speed import CpuSpeed

TARGETS = {"onnx": "onnxruntime", "openvino": "openvino"}
built = pytest.mark.skipif(
    any(kernels.library(backend) is None for backend in TARGETS.values()), reason="needs the kernels: run make native"
)


built_bf16 = pytest.mark.skipif(
    kernels.why_not(kernels.VERSION, precision="bf16") is not None,
    reason="needs the kernels (run make native) and a CPU with AVX512-BF16",
)


@pytest.fixture(scope="module")
def build(tiny_checkpoint, tiny_trace, tmp_path_factory):
    """Builds tiny bundles with native engines; their layers are far below where the kernels gain anything."""
    from harmonyrt.export.build_engines import main

    gate_composites = composites.gate_composites

    def run(precision, *targets):
        output = tmp_path_factory.mktemp("native")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(native, "FEWEST", (8, 4))
            patch.setattr(composites, "gate_composites", lambda size: islice(gate_composites(size), 2))
            patch.setattr(to_onnx, "trace", lambda network: tiny_trace())
            given = ["phnet", "--sizes", "64", "--rewrites", "native", "--precisions", precision, "--targets", *targets]
            assert main([*given, "--output", str(output), "--checkpoint", str(tiny_checkpoint)]) == 0
        return output / f"phnet-64-{precision}"

    return run


@pytest.fixture(scope="module")
def native_bundle(build):
    """With engines of both targets."""
    return build("fp32", *TARGETS)


@built
@pytest.mark.parametrize("target", TARGETS)
def test_a_plain_engine_stands_by_the_native_one(native_bundle, target):
    engines = [engine for engine in open_bundle(native_bundle).manifest.engines if engine.target == target]
    plain, ours = engines
    assert (plain.needs, ours.needs) == ({}, {"native": kernels.NEEDED["fp32"]})
    assert plain.rewrites == fitting(["fast"], (64, 64), target)
    assert ours.rewrites == (*LOW_MEMORY, "fused-convolutions")
    assert all(file.path.startswith("native/") for file in ours.files)
    assert all("/" not in file.path for file in plain.files)
    assert ours.parity.gate == plain.parity.gate
    assert ours.parity.max_abs_error <= 1e-4


@built
@pytest.mark.parametrize(("target", "backend"), TARGETS.items())
def test_the_plain_engine_runs_where_the_kernels_are_missing_and_a_warning_says_so(
    native_bundle, target, backend, monkeypatch, tmp_path, caplog
):
    rng = np.random.default_rng(0)
    composite, mask = rng.integers(0, 256, (64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    mask[16:40, 10:50] = 255

    def harmonized(**options):
        with Harmonizer.open(native_bundle, cache="", **options) as harmonizer:
            return harmonizer.harmonize(composite, mask).astype(int), harmonizer.info

    with caplog.at_level(logging.WARNING, "harmonyrt.runtime"):
        expected, info = harmonized(backend=backend)
    assert (info.native, info.skipped, caplog.text) == (True, (), "")
    monkeypatch.setenv(kernels.VARIABLE, str(tmp_path))
    for asked in (backend, "auto") if target == "openvino" else (backend,):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "harmonyrt.runtime"):
            found, info = harmonized(backend=asked, target=target)
        assert np.abs(found - expected).max() <= 1
        assert (info.native, info.backend) == (False, backend)
        assert f"{backend} ({target} fp32 native, " in info.skipped[0][0]
        assert f"{backend} ({target} fp32, " in caplog.text
        assert "slower than with native kernels" in caplog.text
        assert "pip install harmonyrt-native" in caplog.text


@built_bf16
def test_in_bf16_a_cpu_without_its_instructions_gets_the_plain_engine_and_a_warning(build, monkeypatch, caplog):
    monkeypatch.setattr(recipe, "measured_once", lambda: None)  # a CPU with AMX would get no kernels
    bundle = build("bf16", "openvino")
    plain, ours = open_bundle(bundle).manifest.engines
    assert (plain.is_native, ours.is_native, ours.needs["cpu"]) == (False, True, "BF16")
    assert ours.rewrites == (*LOW_MEMORY, "fused-convolutions")
    assert ours.census["bfloat16"] > ours.census.get("float32", 0) / 2
    assert (ours.parity.gate, ours.parity.psnr_db >= 42) == (plain.parity.gate, True)
    with Harmonizer.open(bundle, backend="openvino", cache="") as harmonizer:
        assert harmonizer.info.native
    model, flags = kernels.cpu_model_and_flags()
    monkeypatch.setattr(kernels, "cpu_model_and_flags", lambda: (model, flags - {"avx512_bf16"}))
    with (
        caplog.at_level(logging.WARNING, "harmonyrt.runtime"),
        Harmonizer.open(bundle, backend="openvino", cache="") as harmonizer,
    ):
        assert not harmonizer.info.native
    assert "AVX512-BF16, and this one lacks avx512_bf16" in caplog.text


@pytest.mark.slow
@built
def test_in_int8_a_calibrated_engine_stands_by_the_native_one(build, monkeypatch):
    monkeypatch.setattr(session, "CALIBRATION_COMPOSITES", 6)
    monkeypatch.setattr(session, "JUDGED_COMPOSITES", 2)
    monkeypatch.setattr(session, "CALIBRATION_SIZE", (64, 64))
    bundle = build("int8", "openvino")
    plain, ours = open_bundle(bundle).manifest.engines
    assert (plain.is_native, ours.is_native) == (False, True)
    assert ours.rewrites[-1] == "quantized-convolutions"
    assert "quantized-convolutions" not in plain.rewrites
    assert min(plain.census["int8"], ours.census["int8"]) > 0
    assert (ours.parity.gate, ours.parity.psnr_db >= 38) == (plain.parity.gate, True)
    with Harmonizer.open(bundle, backend="openvino", cache="") as harmonizer:
        assert harmonizer.info.native


@pytest.mark.skipif(kernels.library() is None, reason="needs the kernels: run make native")
def test_in_bf16_a_cpu_without_its_instructions_builds_no_native_engine(
    command, tiny_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setattr(recipe, "measured_once", lambda: None)
    monkeypatch.setattr(kernels, "cpu_model_and_flags", lambda: ("a CPU", frozenset({"avx2", "fma"})))
    ask = ("phnet", "--sizes", "64", "--rewrites", "native", "--precisions", "bf16", "--targets", "openvino")
    code, _, said = command(*ask, "--checkpoint", tiny_checkpoint, "--output", tmp_path / "out")
    assert code == 2
    assert "need a CPU with AVX512-BF16" in said
    assert not (tmp_path / "out").exists()


def test_where_bf16_is_faster_without_winograd_native_engines_are_left_out(tiny_checkpoint, monkeypatch):
    def rewrites(plain, name="native", **more):
        speed = CpuSpeed("a CPU", "2026.4", {"fp32": 9.0, "bf16": plain, "bf16 winograd": 2.0, **more}, 10.0)
        monkeypatch.setattr(recipe, "measured_once", lambda: speed)
        monkeypatch.setattr(kernels, "why_not", lambda *about: None)
        options = BuildOptions(target="openvino", size=(64, 64))
        return recipe.expand_recipes(tiny_checkpoint, ["64"], ["bf16"], ["openvino"], [name], options)[0].rewrites

    left_out = {"fused-convolutions", "winograd", "gate-fold"}
    assert "fused-convolutions" in rewrites(plain=4.0)
    assert not left_out & set(rewrites(plain=1.0))
    # As with AMX: plain convolutions beat Winograd as graph operations, and the kernels are measured too.
    assert left_out <= set(rewrites(plain=1.0, **{"bf16 native": 0.8}))
    assert not left_out & set(rewrites(plain=1.0, **{"bf16 native": 1.2}))
    assert not left_out & set(rewrites(plain=1.0, name="fast", **{"bf16 native": 0.8}))


@built
def test_no_copy_of_a_native_engine_goes_to_the_cache(native_bundle, tmp_path, monkeypatch):
    """OpenVINO compiles it as fast as the copy would be read."""
    for folder, path in (("native", str(kernels.library("openvino"))), ("plain", str(tmp_path / "none"))):
        monkeypatch.setenv(kernels.VARIABLE, path)
        with Harmonizer.open(native_bundle, backend="openvino", cache=tmp_path / folder) as harmonizer:
            assert harmonizer.info.native == (folder == "native")
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]


@built
def test_a_gpu_gets_the_plain_engine(native_bundle):
    with pytest.raises(HarmonyError, match=r"onnxruntime \(onnx fp32, cuda\): device cuda needs"):
        Harmonizer.open(native_bundle, backend="onnxruntime", device="cuda")


def test_without_the_kernels_the_build_says_what_to_do(command, tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv(kernels.VARIABLE, str(tmp_path / "none"))
    ask = ("phnet", "--sizes", "64", "--rewrites", "native", "--checkpoint", tiny_checkpoint)
    code, _, said = command(*ask, "--output", tmp_path / "out")
    assert code == 2
    assert "run make native, or build it without --rewrites native" in said
    assert not (tmp_path / "out").exists()
