"""The build job: gates, fallback, unchanged bundles, and what a user gets wrong."""

from __future__ import annotations

import argparse
import importlib.util
import shutil

import pytest

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.export.build import job
from harmonyrt.export.build.family import Component
from harmonyrt.export.build.gate import OutOfRange
from harmonyrt.export.build.outcome import Outcome
from harmonyrt.export.build.session import BuildSession
from harmonyrt.export.build_engines import main
from harmonyrt.export.diffharmony import family
from harmonyrt.export.diffharmony.recipe import Source, expand_recipes
from harmonyrt.export.targets import BuildOptions
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.diffusion.schedule import COMPONENTS

TINY = ["--random-weights", "tiny", "--inference-size", "64", "--output-size", "32", "--steps", "2", "1", "5"]


@pytest.fixture
def session(tmp_path):
    """A bundle in the making whose engines fail in the precisions that a test names."""

    def make(
        precision: str,
        failing: set[str],
        targets: tuple[str, ...] = ("tensorrt-rtx",),
        failure: type[WorkFailed] = OutOfRange,
    ):
        recipe = argparse.Namespace(
            name="diffharmony-test", precision=precision, targets=targets, size=(64, 64), skipped=(), rewrites=()
        )
        made = BuildSession(Outcome(recipe, tmp_path, "nothing"), recipe, family, None, tmp_path, tmp_path, _Silent())

        def built(component, target, precision):
            if precision in failing:
                raise failure(f"{component.name} fails in {precision}")
            return [precision]

        made._built = built
        return made

    return make


def component(name: str) -> Component:
    return Component(name, 1, [], lambda *_: pytest.fail("typed"), lambda graph: graph, is_picture=False)


class _Silent:
    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(self, doing: str, share: float | None = None) -> None:
        self.said.append(doing)

    def step_done(self) -> None:
        pass


@pytest.mark.parametrize(("failing", "chosen"), [(set(), "fp16"), ({"fp16"}, "bf16"), ({"fp16", "bf16"}, "fp32")])
def test_fp16_falls_back_by_measurement_and_says_so(failing, chosen, session):
    made = session("fp16", failing)
    made.add(component("vae-decoder"))
    assert made.engines == {"tensorrt-rtx": [chosen]}
    assert bool(made.notes) == bool(failing)
    assert all(f"vae-decoder fails in {precision}" in made.notes[0] for precision in failing)


def test_bf16_does_not_follow_an_inaccuracy(session):
    made = session("fp16", {"fp16"}, failure=WorkFailed)
    made.add(component("unet"))
    assert made.engines == {"tensorrt-rtx": ["fp32"]}
    assert "fewer digits than fp16" in made.notes[0]


def test_bf16_is_passed_over_where_it_cannot_be(session):
    made = session("fp16", {"fp16"}, targets=("onnx",))
    made.add(component("unet"))
    assert made.engines == {"onnx": ["fp32"]}
    assert "no BF16 convolution" in made.notes[0]


def test_a_component_without_any_precision_is_a_problem(session):
    made = session("fp32", {"fp32"})
    made.add(component("unet"))
    assert made.outcome.problems == ["diffharmony-test, unet, tensorrt-rtx: fp32: unet fails in fp32"]


def test_an_unchanged_bundle_is_not_built_again(diffharmony_bundles, tmp_path, capsys, monkeypatch):
    shutil.copytree(diffharmony_bundles["harmony"], tmp_path / diffharmony_bundles["harmony"].name)
    monkeypatch.setattr(job, "_build", lambda *_: pytest.fail("it was built again"))
    assert main(["diffharmony", *TINY, "--random-harmony-vae", "--output", str(tmp_path)]) == 0
    assert "nothing changed" in capsys.readouterr().out


@pytest.mark.slow
def test_a_second_target_joins_the_bundle(diffharmony_bundles, tmp_path, capsys):
    place = tmp_path / diffharmony_bundles["harmony"].name
    shutil.copytree(diffharmony_bundles["harmony"], place)
    before = open_bundle(place).manifest
    ask = ["diffharmony", *TINY, "--random-harmony-vae", "--threads", "1", "--output", str(tmp_path)]
    assert main([*ask, "--targets", "openvino"]) == 0
    assert "keeping the older bundle's engines for onnx" in capsys.readouterr().err
    bundle = open_bundle(place)
    kept = [engine for engine in bundle.manifest.engines if engine.target == "onnx"]
    assert kept == list(before.engines)
    assert {(engine.target, engine.component) for engine in bundle.manifest.engines} == {
        (target, component) for target in ("onnx", "openvino") for component in COMPONENTS
    }
    for engine in kept:
        bundle.verified_file(engine)
    whole = bundle.manifest.model.config["parity_of_the_whole"]
    assert whole["onnx"] == before.model.config["parity_of_the_whole"]["onnx"]
    assert whole["openvino"]["cases"] > 0


def test_engines_that_something_else_made_are_left_behind_with_a_word(diffharmony_bundles, tmp_path):
    old = open_bundle(diffharmony_bundles["kl"]).manifest
    facts = {key: value for key, value in old.recipe.items() if key != "targets"}
    for found, kept, said in (
        (facts, ["openvino"], "diffharmony-test: keeping the older bundle's engines for openvino"),
        (
            {**facts, "source_sha256": "0" * 64},
            [],
            "engines for openvino are not kept: other weights, options or tools",
        ),
    ):
        recipe = argparse.Namespace(name="diffharmony-test", targets=("onnx",), facts=lambda found=found: found)
        report = _Silent()
        scratch = tmp_path / str(len(kept))
        scratch.mkdir()
        made = BuildSession(Outcome(recipe, tmp_path, "nothing"), recipe, family, None, scratch, scratch, report)
        made.keep_other_targets(diffharmony_bundles["kl"])
        assert list(made.engines) == list(made.whole) == kept
        assert bool(list(scratch.rglob("openvino.bin"))) == bool(kept)
        assert said in report.said[-1]


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
        expand_recipes(Source(checkpoint=tmp_path), (64, 64), (32, 32), ["fp32"], ["onnx"], [5], BuildOptions("", None))


@pytest.mark.slow
def test_fp16_engines_of_tensorrt_for_rtx_build_without_a_gpu(tmp_path):
    if not importlib.util.find_spec("tensorrt_rtx_bindings"):
        pytest.skip("needs TensorRT for RTX, extra 'tensorrt-rtx'")
    sizes = ["--inference-size", "128", "--output-size", "64", "--steps", "2", "--compute-capabilities", "8.9"]
    targets = ["--precisions", "fp16", "--targets", "tensorrt-rtx", "--threads", "1", "--output", str(tmp_path)]
    assert main(["diffharmony", "--random-weights", "tiny", *sizes, *targets]) == 0
    manifest = open_bundle(tmp_path / "diffharmony-random-128to64-fp16").manifest
    assert {engine.component: engine.precision for engine in manifest.engines} == dict.fromkeys(COMPONENTS, "fp16")
    assert all(engine.census["float16"] > 30 for engine in manifest.engines)
