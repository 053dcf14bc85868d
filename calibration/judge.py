"""How much a quantized graph differs from its original, where a user would see it: in the blended picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from harmonyrt.calibration.observe import Feed, Tick, session
from harmonyrt.runtime.decibels import psnr_db


@dataclass(frozen=True)
class Verdict:
    """PSNR of blended pictures against the FP32 graph's, peak 1, in dB: the worst composite, and the mean."""

    worst_db: float
    mean_db: float


class Judge:
    """Compares graphs with one FP32 graph on the same composites."""

    def __init__(self, model: onnx.ModelProto, feeds: Sequence[Feed], threads: int | None) -> None:
        self._feeds, self._threads = feeds, threads
        self._expected = self._pictures(model, lambda: None)

    def __call__(self, model: onnx.ModelProto, tick: Tick) -> Verdict:
        """Measure a graph; `tick` is called after every composite."""
        found = self._pictures(model, tick)
        db = [_psnr(a, b) for a, b in zip(found, self._expected, strict=True)]
        return Verdict(min(db), sum(db) / len(db))

    def __len__(self) -> int:
        return len(self._feeds)

    def _pictures(self, model: onnx.ModelProto, tick: Tick) -> list[np.ndarray]:
        runner = session(model, self._threads)
        pictures = []
        for feed in self._feeds:
            output = runner.run(["output"], feed)[0].astype(np.float64)
            pictures.append(np.clip(output * feed["mask"] + feed["image"] * (1.0 - feed["mask"]), 0, 1))
            tick()
        return pictures


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR, and 0 where a layer's rounding made values that are not finite."""
    difference = a - b
    return psnr_db(difference) if np.isfinite(difference).all() else 0.0
