"""`harmonyrt evaluate --ray`: the pairs of a split scored on many workers; the report is that of one process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.evaluation.iharmony4 import Pair
from harmonyrt.evaluation.measure import Measured, remarks_of
from harmonyrt.evaluation.runs import About, Row, Run, opened
from harmonyrt.fleet.bundles import BundleSource, bundle_source
from harmonyrt.fleet.loop import results

if TYPE_CHECKING:
    from harmonyrt.fleet.batch import Crew


@dataclass(frozen=True)
class Scored:
    """The rows of one pair, one per seed, by its place in the split; or what was wrong with it."""

    index: int
    rows: tuple[Row, ...] = ()
    about: About | None = None
    remarks: tuple[str, ...] = ()
    error: HarmonyError | None = None


@dataclass(frozen=True)
class EvaluateJob:
    """A :class:`harmonyrt.fleet.loop.Job`: score pairs, which all workers see under the same paths."""

    bundle: BundleSource
    run: Run

    @classmethod
    def of(cls, run: Run) -> EvaluateJob:
        """A job of a run, whose bundle may lie in a store; one CPU thread unless the run says otherwise."""
        return cls(bundle_source(run.bundle), replace(run, threads=run.threads or 1))

    def open(self) -> Callable[[tuple[int, Pair]], Scored]:
        """Open the bundle; what is returned scores a pair."""
        stack = contextlib.ExitStack()
        system = stack.enter_context(opened(replace(self.run, bundle=str(self.bundle.local()))))

        def do(row: tuple[int, Pair]) -> Scored:
            index, pair = row
            try:
                with remarks_of() as remarks:
                    rows = tuple(system.row(pair, seed) for seed in self.run.passes)
            except HarmonyError as error:
                return Scored(index, error=error)
            return Scored(index, rows, system.about, tuple(remarks))

        do.open = stack  # type: ignore[attr-defined]  # what nobody refers to would be closed
        return do

    def lost(self, row: tuple[int, Pair], deaths: int) -> Scored:
        """A pair that no worker survived stops the work: averages without it would be others."""
        error = WorkFailed(f"{row[1].composite}: {deaths} workers died of it; give machines more memory")
        return Scored(row[0], error=error)


def evaluated(
    job: EvaluateJob, pairs: list[Pair], crew: Crew, step: Callable[[str], None]
) -> tuple[Measured, list[str]]:
    """Score every pair.

    Returns:
        The rows, equal to those of one process, and remarks for the user.

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
    about = found[0].about
    assert about is not None
    rows = tuple(scored.rows[n] for n in range(len(job.run.passes)) for scored in found)
    return Measured(job.run, about, rows), [line for scored in found for line in scored.remarks]
