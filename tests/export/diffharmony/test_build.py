"""The build job: gates, fallback, unchanged bundles, and what a user gets wrong."""

from __future__ import annotations

import argparse
import importlib.util
import shutil

import numpy as np
import pytest

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.export.build.job import Outcome
from harmonyrt.export.build_engines import main
from harmonyrt.export.diffharmony import build, command, gate
from harmonyrt.export.diffharmony.recipe import Source, plan
from harmonyrt.export.diffharmony.session import Bench
from harmonyrt.export.diffharmony.weights_apart import OutOfRange
from harmonyrt.export.targets import BuildOptions
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.diffusion.schedule import COMPONENTS

TINY = ["--random-weights", "tiny", "--inference-size", "64", "--output-size", "32", "--steps", "2", "1", "5"]


def reference(value: float) -> gate.Reference:
    nothing = np.zeros((1, 1, 2, 2), np.float32)
    calls = {"unet": [({}, {"out": np.full((1, 4), value, np.float32)})]}
    return gate.Reference("a case", nothing, nothing, nothing, nothing, nothing, calls)


@pytest.mark.parametrize(("precision", "error"), [("fp32", 1e-4), ("fp16", 2e-3), ("bf16", 6e-3)])
def test_a_component_within_its_gate(precision, error):
    cases = [reference(2.0)]
    parity = gate.measure_component(
        lambda feeds: {"out": np.full((1, 4), 2 + 2 * error, np.float32)}, "unet", cases, precision, "here"
    )
    assert parity.cases == 1
    assert parity.max_abs_error == pytest.approx(2 * error, rel=1e-2)
    assert parity.gate == gate.gate_sentence(precision)


@pytest.mark.parametrize(("precision", "error"), [("fp32", 2e-3), ("fp16", 5e-3), ("bf16", 2e-2)])
def test_a_component_outside_its_gate(precision, error):
    def run(feeds):
        return {"out": np.full((1, 4), 2 + 2 * error, np.float32)}

    with pytest.raises(WorkFailed, match=f"the unet is outside its gate in {precision}: found relative error"):
        gate.measure_component(run, "unet", [reference(2.0)], precision, "here")


def test_values_that_are_not_finite_fail_every_gate():
    def run(feeds):
        return {"out": np.array([[1, np.nan, 1, 1]], np.float32)}

    with pytest.raises(WorkFailed, match="the unet's out has values that are not finite in fp16"):
        gate.measure_component(run, "unet", [reference(1.0)], "fp16", "here")


@pytest.fixture
def bench(monkeypatch, tmp_path):
    """A bundle in the making whose engines fail in the precisions that a test names."""

    def make(
        precision: str,
        failing: set[str],
        targets: tuple[str, ...] = ("tensorrt-rtx",),
        failure: type[WorkFailed] = OutOfRange,
    ):
        recipe = argparse.Namespace(
            name="diffharmony-test", precision=precision, targets=targets, inference_size=(64, 64)
        )
        made = Bench(Outcome(recipe, tmp_path, "pending"), recipe, tmp_path, tmp_path, None, [], _Silent())

        def built(component, graph, target, precision):
            if precision in failing:
                raise failure(f"{component} fails in {precision}")
            return [precision]

        monkeypatch.setattr(made, "_built", built)
        return made

    return make


class _Silent:
    def __call__(self, doing: str, share: float | None = None) -> None:
        pass

    def step_done(self) -> None:
        pass


@pytest.mark.parametrize(("failing", "chosen"), [(set(), "fp16"), ({"fp16"}, "bf16"), ({"fp16", "bf16"}, "fp32")])
def test_fp16_falls_back_by_measurement_and_says_so(failing, chosen, bench):
    made = bench("fp16", failing)
    made.add("vae-decoder", None)
    assert made.engines == {"tensorrt-rtx": [chosen]}
    assert bool(made.notes) == bool(failing)
    assert all(f"vae-decoder fails in {precision}" in made.notes[0] for precision in failing)


def test_bf16_does_not_follow_an_inaccuracy(bench):
    made = bench("fp16", {"fp16"}, failure=WorkFailed)
    made.add("unet", None)
    assert made.engines == {"tensorrt-rtx": ["fp32"]}
    assert "fewer digits than fp16" in made.notes[0]


def test_bf16_is_passed_over_where_it_cannot_be(bench):
    made = bench("fp16", {"fp16"}, targets=("onnx",))
    made.add("unet", None)
    assert made.engines == {"onnx": ["fp32"]}
    assert "no BF16 convolution" in made.notes[0]


def test_a_component_without_any_precision_is_a_problem(bench):
    made = bench("fp32", {"fp32"})
    made.add("unet", None)
    assert made.outcome.problems == ["diffharmony-test, unet, tensorrt-rtx: fp32: unet fails in fp32"]


def test_an_unchanged_bundle_is_not_built_again(diffharmony_bundles, tmp_path, capsys, monkeypatch):
    shutil.copytree(diffharmony_bundles["harmony"], tmp_path / diffharmony_bundles["harmony"].name)
    monkeypatch.setattr(build, "_build", lambda *_: pytest.fail("it was built again"))
    assert main(["diffharmony", *TINY, "--random-harmony-vae", "--output", str(tmp_path)]) == 0
    assert "nothing changed" in capsys.readouterr().out


def test_names_and_manifest_say_that_weights_are_random(diffharmony_bundles):
    bundle = open_bundle(diffharmony_bundles["kl"])
    assert bundle.manifest.model.random_weights
    assert "random" in bundle.manifest.name
    assert "random" in bundle.manifest.model.checkpoint


def test_a_dry_run_builds_nothing(tmp_path, capsys):
    assert main(["diffharmony", *TINY, "--dry-run", "--precisions", "fp32", "fp16", "--output", str(tmp_path)]) == 0
    assert "diffharmony-random-64to32-fp16" in capsys.readouterr().out
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "give either --checkpoint DIR or --random-weights tiny"),
        (["--random-weights", "tiny", "--refiner", "somewhere"], "--refiner has no use with --random-weights"),
        (["--checkpoint", "nowhere"], "--checkpoint nowhere is not a folder"),
        (["--random-weights", "tiny", "--precisions", "int8"], "precision 'int8' is not possible for diffharmony"),
        (["--random-weights", "tiny", "--targets", "npu"], "target 'npu' is not possible"),
        (["--random-weights", "tiny", "--inference-size", "100"], "give a multiple of 8"),
        (["--random-weights", "tiny", "--inference-size", "dynamic"], "static engines only"),
        (["--random-weights", "tiny", "--inference-size", "16"], "inference size 16 is too small"),
        (["--random-weights", "tiny", "--inference-size", "512x56"], "give 64 or more"),
        (["--random-weights", "tiny", "--compute-capabilities", "new"], "compute capability 'new'"),
        (["--random-weights", "tiny", "--steps", "0"], "--steps 0 is not possible"),
        (["--random-weights", "tiny", "--threads", "0"], "--threads 0 is not possible"),
        (["--random-weights", "tiny", "--precisions", "fp16", "--targets", "openvino"], "nothing to build"),
    ],
)
def test_wrong_usage_is_one_sentence(given, words, capsys):
    assert main(["diffharmony", *given]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_an_output_size_needs_a_refiner(tmp_path):
    with pytest.raises(HarmonyError, match="needs a refiner: give --refiner DIR"):
        plan(Source(checkpoint=tmp_path), (64, 64), (32, 32), ["fp32"], ["onnx"], [5], BuildOptions("", None))


def test_every_option_has_help():
    assert all(action.help for action in command.parser()._actions if action.dest != "model")


@pytest.mark.slow
def test_fp16_engines_of_tensorrt_for_rtx_build_without_a_card(tmp_path):
    if not importlib.util.find_spec("tensorrt_rtx_bindings"):
        pytest.skip("needs TensorRT for RTX, extra 'tensorrt-rtx'")
    sizes = ["--inference-size", "128", "--output-size", "64", "--steps", "2", "--compute-capabilities", "8.9"]
    targets = ["--precisions", "fp16", "--targets", "tensorrt-rtx", "--threads", "1", "--output", str(tmp_path)]
    assert main(["diffharmony", "--random-weights", "tiny", *sizes, *targets]) == 0
    manifest = open_bundle(tmp_path / "diffharmony-random-128to64-fp16").manifest
    assert {engine.component: engine.precision for engine in manifest.engines} == dict.fromkeys(COMPONENTS, "fp16")
    assert all(engine.census["float16"] > 30 for engine in manifest.engines)
