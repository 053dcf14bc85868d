"""Times this CPU's convolutions in each precision, for :mod:`harmonyrt.runtime.cpu_speed`.

OpenVINO itself runs, on one thread, two convolutions of the kind that PHNet spends its time in, plainly and in the
Winograd variant of `build`'s default rewrites, in each precision that it offers here, and by the native kernels where
they are: round after round, the best of each.
"""

from __future__ import annotations

import importlib
import math
import time
from typing import Any

import numpy as np

from harmonyrt.runtime import native, openvino_core
from harmonyrt.runtime.native import measured_graph

PRECISIONS = ("fp32", "bf16", "fp16", "int8")
WINOGRAD = "winograd"
NATIVE = "native"

_LAYERS = ((256, 32), (128, 64))  # channels in and out, side of the picture: 1.2 GFLOP each
GFLOP = sum(2 * channels**2 * 9 * side**2 for channels, side in _LAYERS) / 1e9
"""10^9 operations of the plain convolutions."""
_OFFERED_AS = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16", "int8": "INT8"}
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
_IN_WINOGRAD = ("fp32", "bf16")  # the precisions that `build` rewrites to it
_IN_NATIVE = ("fp32", "bf16", "int8")
_LEAST_ROUNDS, _MOST_ROUNDS = 3, 40
_SECONDS, _PATIENCE = (
    1.0,
    3.0,
)  # for the rounds, and for all of it where a busy machine makes even the least rounds slow
_COPIED = 1 << 26  # bytes: more than a core's share of any cache


def measure(openvino: Any) -> tuple[dict[str, float], float]:
    """Milliseconds of the convolutions and 10^9 bytes a second of copying, as in
    :class:`harmonyrt.runtime.cpu_speed.CpuSpeed`; one thread, about 5 seconds.

    Args:
        openvino: the imported package.
    """
    began = time.monotonic()
    core = openvino_core.core(openvino)
    offered = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    names = [name for name in PRECISIONS if name == "fp32" or _OFFERED_AS[name] in offered]
    names += [f"{name} {WINOGRAD}" for name in _IN_WINOGRAD if name in names]
    names += [f"{name} {NATIVE}" for name in _with_kernels(openvino) if name in names]
    rng = np.random.default_rng(0)
    feeds = [rng.standard_normal((1, c, side, side), dtype=np.float32) for c, side in _LAYERS]
    requests = {name: _request(openvino, core, name) for name in names}
    times = dict.fromkeys(names, math.inf)
    for request in requests.values():  # the first run sets up what later ones use
        request.infer(feeds)
    started = time.monotonic()
    for rounds in range(_MOST_ROUNDS):
        now = time.monotonic()
        if (rounds >= _LEAST_ROUNDS and now > started + _SECONDS) or (rounds > 0 and now > began + _PATIENCE):
            break
        for name, request in requests.items():
            start = time.perf_counter()
            request.infer(feeds, share_inputs=True, share_outputs=True)
            times[name] = min(times[name], time.perf_counter() - start)
    milliseconds = {name: round(taken * 1000, 4) for name, taken in times.items()}
    return milliseconds, round(_copying(), 2)


def _with_kernels(openvino: Any) -> list[str]:
    """The precisions that native kernels compute here; they are loaded."""
    found = [name for name in _IN_NATIVE if native.why_not(native.NEEDED[name], "openvino", name) is None]
    if not found:
        return []
    try:
        openvino_core.add_extension(openvino, str(native.library("openvino")))
    except Exception:  # those of another OpenVINO, of which opening a bundle speaks
        return []
    return found


def _copying() -> float:
    source = np.ones(_COPIED, np.uint8)
    target, best = np.empty_like(source), math.inf
    for _ in range(6):
        start = time.perf_counter()
        np.copyto(target, source)
        best = min(best, time.perf_counter() - start)
    return 2 * _COPIED / best / 1e9


def _request(openvino: Any, core: Any, name: str) -> Any:
    precision, _, variant = name.partition(" ")
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": 1,
    }
    if variant == NATIVE:
        text, constants = measured_graph.written(_LAYERS, precision)
        read = core.read_model(text.encode(), openvino.Tensor(constants))
        return core.compile_model(read, "CPU", settings).create_infer_request()
    ops = importlib.import_module("openvino.opset13")
    rng = np.random.default_rng(1)
    inputs: list[Any] = []
    outputs: list[Any] = []
    for channels, side in _LAYERS:
        inputs.append(ops.parameter([1, channels, side, side], np.float32))
        made = _winograd if variant else _quantized if precision == "int8" else _convolution
        # The type is in the graph, as in engines: left to the hint, OpenVINO keeps some products in FP32.
        outputs.append(ops.convert(ops.relu(made(ops, _Typed(ops, precision, rng), inputs[-1], channels, side)), "f32"))
    return core.compile_model(openvino.Model(outputs, inputs), "CPU", settings).create_infer_request()


class _Typed:
    """Values of one precision."""

    def __init__(self, ops: Any, precision: str, rng: np.random.Generator) -> None:
        self._ops, self._rng = ops, rng
        self._type = {"bf16": "bf16", "fp16": "f16"}.get(precision, "f32")

    def __call__(self, value: Any) -> Any:
        return value if self._type == "f32" else self._ops.convert(value, self._type)

    def numbers(self, *shape: int) -> Any:
        """Weights; which does not matter for the time."""
        return self(self._ops.constant(self._rng.standard_normal(shape, dtype=np.float32)))


def _convolution(ops: Any, typed: _Typed, picture: Any, channels: int, side: int) -> Any:
    return ops.convolution(typed(picture), typed.numbers(channels, channels, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1])


def _quantized(ops: Any, typed: _Typed, picture: Any, channels: int, side: int) -> Any:
    """As Q/DQ pairs arrive in OpenVINO: unsigned activations, signed weights."""

    def cut(value: Any, lowest: float, highest: float, levels: int) -> Any:
        low, high = (np.array(edge, np.float32) for edge in (lowest, highest))
        return ops.fake_quantize(value, low, high, low, high, levels)

    weights = cut(typed.numbers(channels, channels, 3, 3), -1.27, 1.27, 255)
    return ops.convolution(cut(picture, 0, 2.55, 256), weights, [1, 1], [1, 1], [1, 1], [1, 1])


def _winograd(ops: Any, typed: _Typed, picture: Any, channels: int, side: int) -> Any:
    """The operations of `export/rewrites/winograd.py` in F(4x4, 3x3), with arbitrary numbers in its matrices."""
    rows = side // 4
    tiles = rows * rows

    def whole(*values: int) -> Any:
        return ops.constant(np.array(values, np.int64))

    def reshaped(value: Any, *shape: int) -> Any:
        return ops.reshape(value, whole(*shape), False)

    padded = ops.pad(picture, whole(0, 0, 1, 1), whole(0, 0, 3, 3), "constant")
    deep = reshaped(ops.space_to_depth(padded, "blocks_first", 4), 4, 4, channels, rows + 1, rows + 1)
    pieces = []
    for down in (0, 1):
        for across in (0, 1):
            high, wide = (2 if down else 4), (2 if across else 4)
            start, stop = whole(0, 0, down, across), whole(high, wide, down + rows, across + rows)
            piece = ops.slice(deep, start, stop, whole(1, 1, 1, 1), whole(0, 1, 3, 4))
            pieces.append(reshaped(piece, high * wide, channels * tiles))
    transformed = ops.matmul(typed.numbers(36, 36), typed(ops.concat(pieces, 0)), False, False)
    by_channel = reshaped(transformed, 36, channels, tiles)
    product = ops.matmul(typed.numbers(36, channels, channels), by_channel, False, False)
    back = ops.matmul(typed.numbers(16, 36), reshaped(product, 36, channels * tiles), False, False)
    return ops.depth_to_space(reshaped(back, 1, 16 * channels, rows, rows), "blocks_first", 4)
