"""Runs over whole splits: in several processes, with rows kept in a file from which an interrupted run goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from harmonyrt.common import HarmonyError, HarmonyNote, HarmonyWarning, WorkFailed
from harmonyrt.common.signals import children_spared
from harmonyrt.evaluation.iharmony4 import Pair
from harmonyrt.evaluation.metrics import Score
from harmonyrt.evaluation.runs import About, Opened, Row, Run, opened

Key = tuple[str, str, int | None]
"""Subset, name and seed: what a row is of."""


@dataclass(frozen=True)
class Measured:
    """A run and its rows, one per pair and seed, in the order of seeds and pairs."""

    run: Run
    about: About
    rows: tuple[Row, ...]


def key_of(row: Row) -> Key:
    """What a row is of."""
    return row.subset, row.name, row.seed


def measure(
    run: Run,
    pairs: Sequence[Pair],
    processes: int = 1,
    known: dict[Key, Row] | None = None,
    on_row: Callable[[Row], Any] = lambda row: None,
    on_remark: Callable[[str], Any] = lambda line: None,
) -> Measured:
    """Run and score every pair, each seed after the other.

    Args:
        run: what to run.
        pairs: on what.
        processes: workers; more than one are started fresh, and each opens the bundle.
        known: rows that need not be made again.
        on_row: told of each new row, as soon as it is there.
        on_remark: told what workers warn about; in this process warnings are ordinary ones.

    Raises:
        HarmonyError: a pair or a bundle that cannot be used, or there are no pairs.
        WorkFailed: a worker died.
    """
    if not pairs:
        raise HarmonyError("there is no picture to evaluate; choose another split")
    rows = dict(known or {})
    wanted = [(pair, seed) for seed in run.passes for pair in pairs]
    todo = [(pair, seed) for pair, seed in wanted if (pair.subset, pair.name, seed) not in rows]
    if processes > 1 and todo:
        for row, found, remarks in _in_processes(run, todo, min(processes, len(todo))):
            about = found
            rows[key_of(row)] = row
            for line in remarks:
                on_remark(line)
            on_row(row)
    else:
        with opened(run) as system:
            about = system.about
            for pair, seed in todo:
                row = system.row(pair, seed)
                rows[key_of(row)] = row
                on_row(row)
    return Measured(run, about, tuple(rows[pair.subset, pair.name, seed] for pair, seed in wanted))


def _in_processes(
    run: Run, todo: Sequence[tuple[Pair, int | None]], processes: int
) -> Iterator[tuple[Row, About, tuple[str, ...]]]:
    from harmonyrt.runtime.machine import cores

    run = replace(run, threads=run.threads or max(1, cores() // processes))
    fresh = multiprocessing.get_context("spawn")  # engines do not survive a fork
    pool = ProcessPoolExecutor(processes, fresh, _start_worker, (run,))
    finished = False
    try:
        with children_spared():
            found = pool.map(_work, todo, chunksize=max(1, min(4, len(todo) // (4 * processes))))
        yield from found
        finished = True
    except BrokenProcessPool:
        raise WorkFailed(
            f"a worker died while it evaluated {run.bundle}, often for lack of memory; give fewer --processes"
        ) from None
    finally:
        if not finished:  # shutdown alone would wait for the pictures in hand
            for process in list((pool._processes or {}).values()):
                process.kill()
        pool.shutdown(cancel_futures=True)


_worker: dict[str, Any] = {}
"""Of a worker: its run, and what is open of it. The first pair opens the bundle, so that errors travel back."""


def _start_worker(run: Run) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker["run"], _worker["stack"] = run, contextlib.ExitStack()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(task: tuple[Pair, int | None]) -> tuple[Row, About, tuple[str, ...]]:
    logged: list[str] = []
    with remarks_of() as remarks:
        if "system" not in _worker:
            with _log_lines(logged):
                _worker["system"] = _worker["stack"].enter_context(opened(_worker["run"]))
        system: Opened = _worker["system"]
        row = system.row(*task)
    return row, system.about, (*logged, *remarks)


@contextlib.contextmanager
def _log_lines(lines: list[str]) -> Iterator[None]:
    """Collect what the runtime logs, such as which backend it chose and why."""
    logger = logging.getLogger("harmonyrt")
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextlib.contextmanager
def remarks_of() -> Iterator[list[str]]:
    """Collect warnings as the lines that a user sees; the list is filled on leaving."""
    lines: list[str] = []
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", HarmonyWarning)
        yield lines
    for one in raised:
        if issubclass(one.category, HarmonyWarning):
            kind = "note" if issubclass(one.category, HarmonyNote) else "warning"
            lines.append(f"{kind}: {one.message}")


KIND = "harmonyrt-scores"


class ScoresFile:
    """Rows of several runs as JSON lines: a first line that says of what, then one for each row as it is made.

    Args:
        path: the file.
        runs: the runs, whose order numbers them in the file.
        pairs: their data.
        resume: go on from a file that exists.

    Raises:
        HarmonyError: the file exists and `resume` is False, it was made of something else, or it cannot be written.
    """

    def __init__(self, path: Path, runs: Sequence[Run], pairs: Sequence[Pair], resume: bool) -> None:
        self._path = path
        head = {"kind": KIND, "data": _data_hash(pairs), "runs": [_identity(run) for run in runs]}
        self.known: list[dict[Key, Row]] = [{} for _ in runs]
        try:
            if path.exists() and not resume:
                raise HarmonyError(f"{path} exists; add --resume to go on from it, or remove it")
            if path.exists() and path.stat().st_size:
                self._read(head)
                self._file: IO[str] = path.open("a", encoding="utf-8")
            else:
                self._file = path.open("w", encoding="utf-8")
                self._write(head)
        except OSError as error:
            raise HarmonyError(f"cannot write {path}: {error.strerror}; choose another --scores") from None

    def _read(self, head: dict[str, Any]) -> None:
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]  # the last line may be cut short
        try:
            found, *lines = [json.loads(line) for line in whole.splitlines()]
            if found["kind"] != KIND:
                raise ValueError("another kind of file")
            if found != json.loads(json.dumps(head)):
                what = "other pictures" if found["data"] != head["data"] else "other bundles or options"
                raise HarmonyError(f"{self._path} was made with {what}; remove it, or give another --scores")
            for line in lines:
                row = Row(line["name"], line["subset"], line["seed"], Score(**line["before"]), Score(**line["after"]))
                self.known[line["run"]][key_of(row)] = row
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise HarmonyError(f"{self._path} holds no scores that can be read ({error}); remove it") from None
        if len(whole) < len(content):
            with self._path.open("r+b") as file:
                file.truncate(len(whole))

    def add(self, run: int, row: Row) -> None:
        """Write a row at once, so that an interruption loses none.

        Raises:
            WorkFailed: the disk is full.
        """
        self._write({"run": run, **dataclasses.asdict(row)})

    def _write(self, line: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            raise WorkFailed(f"cannot write to {self._path}: {error.strerror}; make room and --resume") from None

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            self._file.close()


def _data_hash(pairs: Sequence[Pair]) -> str:
    """Of the pairs' names."""
    return hashlib.sha256(
        "\n".join(f"{p.subset}/{p.name}" for p in pairs).encode("utf-8", "surrogateescape")
    ).hexdigest()


def _identity(run: Run) -> dict[str, Any]:
    """What decides a run's scores: the bundle's content instead of its place, and no thread count."""
    from harmonyrt.common.files import sha256_of
    from harmonyrt.runtime.manifest import FILE_NAME

    manifest = Path(run.bundle) / FILE_NAME
    content = sha256_of(manifest) if manifest.is_file() else run.bundle
    given = dataclasses.asdict(run)
    if run.precision is None:  # files of earlier versions go on
        del given["precision"]
    return {**given, "bundle": content, "threads": None}
