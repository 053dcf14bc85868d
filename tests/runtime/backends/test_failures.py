"""What engines say when they fail, as one sentence with the advice that fits."""

import subprocess
import sys
from pathlib import Path

import pytest

from harmonyrt.common import HarmonyError, OutOfMemory, WorkFailed
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.backends import failures


@pytest.mark.parametrize(
    "words",
    [
        "Exception during initialization: std::bad_alloc",
        "Failed to allocate memory for requested buffer of size 268435456",
        "can't alloc",
        "libfoo.so: failed to map segment from shared object",
        "CUDA failure 2: out of memory",
        "Cannot allocate memory",
    ],
)
def test_want_of_memory_is_called_so(words):
    error = failures.opening_failed("A library 1.0", "library", Path("model.onnx"), RuntimeError(words), words)
    assert isinstance(error, OutOfMemory)
    assert error.exit_code == 1
    assert "memory" in str(error)
    assert "build the bundle" not in str(error)
    assert isinstance(failures.running_failed("A library", RuntimeError(words)), OutOfMemory)


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("Protobuf parsing failed.", "build the bundle again"),
        ("Unsupported model IR version: 99, max supported IR version: 10", "install a newer library"),
        ("Could not find an implementation for Foo(1)", "use another backend"),
        ("open file model.onnx fail, errcode 13: Permission denied", "readable"),
        ("something else", "build the bundle again or install a newer library"),
    ],
)
def test_the_advice_fits_the_reason(words, advice):
    error = failures.opening_failed("A library 1.0", "library", Path("model.onnx"), RuntimeError(words), words)
    assert type(error) is HarmonyError
    assert str(error).endswith(advice) or advice in str(error).rsplit(";", 1)[1]


@pytest.mark.parametrize(
    ("raised", "kind"), [(RuntimeError("std::bad_alloc"), OutOfMemory), (RuntimeError("bad node"), WorkFailed)]
)
def test_a_run_that_fails_is_one_sentence(static_bundle, composite, ellipse, monkeypatch, raised, kind):
    pytest.importorskip("onnxruntime")
    import onnxruntime as ort

    def run(*_):
        raise raised

    harmonizer = Harmonizer.open(static_bundle, backend="onnxruntime", threads=1)
    monkeypatch.setattr(ort.InferenceSession, "run", run)
    with pytest.raises(kind, match="ONNX Runtime"):
        harmonizer.harmonize(composite, ellipse)
    monkeypatch.undo()
    harmonizer.harmonize(composite, ellipse)  # its session was given back


@pytest.mark.parametrize("backend", ["onnxruntime", "auto"])
def test_opening_without_memory_ends_with_1(static_bundle, monkeypatch, backend):
    ort = pytest.importorskip("onnxruntime")

    def fails(*_, **__):
        raise RuntimeError(
            "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: std::bad_alloc"
        )

    monkeypatch.setattr(ort, "InferenceSession", fails)
    ov = pytest.importorskip("openvino")
    monkeypatch.setattr(ov.Core, "compile_model", fails)
    with pytest.raises(OutOfMemory, match="not enough memory"):
        Harmonizer.open(static_bundle, backend=backend, cache="")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux's")
def test_a_limit_that_the_engine_does_not_fit_into_is_said(static_bundle):
    pytest.importorskip("onnxruntime")
    code = """
import resource, sys
import onnxruntime
from harmonyrt.common import OutOfMemory
from harmonyrt.runtime import Harmonizer
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 20), used + (4 << 20)))
try:
    Harmonizer.open(sys.argv[1], backend="onnxruntime")
except OutOfMemory as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, static_bundle], capture_output=True, text=True)
    assert "memory limit leaves" in done.stdout, done.stderr[-1000:]


def test_an_engine_file_that_cannot_be_read_is_said(static_bundle, altered, monkeypatch):
    import os

    bundle, access = altered(static_bundle), os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith(".onnx") and access(path, mode))
    with pytest.raises(HarmonyError, match=r"model\.onnx cannot be read .*permission"):
        Harmonizer.open(bundle, backend="onnxruntime")


def test_the_kinds_of_errors_are_public():
    from harmonyrt import runtime

    assert issubclass(runtime.OutOfMemory, runtime.WorkFailed)
