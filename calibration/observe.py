"""Shapes and histograms of chosen tensors over real composites."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime

BINS = 4096

Feed = dict[str, np.ndarray]
Tick = Callable[[], None]


@dataclass
class Histogram:
    """Values of one tensor.

    Attributes:
        shape: of the tensor.
        low: smallest value, at most 0, because an 8-bit code must represent zero exactly.
        high: largest value, at least 0.
        counts: of BINS equal bins from `low` to `high`.
    """

    shape: tuple[int, ...]
    low: float
    high: float
    counts: np.ndarray

    @property
    def centers(self) -> np.ndarray:
        """Middle of every bin."""
        edges = np.linspace(self.low, self.high, len(self.counts) + 1)
        return (edges[1:] + edges[:-1]) / 2


def session(model: onnx.ModelProto, threads: int | None = None) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads or 0
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])


def observe(
    model: onnx.ModelProto, names: Sequence[str], feeds: Sequence[Feed], threads: int | None, tick: Tick
) -> dict[str, Histogram]:
    """Run the network twice over the composites: once for the extent of each tensor, once to count.

    Args:
        model: FP32.
        names: of the tensors to observe.
        feeds: inputs by name, for one run each.
        threads: CPU threads; None for all.
        tick: called after every run, two for each feed.

    Returns:
        A histogram by name.
    """
    names = sorted(set(names))
    inputs = {value.name for value in model.graph.input}
    inner = [name for name in names if name not in inputs]
    runner = session(_with_outputs(model, inner), threads)

    def values(feed: Feed) -> dict[str, np.ndarray]:
        found = dict(zip(inner, runner.run(inner, feed), strict=True)) if inner else {}
        tick()
        return found | {name: feed[name] for name in names if name in inputs}

    seen: dict[str, Histogram] = {}
    for feed in feeds:
        for name, array in values(feed).items():
            low, high = min(0.0, float(array.min())), max(0.0, float(array.max()))
            old = seen.setdefault(name, Histogram(array.shape, low, high, np.zeros(BINS, np.int64)))
            old.low, old.high = min(old.low, low), max(old.high, high)
    for feed in feeds:
        for name, array in values(feed).items():
            histogram = seen[name]
            extent = (histogram.low, max(histogram.high, histogram.low + 1e-12))
            histogram.counts += np.histogram(array, BINS, extent)[0]
    return seen


def _with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    there = {output.name for output in copy.graph.output}
    copy.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names if name not in there
    )
    return copy
