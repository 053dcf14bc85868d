"""A batch: pairs in, pictures and results out, on the workers of this machine or of a Ray cluster."""

from __future__ import annotations

import contextlib
import itertools
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harmonyrt.common import HarmonyError
from harmonyrt.fleet import stores
from harmonyrt.fleet.budget import forget
from harmonyrt.fleet.bundles import bundle_source
from harmonyrt.fleet.local import LocalPool
from harmonyrt.fleet.loop import Job, Pool, results
from harmonyrt.fleet.outcomes import BAD_INPUT, FAILED, OK, Result
from harmonyrt.fleet.pairs import open_pairs
from harmonyrt.fleet.results import FOLDER, Earlier, Results, parts
from harmonyrt.fleet.rows import Pairs, Row
from harmonyrt.fleet.work import Engine, HarmonizeJob, Settings
from harmonyrt.runtime.machine import cores

_MOST_SENTENCES = 20


@dataclass(frozen=True)
class Crew:
    """Who does the work.

    Attributes:
        ray: address of a Ray cluster, or ``"local"`` for one of this machine alone; None for plain processes.
        workers: None for as many as fit.
        cpus: cores of a worker.
        gpus: of a worker; on Ray only.
    """

    ray: str | None = None
    workers: int | None = None
    cpus: int = 1
    gpus: float = 0

    def pool(self, job: Job, most: int | None = None) -> AbstractContextManager[Pool]:
        """The pool, to be used as a context manager; with no more workers than there are rows."""
        if self.ray is not None:
            from harmonyrt.fleet.on_ray import RayPool

            return RayPool(job, self.ray, self.workers, self.cpus, self.gpus, most)
        if self.gpus:
            raise HarmonyError("--gpus-per-worker is for Ray, which hands out GPUs; give --ray local, or --device cuda")
        size = self.workers or max(1, cores() // self.cpus)
        return LocalPool(job, max(1, min(size, most) if most else size))


@dataclass(frozen=True)
class Batch:
    """What to do. `harmonyrt batch --help` explains the options."""

    pairs: list[str]
    out: str
    bundle: str
    crew: Crew = field(default_factory=Crew)
    settings: Settings = field(default_factory=Settings)
    engine: Engine = field(default_factory=Engine)
    suffix: str | None = None
    resume: bool = False
    limit: int | None = None
    megapixels: float | None = None


@dataclass(frozen=True)
class Summary:
    """How a batch ended: pairs by status, those of an earlier run that stand, the first sentences about failures."""

    ok: int
    bad_input: int
    failed: int
    kept: int
    sentences: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0 all fine; 1 the work failed for some pair; 2 only inputs were at fault."""
        return 1 if self.failed else 2 if self.bad_input else 0


def prepared(batch: Batch) -> tuple[Pairs, HarmonizeJob]:
    """Everything that can be said before the first worker starts.

    Raises:
        HarmonyError: what was given cannot be a batch.
    """
    source = bundle_source(batch.bundle)
    if stores.is_read_only(batch.out):
        raise HarmonyError(
            f"{stores.without_secrets(batch.out)} takes no files; give a folder, s3:// or gs:// for the outputs"
        )
    for given in batch.pairs:
        if given.rstrip("/") == batch.out.rstrip("/") or _same_folder(given, batch.out):
            raise HarmonyError(f"the output {stores.without_secrets(batch.out)} is an input; choose another one")
    pairs = open_pairs(batch.pairs, batch.suffix)
    job = HarmonizeJob(
        source, _absolute(batch.out), batch.settings, batch.engine, batch.megapixels, f"batch-{secrets.token_hex(6)}"
    )
    return pairs, job


def run_batch(
    batch: Batch,
    step: Callable[[int], AbstractContextManager[Callable[[str], None]]],
    say: Callable[[str], None],
) -> Summary:
    """Harmonize every pair.

    Args:
        batch: what to do.
        step: makes the progress for a number of pairs.
        say: takes notes.

    Raises:
        HarmonyError: what was given cannot be a batch, or no worker can open the bundle.
        WorkFailed: a store does not answer, or no worker stays alive.
    """
    pairs, job = prepared(batch)
    there = parts(batch.out)
    if there and not batch.resume:
        shown = stores.without_secrets(batch.out)
        raise HarmonyError(f"{shown} holds results of an earlier run; pass --resume, or choose another output")
    earlier = Earlier(batch.out, job.bundle.sha256, job.settings_sha256) if there else None
    for line in pairs.remarks:
        say(line)
    total = pairs.count if batch.limit is None else min(batch.limit, pairs.count)
    rows = itertools.islice(_with_earlier(pairs.rows(), earlier), total)
    counted: Counter[str] = Counter()
    sentences: list[str] = []
    with (
        stores.folder_for(batch.out, clean=True),
        stores.folder_for(stores.joined(batch.out, FOLDER), clean=True),
        Results(batch.out, pairs.columns, earlier) as written,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(forget, job.run)
        pool = stack.enter_context(batch.crew.pool(job, total))
        done = stack.enter_context(step(total))
        for result in results(job, rows, pool, total):
            _count(result, counted, sentences)
            if not result.kept:
                written.add(result)
            done(result.id)
    return Summary(counted[OK], counted[BAD_INPUT], counted[FAILED], counted["kept"], tuple(sentences))


def _count(result: Result, counted: Counter[str], sentences: list[str]) -> None:
    counted["kept" if result.kept else result.status] += 1
    if result.status != OK and len(sentences) < _MOST_SENTENCES:
        sentences.append(result.sentence)


def _with_earlier(rows: Iterator[Row], earlier: Earlier | None) -> Iterator[Row]:
    for row in rows:
        yield row if earlier is None else replace(row, earlier=earlier.of(row.id))


def _absolute(path: str) -> str:
    return path if stores.is_remote(path) else str(Path(path).absolute())


def _same_folder(one: str, other: str) -> bool:
    paths = [Path(one), Path(other)]
    return all(path.is_dir() for path in paths) and paths[0].samefile(paths[1])


def as_plain(summary: Summary) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "harmonized": summary.ok,
        "kept": summary.kept,
        "bad_input": summary.bad_input,
        "failed": summary.failed,
        "sentences": list(summary.sentences),
    }
