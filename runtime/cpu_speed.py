"""How fast this CPU convolves in each precision: measured, not read off its feature flags.

Flags mislead: an Intel CPU with AVX512-BF16 and AVX512-FP16 and without AMX takes 1.33 times the time of FP32 in BF16,
and 1.8 times in FP16 (PHNet 39.9 M, 256 px, one thread). So OpenVINO itself runs, on one thread, two convolutions of
the kind that PHNet spends its time in, plainly and in the Winograd variant of `build`'s default rewrites, in each
precision that it offers here, and by the native kernels where they are: round after round, the best of each. The result
is kept per CPU, version of OpenVINO and build of the kernels (:mod:`harmonyrt.runtime.compiled_cache`); one that is
damaged or of another version is measured again.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import math
import os
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harmonyrt.common.telemetry import import_quietly
from harmonyrt.runtime import native, native_calls, openvino_core
from harmonyrt.runtime.compiled_cache import CompiledCache
from harmonyrt.runtime.machine import cpu_model_and_flags
from harmonyrt.runtime.native import measured_graph

log = logging.getLogger("harmonyrt.runtime")

SWITCH = "HARMONYRT_MEASURE"
"""Set to 0, nothing is measured unasked."""

PRECISIONS = ("fp32", "bf16", "fp16", "int8")
WINOGRAD = "winograd"
NATIVE = "native"
PLAIN_WINS = 0.9
"""The Winograd variant is left out where plain convolutions take less than this share of its time, and native kernels
where OpenVINO's own convolutions do."""
WORTHWHILE = 0.95
"""A precision pays where it takes less than this share of FP32's time; what lies nearer is noise."""

_LAYERS = ((256, 32), (128, 64))  # channels in and out, side of the picture: 1.2 GFLOP each
_GFLOP = sum(2 * channels**2 * 9 * side**2 for channels, side in _LAYERS) / 1e9
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
_FORMAT = 1


@dataclass(frozen=True)
class CpuSpeed:
    """What was measured.

    Attributes:
        cpu: the processor's name.
        library: OpenVINO's version.
        milliseconds: of the convolutions, by precision, by ``"<precision> winograd"`` and by ``"<precision> native"``;
            one thread. What OpenVINO does not offer on this CPU is absent, and so are kernels that are not there.
        copy_gb_per_s: read and written by one thread that copies memory, in 10^9 bytes a second.
    """

    cpu: str
    library: str
    milliseconds: dict[str, float]
    copy_gb_per_s: float

    def best(self, precision: str) -> float | None:
        """Milliseconds of the faster of plain and Winograd, without native kernels, which some engines have and some do
        not; None where this CPU does not have the precision."""
        variants = [self.milliseconds.get(name) for name in (precision, f"{precision} {WINOGRAD}")]
        return min((time for time in variants if time is not None), default=None)

    def gflops(self, precision: str) -> float | None:
        """10^9 operations of the plain convolutions a second, on one thread, by the faster variant."""
        taken = self.best(precision)
        return None if taken is None else _GFLOP / taken * 1000

    def against_fp32(self, precision: str) -> float | None:
        """Time taken as a multiple of FP32's: below 1 the precision pays."""
        taken, fp32 = self.best(precision), self.best("fp32")
        return None if taken is None or fp32 is None else taken / fp32

    def plain_is_faster(self, precision: str, native: bool = False) -> bool:
        """Whether plain convolutions take clearly less time than Winograd's; False where that was not measured.

        Args:
            precision: of both.
            native: Winograd's by the native kernels; as graph operations where the kernels were not measured.
        """
        names = [f"{precision} {NATIVE}"] if native else []
        winograd = [self.milliseconds.get(name) for name in (*names, f"{precision} {WINOGRAD}")]
        measured = next((time for time in winograd if time is not None), None)
        plain = self.milliseconds.get(precision)
        return measured is not None and plain is not None and plain < PLAIN_WINS * measured

    def native_gain(self, precision: str) -> float | None:
        """How many times as fast the native kernels are as the faster of OpenVINO's own convolutions; None where that
        was not measured."""
        taken, own = self.milliseconds.get(f"{precision} {NATIVE}"), self.best(precision)
        return None if taken is None or own is None else own / taken

    def native_is_slower(self, precision: str, winograd: bool) -> bool:
        """Whether an engine of OpenVINO's own convolutions takes clearly less time than one of native kernels; False
        where that was not measured.

        Args:
            precision: of both.
            winograd: whether OpenVINO's are Winograd's, as graph operations.
        """
        own = self.milliseconds.get(f"{precision} {WINOGRAD}" if winograd else precision)
        taken = self.milliseconds.get(f"{precision} {NATIVE}")
        return own is not None and taken is not None and own < PLAIN_WINS * taken

    def sentence(self) -> str:
        """For people: ``"bf16 takes 1.33 times the time of fp32"`` and so on."""
        found = [(name, self.against_fp32(name)) for name in PRECISIONS[1:]]
        words = [f"{name} {times:.2f}" for name, times in found if times is not None]
        return f"time as a multiple of fp32's: {', '.join(words)}" if words else "only fp32"


def kept(cache: str | None = None) -> CpuSpeed | None:
    """What was measured on this CPU with this OpenVINO before; None where nothing was."""
    openvino = _openvino()
    if openvino is None:
        return None
    content = CompiledCache.at(cache).read(_key(openvino))
    return None if content is None else _parsed(content.tobytes())


def measured(cache: str | None = None, again: bool = False) -> CpuSpeed | None:
    """What was measured before, else (or with `again`) what is measured now, in 5 seconds; None without OpenVINO."""
    found = None if again else kept(cache)
    if found is not None:
        return found
    openvino = _openvino()
    if openvino is None:
        return None
    with native_calls.inside():
        found = _measured_now(openvino)
    content = json.dumps(asdict(found)).encode()
    CompiledCache.at(cache).write(_key(openvino), lambda file: file.write(content))
    return found


def measured_once(cache: str | None = None) -> CpuSpeed | None:
    """For those who open or build: as :func:`measured`, unless it is switched off or could not be kept."""
    found = kept(cache)
    if found is not None or os.environ.get(SWITCH, "1") == "0" or CompiledCache.at(cache).why_not() is not None:
        return found
    try:
        log.info("measuring how fast this CPU is in each precision, once")
        return measured(cache)
    except Exception as error:  # OpenVINO raises RuntimeError and its own types; nothing here may stop the work
        log.warning("this CPU's speed could not be measured: %s", (str(error).strip() or repr(error)).splitlines()[-1])
        return None


def _openvino() -> Any:
    try:
        return import_quietly("openvino")
    except Exception:  # not installed, or broken in one of the many ways in which binary packages break
        return None


def _key(openvino: Any) -> dict[str, object]:
    model, flags = cpu_model_and_flags()
    features = hashlib.sha256(" ".join(sorted(flags)).encode()).hexdigest()[:16]
    version = openvino.__version__
    about = {"kind": "cpu-speed", "format": _FORMAT, "cpu": model, "features": features, "library": version}
    return {**about, "native": native.build_of("openvino")}


def _parsed(content: bytes) -> CpuSpeed | None:
    try:
        found = CpuSpeed(**json.loads(content))
        times = [*found.milliseconds.values(), found.copy_gb_per_s]
        sound = "fp32" in found.milliseconds and all(math.isfinite(time) and time > 0 for time in times)
    except (ValueError, TypeError, AttributeError):
        return None
    return found if sound else None


def _measured_now(openvino: Any) -> CpuSpeed:
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
    return CpuSpeed(cpu_model_and_flags()[0], openvino.__version__, milliseconds, round(_copying(), 2))


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
