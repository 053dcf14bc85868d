"""Part 2: PHNet's engines for every target; a build keeps an engine only if it passed its gate on this GPU."""

from __future__ import annotations

from functools import partial

from harmonyrt.benchmarks.gpu_hour import dry
from harmonyrt.benchmarks.gpu_hour.bundles import Wish, build, wishes
from harmonyrt.benchmarks.gpu_hour.hour import Hour

_SECONDS = 45


def run(hour: Hour) -> None:
    """One row for each size, precision and target."""
    checkpoint = dry.checkpoint(hour)
    for wish in [Wish(*dry.BUNDLE)] if hour.dry else wishes():
        hour.step(wish.name, partial(build, hour, wish, checkpoint), least=5 if hour.dry else _SECONDS)
