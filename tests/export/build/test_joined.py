"""`build --one-bundle`: engines of several precisions in one bundle, each behind its own gate."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harmonyrt.common import WorkFailed
from harmonyrt.export.build import joined as joining
from harmonyrt.export.build import tune
from harmonyrt.export.build.joined_recipe import JoinedRecipe, joined
from harmonyrt.export.build.outcome import Outcome
from harmonyrt.export.build.recipe import recipe_sha256
from harmonyrt.export.phnet.recipe import expand_recipes
from harmonyrt.export.targets import BUILDERS, BuildOptions
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.manifest import Manifest, Measurement

NAME = "phnet-64-fp32-fp16"


@pytest.fixture
def recipes(tmp_path):
    (tmp_path / "some.pth").write_bytes(b"weights")

    def recipes(precisions, targets=("onnx",), sizes=("64",)):
        options = BuildOptions(target="", size=None)
        return joined(expand_recipes(tmp_path / "some.pth", sizes, precisions, targets, ("gate-fold",), options))

    return recipes


def test_one_recipe_for_each_size_the_most_exact_precision_first(recipes):
    first, second = recipes(("int8", "fp32", "bf16"), ("onnx", "openvino"), ("64", "128"))
    assert (first.name, second.name) == ("phnet-64-fp32-bf16-int8", "phnet-128-fp32-bf16-int8")
    assert [part.precision for part in first.parts] == ["fp32", "bf16", "int8"]
    assert first.precision == "fp32"
    assert ("onnx", "bf16") not in first.pairs
    assert {("onnx", "int8"), ("openvino", "bf16")} < first.pairs
    assert [(one.target, one.precision) for one in first.skipped] == [("onnx", "bf16")]
    assert recipe_sha256(first) == recipe_sha256(recipes(("fp32", "bf16", "int8"), ("openvino", "onnx"))[0])
    assert recipe_sha256(first) != recipe_sha256(recipes(("fp32", "int8"), ("onnx", "openvino"))[0])


def test_one_precision_alone_is_a_plain_bundle(recipes):
    (only,) = recipes(("fp32",))
    assert (isinstance(only, JoinedRecipe), only.name) == (False, "phnet-64-fp32")


def test_a_target_that_lacks_a_precision_finds_the_same_bundle(recipes):
    (first,), (second,) = recipes(("fp32", "fp16")), recipes(("fp32", "fp16"), ("openvino",))
    assert (first.name, recipe_sha256(first)) == (second.name, recipe_sha256(second)) == (NAME, recipe_sha256(first))
    assert second.pairs == {("openvino", "fp32")}
    assert [(part.precision, part.targets) for part in second.possible] == [("fp32", ("openvino",))]
    assert [(one.target, one.precision) for one in second.skipped] == [("openvino", "fp16")]


@pytest.fixture
def ask(build, tiny_checkpoint, tmp_path):
    """ask("--json", ...) builds FP32 and FP16 for ONNX into `tmp_path`."""

    def ask(*more):
        return build(
            "phnet", "--checkpoint", tiny_checkpoint, "--sizes", "64", "--threads", "2", "--precisions", "fp16", "fp32",
            "--one-bundle", "--output", tmp_path, *more,
        )  # fmt: skip

    return ask


def test_a_bundle_of_several_precisions(ask, tmp_path, monkeypatch):
    real, milliseconds = BUILDERS["onnx"], {"fp32": 9.0, "fp16": 4.0}

    def failing(model, folder, precision, options):
        if precision == "fp16":
            raise WorkFailed("the fp16 engine is outside its gate")
        return real(model, folder, precision, options)

    def timed(bundle, backend, target, threads, seconds):
        return milliseconds[open_bundle(bundle).manifest.precision]

    place, how = tmp_path / NAME, ("--rewrites", "none", "--tune", "4")
    monkeypatch.setattr(tune, "milliseconds", timed)
    with monkeypatch.context() as patch:
        patch.setitem(BUILDERS, "onnx", failing)
        code, said, _ = ask(*how)
    assert code == 1
    assert "failed: phnet-64-fp16, onnx: the fp16 engine is outside its gate" in said
    assert open_bundle(place).manifest.precisions == ("fp32",)
    assert sorted(path.name for path in place.iterdir()) == ["fp32", "manifest.json"]

    code, said, _ = ask(*how, "--json")  # what failed is tried again
    assert code == 0
    assert [bundle["status"] for bundle in json.loads(said)["bundles"]] == ["built"]
    assert sorted(path.relative_to(place).as_posix() for path in place.rglob("*.*")) == [
        "fp16/model.onnx", "fp32/model.onnx", "manifest.json",
    ]  # fmt: skip
    bundle = open_bundle(place)
    manifest = bundle.manifest
    assert (manifest.schema, manifest.name, manifest.precision) == (2, NAME, "fp32")
    assert [engine.precision for engine in manifest.engines] == ["fp32", "fp16"]
    assert [engine.parity.gate for engine in manifest.engines] == ["max_abs_error <= 0.0001", "psnr_db >= 50"]
    assert [bundle.verified_file(engine).parent.name for engine in manifest.engines] == ["fp32", "fp16"]
    assert {(one.precision, one.milliseconds) for one in manifest.measurements} == set(milliseconds.items())
    with Harmonizer.open(place, precision="fp32") as asked, Harmonizer.open(place, device="cpu") as unasked:
        assert (asked.info.precision, asked.info.parity.gate) == ("fp32", "max_abs_error <= 0.0001")
        assert "measured fastest here: 4.0 ms" in unasked.info.why

    assert "nothing changed" in ask(*how)[1]
    (planned,) = json.loads(ask(*how, "--dry-run", "--json")[1])["plan"]
    assert (planned["status"], [one["precision"] for one in planned["precisions"]]) == ("unchanged", ["fp32", "fp16"])
    (place / "fp16" / "model.onnx").unlink()
    (planned,) = json.loads(ask(*how, "--dry-run", "--json")[1])["plan"]
    assert planned["status"] == "to build"


def test_engines_of_another_target_stay_with_what_was_timed_of_them(recipes, bundle):
    (recipe,) = recipes(("fp32", "int8"), ("openvino",))
    one = open_bundle(bundle).manifest
    timed = Measurement("openvino", "openvino", 2, 3.0, "a machine")
    made = [
        replace(
            one,
            precision=precision,
            engines=(replace(one.engines[0], target="openvino", precision=precision),),
            measurements=(timed,),
        )
        for precision in ("fp32", "int8")
    ]
    (engine,) = one.engines
    older = [replace(engine, precision=p, files=(replace(engine.files[0], path=f"{p}/a"),)) for p in ("int8", "fp32")]
    kept = [Measurement("onnxruntime", "onnx", 2, 5.0, "a machine", "int8")]
    manifest = joining.joined_manifest(recipe, Outcome(recipe, bundle, "nothing"), made, older, kept)
    assert [(e.precision, e.target, e.files[0].path) for e in manifest.engines] == [
        ("fp32", "onnx", "fp32/a"),
        ("fp32", "openvino", "fp32/model.onnx"),
        ("int8", "onnx", "int8/a"),
        ("int8", "openvino", "int8/model.onnx"),
    ]
    assert [(m.target, m.precision) for m in manifest.measurements] == [
        ("onnx", "int8"), ("openvino", "fp32"), ("openvino", "int8"),
    ]  # fmt: skip
    assert (manifest.schema, manifest.precision, manifest.recipe["targets"]) == (2, "fp32", ["onnx", "openvino"])
    assert Manifest.from_json(manifest.to_json()) == manifest
