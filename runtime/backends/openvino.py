"""OpenVINO on the CPU: FP32, BF16 where the CPU has it, INT8.

The precision is always passed: left to itself, OpenVINO computes FP32 models in BF16 on CPUs that have it.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import require
from harmonyrt.common.signals import held_signals
from harmonyrt.runtime import forks, native, native_calls, openvino_core
from harmonyrt.runtime.backends import SessionOptions, failures
from harmonyrt.runtime.compiled_cache import CompiledCache
from harmonyrt.runtime.cpu_speed import kept
from harmonyrt.runtime.machine import cores, cpu_model_and_flags
from harmonyrt.runtime.manifest import EngineSpec, Manifest

log = logging.getLogger("harmonyrt.runtime")

NAME = "openvino"
TARGETS = ("openvino", "onnx")

_WHO = "the OpenVINO backend"
# INT8 engines carry their quantisation in the graph; what is left outside it computes in FP32.
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
_CAPABILITY = {"bf16": "BF16", "fp16": "FP16"}


class OpenVinoSession:
    """A compiled model with one inference request."""

    backend = NAME
    device = "cpu"

    def __init__(self, compiled: Any, names: Collection[str] = ()) -> None:
        self._compiled, self._names = compiled, tuple(names)
        self._request = compiled.create_infer_request()
        forks.keep(compiled)
        forks.keep(self._request)
        # Compiling can leave an output with the names of fused nodes too: the manifest's name goes first.
        self._outputs = {
            next((name for name in names if name in output.get_names()), output.get_any_name()): output
            for output in compiled.outputs
        }

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once: arrays by input name in, arrays by output name out (copies; the request is used again)."""
        feeds = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        try:
            with native_calls.inside():
                result = self._request.infer(feeds, share_inputs=True, share_outputs=True)
        except Exception as error:  # OpenVINO raises RuntimeError and its own types
            raise failures.running_failed("OpenVINO", error) from None
        return {name: np.array(result[output]) for name, output in self._outputs.items()}

    def another(self) -> OpenVinoSession:
        """One more inference request of the compiled model."""
        with native_calls.inside():
            return type(self)(self._compiled, self._names)


def why_not(engine: EngineSpec, options: SessionOptions) -> str | None:
    """Why this backend cannot run `engine` here with `options`, with what to do; None when it can."""
    if engine.target not in TARGETS:
        return f"it opens no {engine.target} engines, only {' and '.join(TARGETS)}"
    if engine.target == "onnx" and engine.precision in ("fp16", "bf16"):
        return f"it computes {engine.precision} only from an openvino engine: build one with --targets openvino"
    if options.device not in (None, "cpu"):
        return f"it runs on device cpu here, not on {options.device!r}: use onnxruntime or tensorrt for a GPU"
    try:
        openvino = require("openvino", "openvino", _WHO)
    except HarmonyError as error:
        return str(error)
    without_kernels = native.why_not(engine.needs.get(native.NEED), NAME, engine.precision)
    if without_kernels is not None:
        return without_kernels
    needed = _CAPABILITY.get(engine.precision)
    found = openvino_core.core(openvino).get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if needed is not None and needed not in found:
        return f"{engine.precision} needs a CPU with {needed}, found {', '.join(found)}: use the fp32 bundle"
    return None


def open_session(path: Path, engine: EngineSpec, manifest: Manifest, options: SessionOptions) -> OpenVinoSession:
    """Compile an engine for the CPU.

    Args:
        path: the verified `openvino.xml` (its `.bin` next to it) or ONNX file.
        engine: what the manifest says of it.
        manifest: the bundle's manifest.
        options: threads, pinning, and the folder for compiled models; by default a folder in the user's cache.

    Raises:
        HarmonyError: OpenVINO cannot read or compile the file.
    """
    openvino = require("openvino", "openvino", _WHO)
    if engine.precision == "bf16" and ("winograd" in engine.rewrites or engine.is_native):
        speed = kept(options.cache)
        if speed is not None and speed.plain_is_faster("bf16", native=engine.is_native):
            log.warning(
                "%s is slower here than it could be, since this CPU is measured faster in BF16 without Winograd:"
                " build it on this machine, or with --rewrites low-memory",
                path,
            )
    settings: dict[str, str | int | bool] = {
        "INFERENCE_PRECISION_HINT": _HINTS[engine.precision],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": options.streams,
        "INFERENCE_NUM_THREADS": options.threads or cores(),
        # OpenVINO's own choice ties threads to the first cores, in every process alike: two processes of one thread
        # then share one core, and each takes twice as long.
        "ENABLE_CPU_PINNING": bool(options.pin_threads),
    }
    try:
        # A native engine compiles in the time in which its copy would be read from the cache (docs/cache.md).
        cache = CompiledCache(None) if engine.is_native else CompiledCache.at(options.cache)
        with native_calls.inside():
            compiled = _compiled(openvino, path, engine, settings, cache)
            return OpenVinoSession(compiled, [output.name for output in manifest.outputs])
    except HarmonyError:
        raise
    except Exception as error:  # OpenVINO raises RuntimeError and its own types
        who = f"OpenVINO {openvino.__version__}"
        raise failures.opening_failed(who, "openvino", path, error, _last_line(error)) from None


def add_native_kernels(needs: Mapping[str, str], precision: str = "fp32") -> None:
    """Load the fused kernels into this process's OpenVINO core where an engine of this precision needs them.

    Raises:
        HarmonyError: there are none for this machine, or they are those of another OpenVINO.
    """
    if native.NEED not in needs:
        return
    reason = native.why_not(needs[native.NEED], NAME, precision)
    if reason is not None:
        raise HarmonyError(f"the engine cannot be used: {reason}")
    path = native.library(NAME)
    try:
        openvino_core.add_extension(require("openvino", "openvino", _WHO), str(path))
    except Exception as error:  # OpenVINO raises RuntimeError and its own types
        raise HarmonyError(
            f"the native kernels of {path} do not fit this OpenVINO, {_version()} ({_last_line(error)}): install"
            " the one that they were built with, or run make native again"
        ) from None


def _compiled(
    openvino: Any, path: Path, engine: EngineSpec, settings: dict[str, str | int | bool], cache: CompiledCache
) -> Any:
    """The compiled model: as an earlier opening left it in the cache, else compiled now and left there.

    OpenVINO's own cache goes by path, size and time, and believes what it reads; so only its export and import serve.
    """
    core = openvino_core.core(openvino)
    add_native_kernels(engine.needs, engine.precision)
    key = cache_key(openvino.__version__, core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"), engine, settings)
    # The imported model computes with the weights where they lie in the tensor, and shares its ownership of them; an
    # array of NumPy would be gone before.
    tensors: list[Any] = []

    def make(size: int) -> np.ndarray:
        tensors.append(openvino.Tensor(openvino.Type.u8, openvino.Shape([size])))
        return tensors[-1].data

    if cache.read(key, make) is not None:
        try:
            return core.import_model(tensors[-1], "CPU", settings)
        except Exception as error:  # OpenVINO raises RuntimeError and its own types
            if failures.is_memory(error):
                raise
            log.warning("the cached model of %s is not used (%s); compiling again", path, _last_line(error))
            cache.remove(key)
    compiled = core.compile_model(str(path), "CPU", settings)

    def save(file: BinaryIO) -> None:
        stream = _Export(file)
        with held_signals():  # which Ctrl-C in the middle would cut short without a word
            compiled.export_model(stream)
        if stream.error is not None:
            raise stream.error

    try:
        cache.write(key, save)
    except Exception as error:
        log.warning("the compiled model of %s is not kept: OpenVINO does not export it (%s)", path, _last_line(error))
    return compiled


def cache_key(
    version: str, capabilities: Collection[str], engine: EngineSpec, settings: Mapping[str, str | int | bool]
) -> dict[str, object]:
    """All that a compiled model depends on.

    Args:
        version: of OpenVINO, with its build.
        capabilities: precisions that OpenVINO sees in this CPU.
        engine: what the manifest says of it; its files have been verified.
        settings: that it is compiled with.
    """
    model, flags = cpu_model_and_flags()
    return {
        "kind": "openvino",
        "library": version,
        "files": ",".join(file.sha256 for file in engine.files),
        "cpu": model,
        "features": hashlib.sha256(" ".join(sorted(flags)).encode()).hexdigest()[:16],
        "capabilities": ",".join(sorted(capabilities)),
        **settings,
    }


class _Export(io.BytesIO):
    """What OpenVINO exports into: a part of a file, so that no second copy of the model is in memory.

    It takes nothing but a BytesIO, and does not pass exceptions on.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file, self._start = file, file.tell()
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        if self.error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset + (self._start if whence == 0 else 0), whence) - self._start

    def tell(self) -> int:
        return self._file.tell() - self._start

    def flush(self) -> None:
        """Nothing to do: the cache flushes the file."""


def _version() -> str:
    import openvino

    return openvino.__version__.split("-")[0]


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
