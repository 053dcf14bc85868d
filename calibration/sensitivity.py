"""What each layer costs, in dB of the blended image: one layer in INT8 at a time, everything else in FP32."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from harmonyrt.calibration.evaluator import Evaluator
from harmonyrt.calibration.observe import Tick
from harmonyrt.calibration.qdq import QdqStyle, write_qdq
from harmonyrt.calibration.ranges import Range

STRICTEST_STYLE = QdqStyle(signed=False, results=True, kinds=("Conv", "ConvTranspose"))
"""Quantizes everything that any target quantizes: what passes here passes in the gentler styles."""


def one_at_a_time(
    model: onnx.ModelProto, layers: Sequence[str], ranges: dict[str, Range], evaluator: Evaluator, tick: Tick
) -> dict[str, float]:
    """Mean PSNR of the blended image with each layer alone in INT8, by name."""
    return {name: evaluator(write_qdq(model, [name], ranges, STRICTEST_STYLE), tick).mean_db for name in layers}


def by_harm(alone_db: dict[str, float], shares: dict[str, float]) -> list[str]:
    """Layers in the order in which to return them to FP32: most noise for the least work first."""
    return sorted(alone_db, key=lambda name: -(10 ** (-alone_db[name] / 10)) / max(shares[name], 1e-9))
