"""ONNX Runtime: the backend that is always installed. CPU, and CUDA where `onnxruntime-gpu` is.

ONNX Runtime falls back to the CPU by itself when its CUDA provider fails to load; this backend refuses instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import require
from harmonyrt.common.files import utf8_name
from harmonyrt.runtime import forks
from harmonyrt.runtime.backends import SessionOptions, failures
from harmonyrt.runtime.backends.device_arrays import DeviceArray, as_device_array
from harmonyrt.runtime.machine import cores
from harmonyrt.runtime.manifest import EngineSpec, Manifest

NAME = "onnxruntime"
TARGETS = ("onnx",)

_CUDA = "CUDAExecutionProvider"
_GPU_PACKAGE = "pip uninstall onnxruntime && pip install onnxruntime-gpu"


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
            return dict(zip(names, self._session.run(names, feeds), strict=True))
        except Exception as error:  # ONNX Runtime's own exception types share no base but Exception
            raise failures.running_failed("ONNX Runtime", error) from None

    def another(self) -> OnnxRuntimeSession:
        """One more for another thread. ONNX Runtime's own session may be run by several at once: each run has its own
        memory."""
        return type(self)(self._session, self.device)


class OnnxRuntimeCudaSession(OnnxRuntimeSession):
    """An ONNX engine on a GPU: takes arrays in host or device memory."""

    def run_on_device(
        self, inputs: Mapping[str, Any], outputs: Mapping[str, Any] | None = None
    ) -> dict[str, DeviceArray]:
        """Run on arrays in the GPU's memory, without a copy; waits for the result.

        Args:
            inputs: arrays by input name, with `__cuda_array_interface__` or DLPack, contiguous.
            outputs: arrays to write into, by output name; memory of ONNX Runtime where there is none.

        Returns:
            Arrays by output name, with both protocols.

        Raises:
            HarmonyError: an array on another GPU, or not contiguous.
        """

        index = int(self.device.partition(":")[2] or 0)
        binding = self._session.io_binding()
        taken = {name: as_device_array(value, name) for name, value in inputs.items()}
        given = {name: as_device_array(value, name) for name, value in (outputs or {}).items()}
        for name, array in (*taken.items(), *given.items()):
            if array.device != index:
                raise HarmonyError(f"{name} lies on cuda:{array.device} and the engine on cuda:{index}: move it there")
        for name, array in taken.items():
            binding.bind_input(name, "cuda", index, array.dtype, array.shape, array.address)
        for output in self._session.get_outputs():
            if output.name in given:
                array = given[output.name]
                binding.bind_output(output.name, "cuda", index, array.dtype, array.shape, array.address)
            else:
                binding.bind_output(output.name, "cuda", index)
        binding.synchronize_inputs()  # whatever stream filled them
        try:
            self._session.run_with_iobinding(binding)
            binding.synchronize_outputs()
        except Exception as error:
            raise failures.running_failed("ONNX Runtime", error) from None
        results = {}
        for output, value in zip(self._session.get_outputs(), binding.get_outputs(), strict=True):
            own = DeviceArray(value.data_ptr(), tuple(value.shape()), np.dtype(np.float32), index, owner=value)
            results[output.name] = given.get(output.name, own)
        return results


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
        available = ort.get_available_providers()
        if _CUDA not in available:
            return f"device {device} needs {_CUDA}, found {', '.join(available)}: run {_GPU_PACKAGE}"
        return None
    if device != "cpu":
        return f"it knows no device {device!r}: give cpu, cuda or cuda:N"
    if engine.precision == "bf16":
        return "ONNX Runtime has no BF16 kernels for the CPU: use an openvino engine, or device cuda"
    return None


def open_session(path: Path, engine: EngineSpec, manifest: Manifest, options: SessionOptions) -> OnnxRuntimeSession:
    """Load an ONNX engine.

    Args:
        path: the verified ONNX file.
        engine: what the manifest says of it.
        manifest: the bundle's manifest.
        options: threads (intra-op; inter-op is 1) and device.

    Raises:
        HarmonyError: ONNX Runtime cannot load the file, or did not get the device that was asked for.
    """
    ort = require("onnxruntime", "onnxruntime", "the ONNX Runtime backend")
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.intra_op_num_threads = options.threads or cores()  # its own default is every core of the machine
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3  # errors; our own messages cover the rest
    device = options.device or "cpu"
    providers: list = ["CPUExecutionProvider"]
    if _is_cuda(device):
        providers.insert(0, (_CUDA, {"device_id": int(device.partition(":")[2] or 0)}))
    try:
        with utf8_name(path) as name:
            session = ort.InferenceSession(name, settings, providers=providers)
    except Exception as error:  # ONNX Runtime's own exception types share no base but Exception
        who = f"ONNX Runtime {ort.__version__}"
        raise failures.opening_failed(who, "onnxruntime", path, error, _first_line(error), "load") from None
    active = session.get_providers()
    if _is_cuda(device) and (not active or active[0] != _CUDA):
        raise HarmonyError(
            f"device {device} was asked for and ONNX Runtime came up on {', '.join(active)}: CUDA did not load;"
            f" run {_GPU_PACKAGE} with the CUDA and cuDNN that its release needs, or give device cpu"
        )
    return (OnnxRuntimeCudaSession if _is_cuda(device) else OnnxRuntimeSession)(session, device)


def _is_cuda(device: str) -> bool:
    return re.fullmatch(r"cuda(:\d+)?", device) is not None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
