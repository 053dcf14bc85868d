"""What a build is asked for is checked before any work, and hashed."""

from dataclasses import replace

import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.export.build import recipe as recipes
from harmonyrt.export.build.recipe import parse_size, recipe_sha256, size_name
from harmonyrt.export.phnet import recipe as phnet_recipe
from harmonyrt.export.phnet.recipe import expand_recipes
from harmonyrt.export.targets import BuildOptions
from harmonyrt.runtime.cpu_speed import CpuSpeed


@pytest.fixture
def make(tmp_path):
    (tmp_path / "some.pth").write_bytes(b"weights")

    def make(sizes=("64",), precisions=("fp32",), targets=("onnx",), rewrites=("gate-fold",), **options):
        everything = BuildOptions(target="", size=None, **options)
        return expand_recipes(tmp_path / "some.pth", sizes, precisions, targets, rewrites, everything)

    return make


@pytest.mark.parametrize(("text", "size"), [("256", (256, 256)), ("256x512", (256, 512)), ("dynamic", None)])
def test_sizes(text, size):
    assert parse_size(text) == size
    assert size_name(size) == text


@pytest.mark.parametrize("text", ["100", "8", "0", "-64", "64x", "64x64x64", "big", "", "99999999", "²56", "16392"])
def test_sizes_that_the_network_cannot_take(text):
    with pytest.raises(HarmonyError, match=r"size .*; give"):
        parse_size(text)


def test_one_bundle_for_each_size_and_precision(make):
    names = [recipe.name for recipe in make(("64", "128", "64"), ("fp32", "fp16"))]
    assert names == ["phnet-64-fp32", "phnet-64-fp16", "phnet-128-fp32", "phnet-128-fp16"]


def test_what_cannot_exist_is_listed_with_its_reason(make):
    first, second = make(precisions=("fp32", "bf16"), targets=("onnx",))
    assert (first.targets, second.targets) == (("onnx",), ())
    assert second.skipped[0].reason == "ONNX Runtime's CPU provider has no BF16 convolution"


def test_asked_for_alone_it_is_an_error(make):
    with pytest.raises(HarmonyError, match="no BF16 convolution"):
        make(precisions=("bf16",))


@pytest.mark.parametrize(
    "wrong", [{"precisions": ("fp8",)}, {"targets": ("tpu",)}, {"rewrites": ("magic",)}, {"sizes": ("7",)}]
)
def test_unknown_values_name_the_known_ones(make, wrong):
    with pytest.raises(HarmonyError, match=r"choose from|give a multiple"):
        make(**wrong)


def test_a_target_without_its_package_is_refused_before_any_work(make, monkeypatch):
    monkeypatch.setitem(recipes.PACKAGE_OF_TARGET, "openvino", ("a_package_that_is_not_there", "openvino"))
    with pytest.raises(HarmonyError, match=r"a_package_that_is_not_there.*harmonyrt\[openvino\]"):
        make(targets=("onnx", "openvino"))


def test_a_missing_checkpoint(make, tmp_path):
    (tmp_path / "some.pth").unlink()
    with pytest.raises(HarmonyError, match="does not exist; give the path of a checkpoint"):
        make()


def test_the_hash_tells_builds_apart_and_forgets_what_changes_nothing(make, monkeypatch):
    (plain,) = make()
    (again,) = make(threads=3, targets=("onnx", "onnx"))
    assert recipe_sha256(plain) == recipe_sha256(again)
    others = [
        make(sizes=("128",))[0],
        make(precisions=("fp16",))[0],
        make(rewrites=())[0],
        make(optimization_level=2)[0],
        replace(plain, source_sha256="0" * 64),
    ]
    assert len({recipe_sha256(recipe) for recipe in (plain, *others)}) == 6
    before = recipe_sha256(plain)
    monkeypatch.setattr(recipes, "tool_versions", lambda: {"onnx": "99"})
    assert recipe_sha256(plain) != before


def test_bf16_leaves_out_what_slows_down_a_cpu_with_tiles(tmp_path, monkeypatch):
    (tmp_path / "some.pth").write_bytes(b"weights")
    options = BuildOptions(target="", size=None)

    def rewrites(plain, winograd, targets=("openvino",), **more):
        speed = CpuSpeed("a CPU", "2026.4", {"fp32": 9.0, "bf16": plain, "bf16 winograd": winograd}, 10.0)
        monkeypatch.setattr(phnet_recipe, "measured_once", lambda: speed)
        found = expand_recipes(tmp_path / "some.pth", ["64"], ["fp32", "bf16"], targets, ["fast"], options, **more)
        return [recipe.rewrites for recipe in found]

    fp32, bf16 = rewrites(plain=1.0, winograd=4.0)
    assert "winograd" in fp32
    assert not {"winograd", "gate-fold"} & set(bf16)
    assert rewrites(plain=4.0, winograd=2.0) == [fp32, fp32]
    assert rewrites(plain=1.95, winograd=2.0) == [fp32, fp32]  # that is noise
    assert rewrites(plain=1.0, winograd=4.0, tune=20.0) == [fp32, fp32]  # tuning measures instead
    monkeypatch.setattr(phnet_recipe, "measured_once", lambda: None)  # without OpenVINO, or switched off
    found = expand_recipes(tmp_path / "some.pth", ["64"], ["fp32", "bf16"], ["openvino"], ["fast"], options)
    assert [recipe.rewrites for recipe in found] == [fp32, fp32]
