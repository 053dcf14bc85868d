"""How far a quantized graph is from the original where a user sees it: in the blended image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from harmonyrt.calibration.observe import Feed, Tick, session
from harmonyrt.runtime.decibels import psnr_db


@dataclass(frozen=True)
class Quality:
    """PSNR of blended images against the FP32 graph's, peak 1, in dB: worst composite and mean."""

    worst_db: float
    mean_db: float


Runner = Callable[[onnx.ModelProto], Callable[[Feed], np.ndarray]]
"""Opens a graph: inputs by name in, the array of its `output` out."""


class Evaluator:
    """Compares graphs with one FP32 graph on a fixed set of composites.

    Args:
        model: FP32.
        feeds: the composites.
        threads: CPU threads; None for all.
        runner: what runs graphs; None for ONNX Runtime.
    """

    def __init__(
        self, model: onnx.ModelProto, feeds: Sequence[Feed], threads: int | None, runner: Runner | None = None
    ) -> None:
        self._feeds, self._runner = feeds, runner or _onnxruntime(threads)
        self._expected = self._blended(model, lambda: None)

    def __call__(self, model: onnx.ModelProto, tick: Tick) -> Quality:
        """Measure a graph; `tick` is called after every composite."""
        found = self._blended(model, tick)
        db = [_psnr(a, b) for a, b in zip(found, self._expected, strict=True)]
        return Quality(min(db), sum(db) / len(db))

    def __len__(self) -> int:
        return len(self._feeds)

    def _blended(self, model: onnx.ModelProto, tick: Tick) -> list[np.ndarray]:
        run = self._runner(model)
        images = []
        for feed in self._feeds:
            output = run(feed).astype(np.float64)
            images.append(np.clip(output * feed["mask"] + feed["image"] * (1.0 - feed["mask"]), 0, 1))
            tick()
        return images


def _onnxruntime(threads: int | None) -> Runner:
    def open_graph(model: onnx.ModelProto) -> Callable[[Feed], np.ndarray]:
        opened = session(model, threads)
        return lambda feed: opened.run(["output"], feed)[0]

    return open_graph


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR; 0 if quantization produced values that are not finite."""
    difference = a - b
    return psnr_db(difference) if np.isfinite(difference).all() else 0.0
