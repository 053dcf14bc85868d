"""Workers as processes of this machine: what `--ray` is left out for. One pool of one process each, so that one death
costs one worker's rows."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any

from harmonyrt.common.signals import children_spared
from harmonyrt.fleet.loop import Job, Timed, WorkerDied

_work: Timed | None = None


class LocalPool:
    """`size` processes; use it as a context manager, which ends them all."""

    def __init__(self, job: Job, size: int) -> None:
        self.size, self._job = size, job
        self._processes: dict[int, ProcessPoolExecutor] = {}

    def start(self, worker: int) -> Future:
        """Start a process and open the job in it."""
        self._end(worker)
        context = multiprocessing.get_context("spawn")  # a fork would share engines and locks
        self._processes[worker] = ProcessPoolExecutor(1, context, _prepare)
        with children_spared():
            return self._processes[worker].submit(_open, self._job)

    def submit(self, worker: int, rows: list[Any]) -> Future:
        """Hand over rows; a process that has died meanwhile answers that it has."""
        try:
            return self._processes[worker].submit(_do, rows)
        except BrokenProcessPool as error:
            broken: Future = Future()
            broken.set_exception(error)
            return broken

    def wait(self, handles: list[Future], seconds: float) -> list[Future]:
        """Those that are done."""
        return list(wait(handles, seconds, FIRST_COMPLETED).done)

    def result(self, handle: Future) -> Any:
        """What a process returned."""
        try:
            return handle.result()
        except BrokenProcessPool:
            raise WorkerDied from None

    def _end(self, worker: int) -> None:
        pool = self._processes.pop(worker, None)
        if pool is None:
            return
        for process in list((pool._processes or {}).values()):  # shutdown alone would wait for the picture in hand
            process.kill()
        pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> LocalPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for worker in list(self._processes):
            self._end(worker)


def _prepare() -> None:
    """Ctrl-C is the driver's to handle; and without a driver, however it ended, a worker ends too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    driver = multiprocessing.parent_process()

    def follow() -> None:
        if driver is not None:
            driver.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _open(job: Job) -> None:
    global _work
    _work = Timed(job)


def _do(rows: list[Any]) -> tuple[float, list[Any]]:
    assert _work is not None, "opened before"
    return _work(rows)
