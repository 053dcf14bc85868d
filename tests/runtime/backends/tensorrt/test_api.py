"""The fakes of TensorRT have the signatures of the real one, and so do the calls that we make of it."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import re

import pytest

from fakes import tensorrt as fake
from fakes import tensorrt_api as api
from fakes import tensorrt_bindings as bindings
from fakes import tensorrt_engines
from harmonyrt.runtime.backends.tensorrt import versions


def classes(version):
    """Fake classes by the name of the real one."""
    trt = fake.fake_tensorrt(version)
    found = {
        "Builder": trt.Builder,
        "IBuilderConfig": fake.Config,
        "IOptimizationProfile": fake.Profile,
        "ITimingCache": fake.EditableTimingCache,
        "Refitter": fake.Refitter,
        "OnnxParserRefitter": fake.OnnxParserRefitter,
        "OnnxParser": trt.OnnxParser,
        "ParserError": fake.ParserError if version.startswith("8") else fake.NewParserError,
        "INetworkDefinition": fake.Network,
        "ILayer": fake.Layer,
        "Runtime": trt.Runtime,
        "ICudaEngine": tensorrt_engines.FakeEngine,
        "IExecutionContext": tensorrt_engines.FakeContext,
    }
    return found


@pytest.mark.parametrize("version", api.VERSIONS)
@pytest.mark.parametrize("name", classes("10.4.0"))
def test_fakes_have_the_real_signatures(version, name):
    found = classes(version)[name]
    methods = {
        key: value for key, value in vars(found).items() if inspect.isfunction(value) and not key.startswith("_")
    }
    assert methods
    for method, function in methods.items():
        full = f"{name}.{method}"
        assert full in api.METHODS, f"TensorRT has no {full}"
        given = tuple(inspect.signature(function).parameters)[1:]
        assert given in api.METHODS[full], full


@pytest.mark.parametrize("version", api.VERSIONS)
def test_members_of_the_fakes_enumerations_exist(version):
    trt = fake.fake_tensorrt(version)
    for name in api.ENUMS.keys() & vars(trt).keys():
        stand_in = getattr(trt, name)
        if name != "DataType":  # one for every version; what a graph brings decides which are met
            assert set(stand_in.__members__) <= api.members(version, name)


def test_what_a_release_does_not_have_cannot_be_set():
    config = fake.fake_tensorrt("8.6.1").Builder(None).create_builder_config()
    config.builder_optimization_level = 3
    with pytest.raises(AttributeError, match="progress_monitor"):
        config.progress_monitor = None
    with pytest.raises(AttributeError, match="optimization_level"):
        config.optimization_level = 3


def test_the_table_knows_when_things_came_and_went():
    assert api.table_version("11.3.0.99") == "11.1.0"
    assert api.table_version("11.5.0") == "11.4.0"
    assert api.has("10.4.0", "ILayer.precision")
    assert not api.has("11.4.0", "ILayer.precision")
    assert not api.has("10.0.1", "ICudaEngine.weight_streaming_budget_v2")
    assert api.has("10.4.0", "ICudaEngine.weight_streaming_budget_v2")
    assert "FP16" not in api.members("11.1.0", "BuilderFlag")


# --- NVIDIA's own bindings, read without its libraries

needs_bindings = pytest.mark.skipif(bindings.why_not() is not None, reason=str(bindings.why_not()))
RELEASES = sorted(bindings.found()) or ["none"]


@functools.cache
def real(release):
    """The API of a release: read once, by whoever asks first."""
    return bindings.read(bindings.found()[release])


@needs_bindings
@pytest.mark.parametrize("release", RELEASES)
def test_methods_of_the_table_are_those_of_the_bindings(release):
    version = api.table_version(release)
    for full in api.METHODS:
        name, method = full.split(".")
        found = real(release).get(name, {}).get(method)
        assert (found is not None) == api.has(version, full), full
        if found is not None:
            assert set(api.signatures(version, full)) <= {tuple(signature) for signature in found}, full


@needs_bindings
@pytest.mark.parametrize("release", RELEASES)
def test_properties_of_the_table_are_those_of_the_bindings(release):
    version = api.table_version(release)
    for full, written in api.PROPERTIES.items():
        name, member = full.split(".")
        found = real(release).get(name, {}).get(member)
        assert (found is not None) == api.has(version, full), full
        assert found is None or found or not written, f"{full} cannot be written"


@needs_bindings
@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", api.ENUMS)
def test_enumerations_of_the_table_are_those_of_the_bindings(release, name):
    found = real(release).get(name, {"members": []})["members"]
    assert set(found) == api.members(release, name)


@needs_bindings
def test_the_newest_release_of_the_table_is_at_hand():
    assert any(release.startswith(api.VERSIONS[-1]) for release in RELEASES)


# --- TensorRT for RTX, whose API is that of TensorRT 11, is there in person

needs_rtx = pytest.mark.skipif(
    not importlib.util.find_spec("tensorrt_rtx_bindings"),
    reason="TensorRT for RTX is not installed: pip install 'harmonyrt[tensorrt-rtx]'",
)


@needs_rtx
@pytest.mark.parametrize("full", [*(name for name in api.METHODS if api.has("11.4.0", name)), *api.ONLY_RTX])
def test_the_table_agrees_with_tensorrt_for_rtx(full):
    trt = versions.load("tensorrt-rtx")
    name, method = full.split(".")
    text = getattr(getattr(trt, name), method).__doc__
    signatures = re.findall(rf"{method}\(self: [^,)]+(?:, )?(.*?)\) -> ", text)
    assert signatures, text
    real = {tuple(re.findall(r"(?:^|, )(\w+): ", signature)) for signature in signatures}
    assert set(api.METHODS[full]) <= real


@needs_rtx
def test_properties_agree_with_tensorrt_for_rtx():
    trt = versions.load("tensorrt-rtx")
    for full, written in api.PROPERTIES.items():
        name, member = full.split(".")
        if not api.has("11.4.0", full):
            assert not hasattr(getattr(trt, name), member), full
            continue
        found = getattr(getattr(trt, name), member)
        assert isinstance(found, property), full
        assert (found.fset is not None) == written, full


@needs_rtx
@pytest.mark.parametrize("name", api.ENUMS)
def test_members_agree_with_tensorrt_for_rtx(name):
    trt = versions.load("tensorrt-rtx")
    used_by_us = {
        "BuilderFlag": {"TF32", "VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME", "WEIGHT_STREAMING"},
        "NetworkDefinitionCreationFlag": {"STRONGLY_TYPED"},
    }
    real = set(getattr(trt, name).__members__)
    assert used_by_us.get(name, set()) <= real & api.members("11.4.0", name)
    common = real & api.members("11.4.0", name)
    assert common, name
