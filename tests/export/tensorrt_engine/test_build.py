"""The adapter over TensorRT 8.6, 10 and 11, with a small fake of their API (the real wheels need a GPU and 800 MB)."""

from __future__ import annotations

import types

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from fakes.tensorrt import fake_tensorrt
from fakes.tensorrt_graphs import graph
from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.files import sha256_of
from harmonyrt.export.build.recipe import check_options
from harmonyrt.export.targets import BuildOptions
from harmonyrt.export.tensorrt_engine import build as to_tensorrt
from harmonyrt.export.tensorrt_engine import settings as tensorrt_settings
from harmonyrt.runtime.backends import cuda
from harmonyrt.runtime.backends.tensorrt import versions as tensorrt_versions
from harmonyrt.runtime.compiled_cache import CompiledCache


@pytest.fixture
def machine(monkeypatch):
    """machine("10.4.0", capability=(7, 0)) -> the fake package, on a machine with such a GPU."""

    def make(version, capability=(8, 9)):
        trt = fake_tensorrt(version)
        monkeypatch.setattr(tensorrt_versions, "load", lambda target: trt)
        gpus = types.SimpleNamespace(device_count=lambda: int(bool(capability)), capability=lambda i: capability)
        monkeypatch.setattr(cuda, "open_cuda", lambda: gpus)
        return trt

    return make


def options(**wishes):
    return BuildOptions("tensorrt", (16, 16), **wishes)


@pytest.mark.parametrize("version", ["8.6.1", "10.0.1", "10.4.0", "11.4.0"])
def test_an_engine_for_the_gpu_at_hand(machine, tmp_path, version):
    trt = machine(version)
    (engine,) = to_tensorrt.build(ir.from_proto(graph()), tmp_path, "fp16", options())
    major, minor = version.split(".")[:2]
    assert engine.files == (f"tensorrt-{major}.{minor}-sm89.engine",)
    assert (tmp_path / engine.files[0]).read_bytes() == b"ptrt plan"
    assert engine.needs["version"] == version
    assert engine.needs["compute_capability"] == "8.9"
    assert engine.runs_here
    assert engine.counts == {"float16": 1}
    assert "TF32" not in trt.configs[0].flags


def test_8_6_is_told_the_type_of_every_layer_and_to_obey(machine, tmp_path):
    trt = machine("8.6.1")
    to_tensorrt.build(ir.from_proto(graph()), tmp_path, "fp16", options())
    assert {"FP16", "OBEY_PRECISION_CONSTRAINTS"} <= trt.configs[0].flags
    assert trt.networks[0].flags == 1 << trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH
    chosen = {layer.name: layer.precision for layer in trt.networks[0].layers}
    half, full = trt.DataType.HALF, trt.DataType.FLOAT
    assert chosen == {"to_low": half, "conv": half, "to_high": full, "mean": full, "sub": full}
    assert all(layer.output_types == {0: layer.precision} for layer in trt.networks[0].layers)


@pytest.mark.parametrize(("version", "flags"), [("10.4.0", 0b11), ("11.4.0", 0b10)])
def test_strong_typing_wherever_it_exists(machine, tmp_path, version, flags):
    trt = machine(version)
    to_tensorrt.build(ir.from_proto(graph()), tmp_path, "fp16", options())
    assert trt.networks[0].flags == flags
    assert not {"FP16", "OBEY_PRECISION_CONSTRAINTS"} & trt.configs[0].flags


def test_8_6_gets_reductions_in_its_own_opset(machine, tmp_path):
    model = graph(opset=18)
    mean = next(node for node in model.graph.node if node.op_type == "ReduceMean")
    del mean.attribute[:]
    mean.input.append("axes")
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    lowered = ir.to_proto(to_tensorrt.lower_opset(ir.from_proto(model)))
    mean = next(node for node in lowered.graph.node if node.op_type == "ReduceMean")
    assert list(mean.input) == ["high"]
    assert list(mean.attribute[0].ints) == [2, 3]
    onnx.checker.check_model(lowered, full_check=True)
    machine("8.6.1")
    to_tensorrt.build(ir.from_proto(model), tmp_path, "fp16", options())


def test_what_8_6_would_misread_is_refused(machine, tmp_path):
    machine("8.6.1")
    newer = helper.make_node("Mish", ["mean"], ["mish"], "mish")
    with pytest.raises(HarmonyError, match=r"node mish \(Mish\) cannot be expressed in opset 17"):
        to_tensorrt.build(ir.from_proto(graph(opset=18, last=[newer])), tmp_path, "fp16", options())


def test_fp16_that_turns_out_fp32_fails(machine, tmp_path):
    trt = machine("10.4.0")
    with pytest.raises(WorkFailed, match="fp16 was asked for, but nothing computes in float16"):
        to_tensorrt.build(ir.from_proto(graph(half=False)), tmp_path, "fp16", options())
    trt.engine_type = "Row major linear FP32"
    with pytest.raises(WorkFailed, match="nothing computes in float16"):
        to_tensorrt.build(ir.from_proto(graph()), tmp_path, "fp16", options())
    assert not list(tmp_path.iterdir())


def test_limits_and_compatibility_are_passed_on(machine, tmp_path):
    trt = machine("10.4.0")
    wishes = options(
        optimization_level=5, workspace_mib=64, version_compatible=True, hardware_compatible=True, threads=2
    )
    (engine,) = to_tensorrt.build(ir.from_proto(graph()), tmp_path, "fp16", wishes)
    config = trt.configs[0]
    assert config.builder_optimization_level == 5
    assert config.pools == {"WORKSPACE": 64 << 20}
    assert "VERSION_COMPATIBLE" in config.flags
    assert config.hardware_compatibility_level is trt.HardwareCompatibilityLevel.AMPERE_PLUS
    assert engine.needs["compute_capability"] == "8.0+"
    assert engine.needs["version_compatible"] == "true"


def test_plans_can_leave_their_lean_runtime_out(machine, tmp_path):
    trt = machine("11.4.0")
    library, bundle = tmp_path / "libnvinfer_lean.so.11", tmp_path / "bundle"
    library.write_bytes(b"lean")
    bundle.mkdir()
    wishes = options(version_compatible=True, lean_runtime=library)
    (engine,) = to_tensorrt.build(ir.from_proto(graph()), bundle, "fp16", wishes)
    assert {"VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME"} <= trt.configs[0].flags
    assert engine.needs["lean_runtime"] == library.name
    assert engine.needs["lean_runtime_sha256"] == sha256_of(library)
    assert trt.runtimes[-1].library == str(library), "it opened the engine that was just built"

    trt.loads_lean = False
    with pytest.raises(HarmonyError, match="cannot load the lean runtime"):
        to_tensorrt.build(ir.from_proto(graph()), bundle, "fp16", wishes)
    assert not list(bundle.iterdir())


def test_a_version_compatible_plan_that_was_just_built_may_run_its_own_code(machine, tmp_path):
    trt = machine("11.4.0")
    to_tensorrt.build(ir.from_proto(graph()), tmp_path, "fp16", options(version_compatible=True))
    assert trt.runtimes[-1].engine_host_code_allowed
    to_tensorrt.build(ir.from_proto(graph()), tmp_path, "fp16", options())
    assert not hasattr(trt.runtimes[-1], "engine_host_code_allowed")


def test_a_lean_runtime_is_for_version_compatible_plans_and_a_file(tmp_path):
    library = tmp_path / "libnvinfer_lean.so.11"
    with pytest.raises(HarmonyError, match="add --version-compatible"):
        check_options(options(lean_runtime=library))
    with pytest.raises(HarmonyError, match=r"is not a file; give libnvinfer_lean\.so"):
        check_options(options(lean_runtime=library, version_compatible=True))
    library.write_bytes(b"lean")
    check_options(options(lean_runtime=library, version_compatible=True))


def test_plans_can_leave_their_weights_to_a_file_of_the_bundle(machine, tmp_path):
    trt = machine("10.4.0")
    (engine,) = to_tensorrt.build(ir.from_proto(graph()), tmp_path, "fp16", options(strip_weights=True))
    assert {"STRIP_PLAN", "REFIT_IDENTICAL"} <= trt.configs[0].flags
    assert engine.files == ("tensorrt-10.4-sm89.engine", "tensorrt-10.4-sm89-weights.onnx")
    assert engine.needs["weights"] == "apart"
    kept = onnx.load(tmp_path / engine.files[1])
    (weight,) = kept.graph.initializer
    np.testing.assert_array_equal(trt.opened[-1].weights["weight"], numpy_helper.to_array(weight))


def test_a_plan_whose_weights_do_not_go_in_is_not_kept(machine, tmp_path):
    trt = machine("10.4.0")
    trt.missing = ["another"]
    with pytest.raises(HarmonyError, match="lacks 1 weights of its plan, another among them"):
        to_tensorrt.build(ir.from_proto(graph()), tmp_path, "fp16", options(strip_weights=True))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("version", "wishes", "said"),
    [
        ("8.6.1", {}, r"need TensorRT 10\.0, found 8\.6\.1"),
        ("10.4.0", {"version_compatible": True}, "does not go with --version-compatible"),
        ("10.4.0", {"weight_streaming": True}, "does not go with --weight-streaming"),
    ],
)
def test_stripping_that_cannot_be_is_refused(machine, tmp_path, version, wishes, said):
    machine(version)
    with pytest.raises(HarmonyError, match=said):
        to_tensorrt.build(ir.from_proto(graph()), tmp_path, "fp16", options(strip_weights=True, **wishes))


def test_no_build_can_be_given_other_weights(machine, tmp_path):
    """What a hash vouches for has to be what computes."""
    trt = machine("10.4.0")
    for wishes in ({}, {"strip_weights": True}, {"version_compatible": True}, {"weight_streaming": True}):
        to_tensorrt.build(ir.from_proto(graph()), tmp_path, "fp16", options(**wishes))
        assert not {"REFIT", "REFIT_INDIVIDUAL"} & trt.configs[-1].flags


def test_dynamic_sizes_get_profiles(machine, tmp_path):
    trt = machine("10.4.0")
    to_tensorrt.build(ir.from_proto(graph(batch="batch", side="side")), tmp_path, "fp16", options())
    one, several = trt.configs[0].profiles
    assert one["image"] == ((1, 3, 64, 64), (1, 3, 512, 512), (1, 3, 2048, 2048))
    assert several["image"] == ((2, 3, 64, 64), (4, 3, 256, 256), (16, 3, 512, 512))


def test_the_timing_cache_outlives_the_build(machine, tmp_path):
    machine("10.4.0")
    cache, folder = tmp_path / "timing", tmp_path / "bundle"
    folder.mkdir()
    key = {"kind": "tensorrt-timing", "library": "10.4.0", "card": "sm89"}
    kept = CompiledCache.at(str(cache))
    for expected in (b"+", b"++"):
        to_tensorrt.build(ir.from_proto(graph()), folder, "fp16", options(cache=cache))
        assert kept.read(key).tobytes() == expected
    kept.write(key, lambda file: file.write(b"of another GPU"))
    to_tensorrt.build(ir.from_proto(graph()), folder, "fp16", options(cache=cache))
    assert kept.read(key).tobytes() == b"+"
    (entry,) = (cache / "compiled").iterdir()
    entry.write_bytes(entry.read_bytes()[:-1] + b"?")  # damage that TensorRT would have taken
    to_tensorrt.build(ir.from_proto(graph()), folder, "fp16", options(cache=cache))
    assert kept.read(key).tobytes() == b"+"


def test_progress_is_told_and_ends_at_one(machine, tmp_path):
    machine("10.4.0")
    told = []
    to_tensorrt.build(
        ir.from_proto(graph()), tmp_path, "fp16", options(progress=lambda doing, share: told.append(share))
    )
    assert told == [0.5, 1.0]
    machine("8.6.1")
    told.clear()
    to_tensorrt.build(
        ir.from_proto(graph()), tmp_path, "fp16", options(progress=lambda doing, share: told.append(share))
    )
    assert told == [None]


def test_nested_phases_make_one_share_that_never_falls():
    shares = tensorrt_settings.Shares()
    shares.start("all", None, 4)
    shares.start("part", "all", 2)
    seen = [shares.step("part", 0), shares.finish("part"), shares.step("all", 0)]
    shares.start("part", "all", 10)
    seen += [shares.step("part", 0), shares.step("all", 3), shares.finish("all")]
    assert seen == sorted(seen)
    assert seen[0] == pytest.approx(0.125)
    assert seen[-1] == 1.0


@pytest.mark.parametrize(
    ("version", "where"), [("8.6.1", "node odd (Unknown)"), ("10.4.0", "node from the parser (Frobnicate)")]
)
def test_a_node_that_the_parser_does_not_know_is_named(machine, tmp_path, version, where):
    machine(version)
    odd = helper.make_node("Unknown", ["mean"], ["odd"], "odd", domain="test")
    model = graph(last=[odd])
    model.opset_import.append(helper.make_opsetid("test", 1))
    with pytest.raises(WorkFailed) as caught:
        to_tensorrt.build(ir.from_proto(model), tmp_path, "fp16", options())
    assert f"cannot read {where}: no importer for it; build another target" in str(caught.value)


def test_a_builder_that_fails_is_one_sentence_and_leaves_nothing(machine, tmp_path):
    trt = machine("10.4.0")
    trt.plan = None
    with pytest.raises(WorkFailed, match=r"could not build tensorrt-10.4-sm89.engine: out of workspace"):
        to_tensorrt.build(ir.from_proto(graph()), tmp_path, "fp16", options())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("version", "capability", "precision", "wishes", "words"),
    [
        ("10.4.0", None, "fp16", {}, "none is usable here"),
        ("10.5.0", (7, 0), "fp16", {}, "does not run on compute capability 7.0"),
        ("8.6.1", (8, 9), "bf16", {}, "TensorRT 8.6.1 has no BF16"),
        ("10.4.0", (7, 0), "bf16", {}, "BF16 needs compute capability 8.0, this GPU has 7.0"),
        ("10.4.0", (8, 9), "fp16", {"compute_capabilities": ("8.6",)}, "builds for the GPU at hand"),
    ],
)
def test_what_cannot_be_built_is_one_sentence(machine, tmp_path, version, capability, precision, wishes, words):
    machine(version, capability)
    with pytest.raises(HarmonyError, match=words):
        to_tensorrt.build(ir.from_proto(graph()), tmp_path, precision, options(**wishes))


def test_a_v100_builds_with_10_4_and_8_6(machine, tmp_path):
    for version in ("8.6.1", "10.0.1", "10.4.0"):
        machine(version, (7, 0))
        (engine,) = to_tensorrt.build(ir.from_proto(graph()), tmp_path, "fp16", options())
        assert engine.needs["compute_capability"] == "7.0"


@pytest.mark.parametrize("version", ["10.4.0", "11.4.0"])
def test_weight_streaming_is_one_flag(machine, tmp_path, version):
    trt = machine(version)
    to_tensorrt.build(ir.from_proto(graph()), tmp_path, "fp16", options(weight_streaming=True))
    assert trt.configs[0].flags == {"WEIGHT_STREAMING"}


@pytest.mark.parametrize("version", ["8.6.1", "10.0.1"])
def test_weight_streaming_needs_a_release_that_has_it(machine, tmp_path, version):
    machine(version)
    with pytest.raises(HarmonyError, match=f"needs TensorRT 10.1, found {version}.*leave --weight-streaming out"):
        to_tensorrt.build(ir.from_proto(graph()), tmp_path, "fp16", options(weight_streaming=True))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("version", ["8.6.1", "10.4.0", "11.4.0"])
def test_no_build_can_be_refitted_or_loses_its_weights(machine, tmp_path, version):
    """A plan's hash has to vouch for its weights."""
    trt = machine(version)
    wishes = {"version_compatible": True, "hardware_compatible": True, "optimization_level": 3, "workspace_mib": 64}
    to_tensorrt.build(ir.from_proto(graph()), tmp_path, "fp16", options(**wishes))
    assert not {flag for flag in trt.configs[0].flags if "REFIT" in flag or "STRIP" in flag or flag == "WEIGHTLESS"}
    assert "VERSION_COMPATIBLE" in trt.configs[0].flags
    assert "EXCLUDE_LEAN_RUNTIME" not in trt.configs[0].flags  # the plan carries the runtime that opens it


def test_hardware_compatible_plans_begin_at_ampere(machine, tmp_path):
    machine("10.4.0", capability=(7, 5))
    with pytest.raises(HarmonyError, match=r"begin at compute capability 8.0, this GPU has 7.5.*leave --hardware"):
        to_tensorrt.build(ir.from_proto(graph()), tmp_path, "fp16", options(hardware_compatible=True))
