"""From a histogram to the range that 8 bits cover: four ways to choose how much is clipped."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from harmonyrt.calibration.observe import Histogram
from harmonyrt.common import HarmonyError

LEVELS = 256
PERCENTILE = 99.99
_CANDIDATES = np.linspace(0.2, 1.0, 81)

Range = tuple[float, float]


def minmax(histogram: Histogram) -> Range:
    """Everything that was seen; nothing is clipped."""
    return histogram.low, histogram.high


def percentile(histogram: Histogram) -> Range:
    """All but the 0.01 % of values that lie farthest out."""
    tail = (100 - PERCENTILE) / 100 / (2 if histogram.low < 0 < histogram.high else 1)
    share = np.cumsum(histogram.counts) / max(1, histogram.counts.sum())
    low = histogram.centers[int(np.searchsorted(share, tail))] if histogram.low < 0 else 0.0
    high = histogram.centers[min(int(np.searchsorted(share, 1 - tail)), len(share) - 1)] if histogram.high > 0 else 0.0
    return min(0.0, float(low)), max(0.0, float(high))


def mse(histogram: Histogram) -> Range:
    """The range whose rounding and clipping together have the smallest mean squared error."""
    return _smallest(histogram, _squared_error)


def entropy(histogram: Histogram) -> Range:
    """The range whose 8-bit distribution is closest to the original one (Kullback-Leibler divergence; Migacz 2017)."""
    return _smallest(histogram, _divergence)


METHODS: dict[str, Callable[[Histogram], Range]] = {
    "minmax": minmax,
    "percentile": percentile,
    "entropy": entropy,
    "mse": mse,
}


def method_named(name: str) -> Callable[[Histogram], Range]:
    """A method by name.

    Raises:
        HarmonyError: no such method.
    """
    if name not in METHODS:
        raise HarmonyError(f"calibration method {name!r} is not known; use one of {', '.join(METHODS)}")
    return METHODS[name]


def _smallest(histogram: Histogram, cost: Callable[[Histogram, float, float], float]) -> Range:
    """Shrink one end, then the other: what is cheapest wins, the wider range among equals."""
    low, high = histogram.low, histogram.high
    if high > 0:
        high *= _cheapest([cost(histogram, low, high * share) for share in _CANDIDATES])
    if low < 0:
        low *= _cheapest([cost(histogram, low * share, high) for share in _CANDIDATES])
    return low, high


def _cheapest(costs: list[float]) -> float:
    return float(_CANDIDATES[len(costs) - 1 - int(np.argmin(costs[::-1]))])


def _squared_error(histogram: Histogram, low: float, high: float) -> float:
    step = (high - low) / (LEVELS - 1)
    values = histogram.centers
    coded = np.clip(np.round((values - low) / step), 0, LEVELS - 1) * step + low
    return float(((values - coded) ** 2 * histogram.counts).sum())


def _divergence(histogram: Histogram, low: float, high: float) -> float:
    values = histogram.centers
    inside = (values >= low) & (values <= high)
    kept = histogram.counts[inside].astype(np.float64)
    reference = kept.copy()
    reference[0] += histogram.counts[values < low].sum()
    reference[-1] += histogram.counts[values > high].sum()
    level = np.minimum(((values[inside] - low) / (high - low) * LEVELS).astype(int), LEVELS - 1)
    filled = kept > 0
    in_level = np.bincount(level, kept, LEVELS) / np.maximum(1, np.bincount(level, filled, LEVELS))
    coded = np.where(filled, in_level[level], 0)
    p = reference / reference.sum()
    q = np.maximum(coded / max(1.0, coded.sum()), 1e-10)
    there = p > 0
    return float((p[there] * np.log(p[there] / q[there])).sum())
