"""`harmonyrt batch --plan`: a sample of the pairs, measured here, and what the rest would take."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any

from harmonyrt.common import HarmonyError
from harmonyrt.fleet import stores
from harmonyrt.fleet.batch import Batch, prepared
from harmonyrt.fleet.budget import forget
from harmonyrt.fleet.loop import results
from harmonyrt.fleet.outcomes import OK, Result
from harmonyrt.fleet.rows import Pairs, Row
from harmonyrt.fleet.work import HarmonizeJob

SAMPLE = 50
MACHINES = (1, 8, 64)
_GROUPS = {
    "reading and writing": ("read", "write"),
    "decoding and encoding": ("decode", "encode"),
    "the engine": ("harmonize",),
    "waiting for memory": ("wait",),
}
_ADVICE = {
    "reading and writing": "put the machines near the store, or give each more workers than cores",
    "decoding and encoding": "more cores help, and a faster GPU does not; JPEG is quicker than PNG",
    "the engine": "a smaller size, a lower precision or a GPU helps; more workers than cores do not",
    "waiting for memory": "machines with more memory, fewer workers, or a larger --megapixels-in-flight",
}


@dataclass(frozen=True)
class Plan:
    """What was measured, and what follows from it.

    Attributes:
        pairs: in all.
        sampled: of these, measured.
        failed: of the sampled.
        megapixels: of a picture, on average.
        workers: on this machine, all at work while it was measured.
        cpus: cores of each.
        seconds: of one pair on one worker, by group of stages.
    """

    pairs: int
    sampled: int
    failed: int
    megapixels: float
    workers: int
    cpus: int
    seconds: dict[str, float]

    @property
    def per_pair(self) -> float:
        """Seconds that a worker takes for a pair."""
        return sum(self.seconds.values())

    @property
    def rate(self) -> float:
        """Pictures per second of one worker."""
        return 1 / self.per_pair

    @property
    def bound(self) -> str:
        """What takes most of the time."""
        return max(self.seconds, key=lambda name: self.seconds[name])

    def hours(self, machines: int) -> float:
        """For all pairs, on so many machines like this one."""
        return self.pairs * self.per_pair / (machines * self.workers) / 3600

    @property
    def core_hours(self) -> float:
        """For all pairs, on any number of machines."""
        return self.pairs * self.per_pair * self.cpus / 3600

    def as_plain(self) -> dict[str, Any]:
        """What `--json` prints."""
        hours = {str(machines): round(self.hours(machines), 6) for machines in MACHINES}
        return {
            **asdict(self),
            "pictures_per_second_per_worker": round(self.rate, 4),
            "hours_on_machines": hours,
            "core_hours": round(self.core_hours, 6),
            "bound": self.bound,
        }


def measured_plan(batch: Batch, step: Callable[[int], AbstractContextManager[Callable[[str], None]]]) -> Plan:
    """Measure a sample, spread over the whole list. Its outputs go below the output's prefix, and away again.

    Raises:
        HarmonyError: what was given cannot be a batch, or no pair of the sample could be harmonized.
    """
    pairs, job = prepared(batch)
    total = pairs.count if batch.limit is None else min(batch.limit, pairs.count)
    count = min(SAMPLE, total)
    job = replace(job, out=stores.joined(job.out, f"plan-{secrets.token_hex(6)}"))
    found: list[Result] = []
    with stores.folder_for(batch.out), stores.folder_for(job.out):
        try:
            with batch.crew.pool(job, max(1, count // 4)) as pool, step(count) as done:
                workers = pool.size
                for result in results(job, _spread(pairs, total, count), pool, count):
                    found.append(result)
                    done(result.id)
        finally:
            forget(job.run)
            _remove(job, found)
    fine = [result for result in found if result.status == OK]
    if not fine:
        raise HarmonyError(f"none of {count} sampled pairs could be harmonized: {found[0].sentence}")
    steady = [result for result in fine if not result.first] or fine
    seconds = {
        name: sum(result.seconds[stage] for result in steady for stage in stages) / len(steady)
        for name, stages in _GROUPS.items()
    }
    megapixels = sum(result.width * result.height for result in fine) / len(fine) / 1e6
    return Plan(total, count, count - len(fine), round(megapixels, 3), workers, batch.crew.cpus, seconds)


def as_text(plan: Plan) -> str:
    """The plan in lines."""
    shares = ", ".join(f"{name} {value / plan.per_pair:.0%}" for name, value in plan.seconds.items())
    failed = f", {plan.failed} of them failed" if plan.failed else ""
    lines = [
        f"{plan.pairs} pairs, {plan.sampled} measured{failed}; {plan.megapixels:.1f} megapixels on average",
        f"{plan.rate:.2f} pictures per second per worker, with {plan.workers} workers of {plan.cpus} cores at work",
        f"bound by {plan.bound} ({shares}): {_ADVICE[plan.bound]}",
        f"{'machines like this':>20} {'hours':>10} {'core-hours':>12}",
    ]
    lines += [f"{machines:>20} {plan.hours(machines):>10.2f} {plan.core_hours:>12.2f}" for machines in MACHINES]
    return "\n".join(lines)


def _spread(pairs: Pairs, total: int, count: int) -> Iterator[Row]:
    wanted = {(2 * n + 1) * total // (2 * count) for n in range(count)}
    for index, row in enumerate(pairs.rows()):
        if index in wanted:
            yield row
        if index >= total:
            return


def _remove(job: HarmonizeJob, found: list[Result]) -> None:
    for result in found:
        if result.output:
            stores.remove(stores.joined(job.out, result.output))
