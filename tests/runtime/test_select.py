import logging
import os
import shutil
import sys

import pytest

from fakes.altered import measured
from harmonyrt.runtime import Harmonizer, HarmonyError
from harmonyrt.runtime.choices import BACKENDS
from harmonyrt.runtime.select import backend_module


def without(monkeypatch, *names):
    """As if these packages were not installed."""
    import importlib

    real = importlib.import_module

    def found(name, package=None):
        if name.split(".")[0] in names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", found)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_has_the_same_three_names(name):
    module = backend_module(name)
    assert name == module.NAME
    assert callable(module.why_not)
    assert callable(module.open_session)


def test_auto_prefers_openvino_on_the_cpu(static_bundle):
    pytest.importorskip("openvino")
    info = Harmonizer.open(static_bundle, device="cpu").info
    assert (info.backend, info.target, info.skipped) == ("openvino", "openvino", ())
    assert info.why == "the documented order"


def test_auto_says_what_it_passed_over_and_why(static_bundle, monkeypatch, caplog):
    without(monkeypatch, "openvino")
    with caplog.at_level(logging.INFO, "harmonyrt.runtime"):
        info = Harmonizer.open(static_bundle, device="cpu").info
    assert info.backend == "onnxruntime"
    assert [label for label, _ in info.skipped] == ["openvino (openvino fp32, cpu)"]
    assert "pip install 'harmonyrt[openvino]'" in info.skipped[0][1]
    assert "skipped openvino" in caplog.text
    assert "onnxruntime (onnx fp32, cpu)" in caplog.text


def test_a_backend_that_was_asked_for_runs_or_raises(static_bundle, monkeypatch):
    without(monkeypatch, "openvino")
    with pytest.raises(HarmonyError, match=r"pip install 'harmonyrt\[openvino\]'"):
        Harmonizer.open(static_bundle, backend="openvino")


def test_a_gpu_that_is_not_there_is_no_reason_for_the_cpu(static_bundle):
    ort = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this machine has the CUDA provider")
    with pytest.raises(HarmonyError, match=r"CUDAExecutionProvider.*onnxruntime-gpu"):
        Harmonizer.open(static_bundle, backend="onnxruntime", device="cuda")
    with pytest.raises(HarmonyError, match="CUDAExecutionProvider"):
        Harmonizer.open(static_bundle, device="cuda:0")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backend": "onnx"}, "auto or one of"),
        ({"target": "coreml"}, "coreml"),
        ({"precision": "fp8"}, "precision 'fp8' is not known; give one of fp32, fp16, bf16, int8, or fastest"),
        ({"precision": "int8"}, "no engine for backend auto, precision int8: found onnx fp32, openvino fp32;"),
        ({"backend": "tensorrt"}, "no engine for backend tensorrt.*--targets tensorrt"),
        ({"backend": "onnxruntime", "target": "openvino"}, "no engine for backend onnxruntime, target openvino"),
        ({"backend": "onnxruntime", "device": "npu"}, "npu"),
        ({"backend": "openvino", "device": "cuda"}, "cuda"),
    ],
)
def test_what_cannot_be_is_one_sentence(static_bundle, options, words):
    with pytest.raises(HarmonyError, match=words) as caught:
        Harmonizer.open(static_bundle, **options)
    assert "\n" not in str(caught.value)


def test_what_was_measured_here_comes_first(static_bundle, altered):
    times = [measured("onnxruntime", "onnx", 5.0), measured("openvino", "openvino", 9.0)]
    bundle = altered(static_bundle, lambda m: m.update(measurements=times))
    info = Harmonizer.open(bundle).info
    assert info.backend == "onnxruntime"
    assert "measured fastest here: 5.0 ms" in info.why


@pytest.mark.parametrize("row", [{"machine": "another CPU, 64 cores"}, {"threads": 999}])
def test_what_was_measured_elsewhere_does_not_count(static_bundle, altered, row):
    pytest.importorskip("openvino")
    bundle = altered(static_bundle, lambda m: m.update(measurements=[measured("onnxruntime", "onnx", 1.0, **row)]))
    info = Harmonizer.open(bundle, device="cpu").info
    assert info.backend == "openvino"
    assert ("tuned on another CPU, 64 cores, not here" in info.why) == ("machine" in row)


def test_a_tampered_engine_is_an_error_and_not_a_reason_for_another(static_bundle, altered):
    pytest.importorskip("openvino")
    bundle = altered(static_bundle)
    (bundle / "openvino.bin").write_bytes(bytes(72))
    with pytest.raises(HarmonyError, match="altered"):
        Harmonizer.open(bundle, device="cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_bundle_in_a_folder_whose_name_is_not_utf8(static_bundle, tmp_path, backend):
    if backend == "openvino":
        pytest.importorskip("openvino")
    place = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(static_bundle, place)
    with Harmonizer.open(place, backend=backend) as harmonizer:
        assert harmonizer.info.backend == backend
