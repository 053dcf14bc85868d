"""Timing one callable: burn-in until stable, then samples; and the summary of samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

WINDOW = 5
"""Calls per window of the burn-in."""
WINDOW_SECONDS = 1.0
"""A window is shorter when its calls take longer than this together: slow calls need fewer for a median."""
TOLERANCE = 0.03
"""The burn-in ends when the medians of two consecutive windows differ by less than this share."""


@dataclass(frozen=True)
class Summary:
    """Latencies in milliseconds."""

    samples: int
    p50: float
    p90: float
    p95: float
    p99: float
    mean: float
    fastest: float

    @property
    def fps(self) -> float:
        """Calls per second at the median."""
        return 1000 / self.p50


def summarize(milliseconds: Sequence[float]) -> Summary:
    """Percentiles of latencies; of few samples the outer ones are close to the maximum."""
    values = np.asarray(milliseconds, np.float64)
    p50, p90, p95, p99 = np.percentile(values, [50, 90, 95, 99])
    return Summary(
        len(values), float(p50), float(p90), float(p95), float(p99), float(values.mean()), float(values.min())
    )


def timed(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) / 1e6


def burn_in(call: Callable[[], object], seconds: float, clock: Callable[[Callable[[], object]], float] = timed) -> bool:
    """Call until the latency is stable (see :data:`WINDOW`, :data:`TOLERANCE`), at most for `seconds` after one window.

    Returns:
        Whether it became stable; a report names results that never did.
    """
    spent, before = 0.0, None
    while True:
        window = [clock(call)]
        while len(window) < WINDOW and sum(window) < WINDOW_SECONDS * 1000:
            window.append(clock(call))
        spent += sum(window) / 1000
        median = float(np.median(window))
        if before is not None and abs(median - before) <= TOLERANCE * before:
            return True
        if spent >= seconds:
            return False
        before = median
