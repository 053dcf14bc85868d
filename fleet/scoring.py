"""`harmonyrt evaluate --ray`: the pairs of a split scored on many workers; the report is that of one process."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmonyrt.common import HarmonyError, HarmonyNote, HarmonyWarning, WorkFailed
from harmonyrt.evaluation.iharmony4 import Pair
from harmonyrt.evaluation.metrics import Score
from harmonyrt.evaluation.protocol import Report, report, score_pair
from harmonyrt.fleet.bundles import BundleSource, bundle_source
from harmonyrt.fleet.loop import results

if TYPE_CHECKING:
    from harmonyrt.fleet.batch import Crew


@dataclass(frozen=True)
class Scored:
    """The scores of one pair, by its place in the split; or what was wrong with it."""

    index: int
    scores: tuple[Score, Score] | None = None
    remarks: tuple[str, ...] = ()
    error: HarmonyError | None = None


@dataclass(frozen=True)
class EvaluateJob:
    """A :class:`harmonyrt.fleet.loop.Job`: score pairs, which all workers see under the same paths."""

    bundle: BundleSource
    backend: str
    device: str | None
    threads: int
    size: int | None
    peak: float | None

    @classmethod
    def of(
        cls, bundle: str, backend: str, device: str | None, threads: int, size: int | None, peak: float | None
    ) -> EvaluateJob:
        """A job with the bundle at a path."""
        return cls(bundle_source(bundle), backend, device, threads, size, peak)

    def open(self) -> Callable[[tuple[int, Pair]], Scored]:
        """Open the bundle; what is returned scores a pair."""
        from harmonyrt.runtime.harmonizer import Harmonizer

        harmonizer: Any = Harmonizer.open(self.bundle.local(), self.backend, self.threads, self.device)

        def do(row: tuple[int, Pair]) -> Scored:
            index, pair = row
            with warnings.catch_warnings(record=True) as raised:
                warnings.simplefilter("ignore")
                warnings.simplefilter("always", HarmonyWarning)
                try:
                    scores = score_pair(harmonizer, pair, self.size, self.peak)
                except HarmonyError as error:
                    return Scored(index, error=error)
            said = [one for one in raised if issubclass(one.category, HarmonyWarning)]
            kinds = ["note" if issubclass(one.category, HarmonyNote) else "warning" for one in said]
            return Scored(index, scores, tuple(f"{k}: {one.message}" for k, one in zip(kinds, said, strict=True)))

        return do

    def lost(self, row: tuple[int, Pair], deaths: int) -> Scored:
        """A pair that no worker survived stops the work: averages without it would be others."""
        error = WorkFailed(f"{row[1].composite}: {deaths} workers died of it; give machines more memory")
        return Scored(row[0], error=error)


def evaluated(job: EvaluateJob, pairs: list[Pair], crew: Crew, step: Callable[[str], None]) -> tuple[Report, list[str]]:
    """Score every pair.

    Returns:
        The report, equal to that of one process, and remarks for the user.

    Raises:
        HarmonyError: a picture cannot be read, or there are none.
    """
    whole = [
        replace(p, composite=Path(p.composite).absolute(), mask=Path(p.mask).absolute(), real=Path(p.real).absolute())
        for p in pairs
    ]
    found: list[Scored] = []
    with crew.pool(job, len(pairs)) as pool:
        for scored in results(job, enumerate(whole), pool, len(pairs)):
            if scored.error is not None:
                raise scored.error
            found.append(scored)
            step(pairs[scored.index].name)
    found.sort(key=lambda scored: scored.index)  # sums of floats depend on their order
    both = [scored.scores for scored in found if scored.scores is not None]
    remarks = [line for scored in found for line in scored.remarks]
    return report(job.size, [b for b, _ in both], [a for _, a in both]), remarks
