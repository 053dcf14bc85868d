"""What each layer costs: one in INT8 at a time, everything else in FP32, measured in dB of the blended picture."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from harmonyrt.calibration.forms import Form, write_qdq
from harmonyrt.calibration.judge import Judge
from harmonyrt.calibration.observe import Tick
from harmonyrt.calibration.ranges import Range

JUDGED_FORM = Form(signed=False, results=True, kinds=("Conv", "ConvTranspose"))
"""Everything that any engine quantizes, at once: what passes here passes in the gentler forms."""


def one_at_a_time(
    model: onnx.ModelProto, layers: Sequence[str], ranges: dict[str, Range], judge: Judge, tick: Tick
) -> dict[str, float]:
    """Mean PSNR of the blended picture for each layer alone in INT8, by name."""
    return {name: judge(write_qdq(model, [name], ranges, JUDGED_FORM), tick).mean_db for name in layers}


def by_harm(alone_db: dict[str, float], shares: dict[str, float]) -> list[str]:
    """Layers in the order in which to give them up: most noise for the least work first."""
    return sorted(alone_db, key=lambda name: -(10 ** (-alone_db[name] / 10)) / max(shares[name], 1e-9))
