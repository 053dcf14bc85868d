"""How far a quantized graph is from the original where a user sees it: in the blended image."""

from __future__ import annotations

from collections.abc import Sequence
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


class Evaluator:
    """Compares graphs with one FP32 graph on a fixed set of composites."""

    def __init__(self, model: onnx.ModelProto, feeds: Sequence[Feed], threads: int | None) -> None:
        self._feeds, self._threads = feeds, threads
        self._expected = self._blended(model, lambda: None)

    def __call__(self, model: onnx.ModelProto, tick: Tick) -> Quality:
        """Measure a graph; `tick` is called after every composite."""
        found = self._blended(model, tick)
        db = [_psnr(a, b) for a, b in zip(found, self._expected, strict=True)]
        return Quality(min(db), sum(db) / len(db))

    def __len__(self) -> int:
        return len(self._feeds)

    def _blended(self, model: onnx.ModelProto, tick: Tick) -> list[np.ndarray]:
        runner = session(model, self._threads)
        images = []
        for feed in self._feeds:
            output = runner.run(["output"], feed)[0].astype(np.float64)
            images.append(np.clip(output * feed["mask"] + feed["image"] * (1.0 - feed["mask"]), 0, 1))
            tick()
        return images


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR; 0 if quantization produced values that are not finite."""
    difference = a - b
    return psnr_db(difference) if np.isfinite(difference).all() else 0.0
