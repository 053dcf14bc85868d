"""ONNX Runtime: the backend that is always installed. CPU, and NVIDIA GPUs where `onnxruntime-gpu` is.

ONNX Runtime falls back to the CPU by itself, when its GPU providers fail to load and when one fails in a run (then it
says so on stdout); this backend refuses instead.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import require
from harmonyrt.common.files import sha256_of, utf8_name
from harmonyrt.runtime import forks, native, native_calls
from harmonyrt.runtime.backends import SessionOptions, cuda, failures
from harmonyrt.runtime.backends import onnxruntime_providers as providers
from harmonyrt.runtime.backends.onnxruntime_cuda import Held, OnnxRuntimeCudaSession
from harmonyrt.runtime.caller import warn
from harmonyrt.runtime.machine import cores
from harmonyrt.runtime.manifest import EngineSpec, Manifest

NAME = "onnxruntime"
TARGETS = ("onnx",)

log = logging.getLogger("harmonyrt.runtime")


class OnnxRuntimeSession:
    """An ONNX engine that is loaded and ready."""

    backend = NAME

    def __init__(self, session: Any, device: str) -> None:
        self._session = session
        self.device = device
        forks.keep(session)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once: arrays by input name in, arrays by output name out."""
        names = [output.name for output in self._session.get_outputs()]
        feeds = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        try:
            with native_calls.inside():
                return dict(zip(names, self._session.run(names, feeds), strict=True))
        except Exception as error:  # ONNX Runtime's own exception types share no base but Exception
            raise failures.running_failed("ONNX Runtime", error) from None

    def another(self) -> OnnxRuntimeSession:
        """One more for another thread. ONNX Runtime's own session may be run by several at once: each run has its own
        memory."""
        return type(self)(self._session, self.device)


def why_not(engine: EngineSpec, options: SessionOptions) -> str | None:
    """Why this backend cannot run `engine` here with `options`, with what to do; None when it can."""
    if engine.target not in TARGETS:
        return f"it opens no {engine.target} engines, only onnx"
    try:
        ort = require("onnxruntime", "onnxruntime", "the ONNX Runtime backend")
    except HarmonyError as error:
        return str(error)
    device = options.device or "cpu"
    if _is_cuda(device):
        if native.NEED in engine.needs:
            return f"its native kernels compute on CPUs, not on {device}: build it without --rewrites native for a GPU"
        return providers.why_not(ort, engine, replace(options, device=device))
    if options.provider is not None:
        return f"provider {options.provider} runs on NVIDIA GPUs, and device {device} was asked for: give device cuda"
    if device != "cpu":
        return f"it knows no device {device!r}: give cpu, cuda or cuda:N"
    if engine.precision == "bf16":
        return "ONNX Runtime has no BF16 kernels for the CPU: use an openvino engine, or device cuda"
    return native.why_not(engine.needs.get(native.NEED), NAME, engine.precision)


def open_session(
    path: Path, engine: EngineSpec, manifest: Manifest, options: SessionOptions
) -> OnnxRuntimeSession | OnnxRuntimeCudaSession:
    """Load an ONNX engine.

    Args:
        path: the verified ONNX file.
        engine: what the manifest says of it.
        manifest: the bundle's manifest.
        options: threads (intra-op; inter-op is 1), device, and on a GPU the provider with its options.

    Raises:
        HarmonyError: ONNX Runtime cannot load the file, or did not get the device that was asked for.
    """
    ort = require("onnxruntime", "onnxruntime", "the ONNX Runtime backend")
    device = options.device or "cpu"
    if _is_cuda(device):
        return _open_on_gpu(ort, path, engine, options, int(device.partition(":")[2] or 0))
    settings = _settings(ort, options)
    add_native_kernels(settings, engine.needs, engine.precision)
    session = _load(ort, path, settings, ["CPUExecutionProvider"])
    return OnnxRuntimeSession(session, device)


def _settings(ort: Any, options: SessionOptions) -> Any:
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.intra_op_num_threads = options.threads or cores()  # its own default is every core of the machine
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3  # errors; our own messages cover the rest
    return settings


def add_native_kernels(settings: Any, needs: Mapping[str, str], precision: str = "fp32") -> None:
    """Have a session know the fused kernels where its engine needs them.

    Args:
        settings: ONNX Runtime's `SessionOptions`, with the number of threads set.
        needs: of the engine.
        precision: of the engine.

    Raises:
        HarmonyError: there are none for this machine, or this ONNX Runtime does not take them.
    """
    if native.NEED not in needs:
        return
    reason = native.why_not(needs[native.NEED], NAME, precision)
    if reason is not None:
        raise HarmonyError(f"the engine cannot be used: {reason}")
    path = native.library(NAME)
    settings.add_session_config_entry("harmonyrt.threads", str(settings.intra_op_num_threads or cores()))
    try:
        settings.register_custom_ops_library(str(path))
    except Exception as error:  # ONNX Runtime's own exception types share no base but Exception
        raise HarmonyError(
            f"the native kernels of {path} do not fit this ONNX Runtime ({_first_line(error)}): install them again"
        ) from None


def _load(ort: Any, path: Path, settings: Any, wanted: list[Any]) -> Any:
    try:
        with utf8_name(path) as name, native_calls.inside():
            return ort.InferenceSession(name, settings, providers=wanted, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's own exception types share no base but Exception
        who = f"ONNX Runtime {ort.__version__}"
        raise failures.opening_failed(who, "onnxruntime", path, error, _first_line(error), "load") from None


def _open_on_gpu(
    ort: Any, path: Path, engine: EngineSpec, options: SessionOptions, index: int
) -> OnnxRuntimeCudaSession:
    if hasattr(ort, "preload_dlls"):  # CUDA and cuDNN of pip's packages; it prints what it does not find
        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls()
    device, held = _cuda(), Held(None)
    try:
        _fill(held, ort, path, engine, options, index, device)
        session = OnnxRuntimeCudaSession(
            held,
            device,
            index,
            providers.wants_graph(options),
            lambda: _reopened(ort, path, engine, options, index),
            ort.RunOptions,
        )
    except BaseException:
        held.session = None
        if held.cache is not None:
            held.cache.close()
        if device is not None and held.stream is not None:
            device.destroy_event(held.event)
            device.destroy_stream(held.stream)
        raise
    if (told := providers.tf32_warning(engine, options)) is not None:
        warn(told)
    return session


def _reopened(ort: Any, path: Path, engine: EngineSpec, options: SessionOptions, index: int) -> OnnxRuntimeCudaSession:
    """Open the engine once more, if its files are still those that were verified."""
    bundle = path.parents[len(PurePosixPath(engine.files[0].path).parts) - 1]
    for file in engine.files:
        if not (bundle / file.path).is_file() or sha256_of(bundle / file.path) != file.sha256:
            raise HarmonyError(f"{bundle / file.path} was altered since it was opened: open the bundle again")
    return _open_on_gpu(ort, path, engine, options, index)


def _cuda() -> cuda.Cuda | None:
    """CUDA; None where cuda-python is not installed: then ONNX Runtime has its own stream, and calls wait."""
    try:
        device = cuda.open_cuda()
    except HarmonyError:
        return None
    return device if device.device_count() else None


@contextlib.contextmanager
def _quiet(ort: Any) -> Iterator[None]:
    """Keep what ONNX Runtime prints about a provider that does not load off stderr: the error has it in a sentence."""
    ort.set_default_logger_severity(4)
    try:
        yield
    finally:
        ort.set_default_logger_severity(2)  # its default; there is no way to ask for the present one


def _fill(
    held: Held, ort: Any, path: Path, engine: EngineSpec, options: SessionOptions, index: int, device: cuda.Cuda | None
) -> None:
    """Open the session and what it needs on the GPU."""
    name = None
    if device is not None:
        device.set_device(index)
        held.event, held.stream = device.create_event(), device.create_stream()
        name = device.name(index)
    if options.provider == "tensorrt":
        held.cache = providers.EngineCache.choose(options, engine, ort.__version__, name)
    settings = _settings(ort, options)
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    stream = None if held.stream is None else int(held.stream)
    wanted = providers.providers(engine, options, index, stream, held.cache)
    with _quiet(ort):
        try:
            held.session = _load(ort, path, settings, wanted)
        except HarmonyError as error:
            if "install TensorRT libraries" not in str(error):
                raise
            raise HarmonyError(f"{path} cannot be opened: {providers.did_not_load(ort, options)}") from None
    first = providers.PROVIDERS[options.provider or "cuda"]
    active = held.session.get_providers()
    if not active or active[0] != first:
        raise HarmonyError(
            f"device {options.device} was asked for and ONNX Runtime came up on {', '.join(active)}:"
            f" {providers.did_not_load(ort, options)}"
        )
    left = providers.on_cpu(held.session)
    if left:
        nodes = ", ".join(f"{count} {kind}" for kind, count in sorted(left.items()))
        log.warning("%s: nodes that ONNX Runtime leaves on the CPU: %s", path, nodes)
    if held.cache is not None:
        held.cache.save()


def _is_cuda(device: str) -> bool:
    return re.fullmatch(r"cuda(:\d+)?", device) is not None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
