"""What the GPU suite measures: engines of TensorRT, ONNX Runtime's CUDA provider, and PyTorch in its modes.

Every runner gives the same: device latency from CUDA events, and the time from host arrays to host arrays.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.benchmarks.gpu_network import Network, feeds, load_network
from harmonyrt.benchmarks.timing import Summary, burn_in, summarize, timed
from harmonyrt.common import HarmonyError

TORCH_MODES = ("eager-fp16", "eager-fp32")
SAMPLES, SECONDS, BURN_IN = 200, 1.5, 1.0


# --- measuring


def percentiles(milliseconds: Callable[[], float]) -> dict[str, float]:
    """Burn in, then sample a call that returns its own time."""
    burn_in(milliseconds, BURN_IN, clock=lambda call: call())  # type: ignore[arg-type, return-value]
    values: list[float] = []
    begun = time.monotonic()
    while len(values) < SAMPLES and (len(values) < 10 or time.monotonic() - begun < SECONDS):
        values.append(milliseconds())
    summary: Summary = summarize(values)
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in dataclasses.asdict(summary).items()}


# --- TensorRT


@dataclasses.dataclass
class Engine:
    """A built engine, and its session where this machine can run it."""

    about: dict[str, Any]
    session: Any
    network: Network
    precision: str
    size: int
    batch: int

    def gate(self) -> dict[str, Any]:
        """Parity on real composites, held against the gate of its precision."""
        from harmonyrt.export.build.gate import Gate, prove

        def run(inputs: Any) -> dict[str, np.ndarray]:
            repeated = {name: np.repeat(array, self.batch, 0) for name, array in inputs.items()}
            return {name: array[-1:] for name, array in self.session.run(repeated).items()}

        parity = prove(run, self.network.references(self.size), Gate(self.precision), self.session.device)
        return dataclasses.asdict(parity)

    def measure(self) -> dict[str, Any]:
        """Device latency with inputs and outputs in device memory, and end to end from host arrays."""
        from harmonyrt.runtime.backends import cuda
        from harmonyrt.runtime.backends.device_arrays import DeviceArray

        device, inputs = cuda.open_cuda(), feeds(self.size, self.batch)
        stream = device.create_stream()
        first, last = device.create_event(timing=True), device.create_event(timing=True)

        def moved(array: np.ndarray) -> DeviceArray:
            address = device.allocate(array.nbytes)
            device.copy(address, array.ctypes.data, array.nbytes, stream)
            device.synchronize(stream)
            return DeviceArray(address, array.shape, array.dtype)

        given = {name: moved(array) for name, array in inputs.items()}
        made = {"output": moved(np.zeros_like(inputs["image"]))}

        def on_device() -> float:
            device.record(first, stream)
            self.session.run_on_device(given, made, int(stream))
            device.record(last, stream)
            device.synchronize(stream)
            return device.milliseconds(first, last)

        try:
            return {
                "latency_ms": percentiles(on_device),
                "end_to_end_ms": percentiles(lambda: timed(lambda: self.session.run(inputs))),
            }
        finally:
            for array in (*given.values(), *made.values()):
                device.free(array.address)


def engines(network: Network, target: str, precision: str, size: int, batch: int) -> list[Engine]:
    """Build every engine of a target for one precision, size and batch, and open those that run here."""
    from harmonyrt.export.targets import BuildOptions
    from harmonyrt.export.targets import why_not as impossible
    from harmonyrt.export.tensorrt_engine import build as to_tensorrt
    from harmonyrt.runtime.backends import SessionOptions, tensorrt
    from harmonyrt.runtime.backends.tensorrt import versions as tensorrt_versions
    from harmonyrt.runtime.bundle import sha256_of
    from harmonyrt.runtime.manifest import EngineSpec, FileSpec, Parity

    reason = impossible(target, precision, (size, size))
    if reason:
        raise HarmonyError(reason)
    tensorrt_versions.check_installed(target)
    graph = network.graph(precision, size, batch, target)
    folder = Path(network.folder.name) / f"{size}-{batch}-{precision}"
    folder.mkdir(exist_ok=True)
    begun = time.monotonic()
    options = BuildOptions(target, (size, size), cache=Path(network.folder.name))
    built = to_tensorrt.build(graph, folder, precision, options)
    seconds = round((time.monotonic() - begun) / len(built), 2)
    found = []
    for one in built:
        path = folder / one.files[0]
        file = FileSpec(path.name, sha256_of(path), path.stat().st_size)
        spec = EngineSpec(target, precision, (file,), one.counts, Parity(0, 0.0, 0.0, "", ""), one.needs)
        reason = tensorrt.why_not(spec, SessionOptions())
        session = None if reason else tensorrt.open_session(path, spec, None, SessionOptions())  # type: ignore[arg-type]
        about = {
            "target": target, "precision": precision, "size": size, "batch": batch, "file": path.name,
            "bytes": file.bytes, "census": one.counts, "needs": one.needs, "build_seconds": seconds,
            "why_not_run": reason,
        }  # fmt: skip
        found.append(Engine(about, session, network, precision, size, batch))
    return found


# --- PyTorch


def torch_mode(network: Network, mode: str, size: int, batch: int, compiled: bool = False) -> dict[str, Any]:
    """PyTorch with channels_last; FP16 by autocast, whose statistics stay in FP32 as in our engines."""
    import torch

    half = not mode.endswith("fp32")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    module = network.module.to("cuda").to(memory_format=torch.channels_last)
    call = torch.compile(module, mode="max-autotune", dynamic=False) if compiled else module
    inputs = {name: torch.from_numpy(array).pin_memory() for name, array in feeds(size, batch).items()}
    given = {name: tensor.cuda().to(memory_format=torch.channels_last) for name, tensor in inputs.items()}
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def run(tensors: dict[str, Any]) -> Any:
        with torch.inference_mode(), torch.autocast("cuda", torch.float16, enabled=half):
            return call(tensors["image"], tensors["mask"])

    def on_device() -> float:
        first.record()
        run(given)
        last.record()
        last.synchronize()
        return first.elapsed_time(last)

    def end_to_end() -> Any:
        moved = {name: tensor.cuda(non_blocking=True) for name, tensor in inputs.items()}
        return run(moved).float().cpu().numpy()

    begun = time.monotonic()
    run(given)
    torch.cuda.synchronize()
    warm_up = round(time.monotonic() - begun, 2)
    try:
        return {
            "latency_ms": percentiles(on_device),
            "end_to_end_ms": percentiles(lambda: timed(end_to_end)),
            "first_call_seconds": warm_up,
        }
    finally:
        network.module.to("cpu").to(memory_format=torch.contiguous_format)
        torch.cuda.empty_cache()


def compiled_in_child(checkpoint: str | None, size: int, batch: int) -> dict[str, Any]:
    """torch.compile max-autotune, FP16: what the process that may be ended prints."""
    return torch_mode(load_network(checkpoint), "compile-fp16", size, batch, compiled=True)


# --- ONNX Runtime


def onnxruntime_cuda(network: Network, precision: str, size: int, batch: int) -> dict[str, Any]:
    """ONNX Runtime's CUDA provider, buffers bound on the device (CUDA graphs off); refused if it is missing."""
    try:
        import onnx_ir as ir
        import onnxruntime
    except ImportError:
        raise HarmonyError("onnxruntime is not installed") from None
    provider = "CUDAExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise HarmonyError(f"onnxruntime {onnxruntime.__version__} has no {provider}; install onnxruntime-gpu")
    graph = ir.to_proto(network.graph(precision, size, batch, "onnx")).SerializeToString()
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, settings, providers=[(provider, {"use_tf32": 0})], enable_fallback=0)
    if session.get_providers()[0] != provider:
        raise HarmonyError("onnxruntime came up without CUDA: its CUDA or cuDNN did not load")
    inputs = feeds(size, batch)
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array, "cuda", 0))
    binding.bind_output("output", "cuda", 0)

    def on_device() -> float:
        begun = time.perf_counter()
        session.run_with_iobinding(binding)  # returns when the GPU is done
        return 1000 * (time.perf_counter() - begun)

    return {
        "latency_ms": percentiles(on_device),
        "end_to_end_ms": percentiles(lambda: timed(lambda: session.run(["output"], inputs))),
        "note": "latency by the host's clock: ONNX Runtime gives no stream to put events on",
    }
