"""Every row comes back once, whatever dies; what kills workers is told apart from what saw one die."""

import os
import signal

import pytest

from fakes.fleet_jobs import NeverOpens, Squares
from harmonyrt.common import HarmonyError
from harmonyrt.fleet.local import LocalPool
from harmonyrt.fleet.loop import MOST_DEATHS, WorkerDied, results


class Scripted:
    """A pool without processes: `dies(worker, rows)` says when a worker is gone. Tasks end in the order they came."""

    def __init__(self, job, size, dies=lambda worker, rows: False):
        self.size, self.work, self.dies = size, job.open(), dies
        self.count, self.tasks = 0, {}
        self.alive = dict.fromkeys(range(size), 0)

    def _handle(self, *task):
        self.count += 1
        self.tasks[self.count] = task
        return self.count

    def start(self, worker):
        self.alive[worker] += 1
        return self._handle(worker, self.alive[worker], None)

    def submit(self, worker, rows):
        return self._handle(worker, self.alive[worker], rows)

    def wait(self, handles, seconds):
        return [min(handles)] if seconds else []

    def result(self, handle):
        worker, life, rows = self.tasks.pop(handle)
        if rows is None:
            return None
        if life != self.alive[worker] or self.dies(worker, rows):
            self.alive[worker] += 1
            raise WorkerDied
        return 0.1 * len(rows), [self.work(row) for row in rows]


def test_rows_of_any_number_come_back_once():
    pool = Scripted(Squares(), 3)
    assert sorted(results(Squares(), iter(range(1000)), pool, 1000)) == [(n, n * n) for n in range(1000)]


def test_no_more_rows_are_read_than_are_in_flight():
    """So a list of any length fits into the driver's memory."""
    read, came = 0, 0

    def rows():
        nonlocal read
        while read < 5000:
            read += 1
            yield read

    for _ in results(Squares(), rows(), Scripted(Squares(), 4), None):
        came += 1
        assert read - came <= 4 * 2 * 64
    assert came == 5000


def test_rows_that_see_a_death_are_done_again_and_what_kills_is_told_apart():
    deaths = []

    def dies(worker, rows):
        if 13 in rows or (40 in rows and not deaths):
            deaths.append(list(rows))
            return True
        return False

    found = dict(results(Squares(), iter(range(60)), Scripted(Squares(), 2, dies), 60))
    assert found.pop(13) == -MOST_DEATHS
    assert found == {n: n * n for n in range(60) if n != 13}
    assert [13] in deaths, "alone in the end: its neighbours are not to blame"


def test_an_empty_list_ends():
    assert list(results(Squares(), iter(()), Scripted(Squares(), 2), 0)) == []


def test_processes_that_die_are_replaced(tmp_path):
    job = Squares(deadly=(3, 17), folder=str(tmp_path))
    with LocalPool(job, 2) as pool:
        assert sorted(results(job, iter(range(30)), pool, 30)) == [(n, n * n) for n in range(30)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["17", "3"]


def test_a_process_that_is_killed_from_outside_costs_no_row():
    job = Squares(seconds=0.02)
    with LocalPool(job, 2) as pool:
        rows = results(job, iter(range(60)), pool, 60)
        came = [next(rows) for _ in range(10)]  # both work by now, and have more to do
        os.kill(next(iter(pool._processes[0]._processes)), signal.SIGKILL)
        assert sorted([*came, *rows]) == [(n, n * n) for n in range(60)]


def test_a_row_that_kills_every_worker_is_lost_and_the_others_are_not():
    job = Squares(deadly=(5,))
    with LocalPool(job, 1) as pool:
        found = dict(results(job, iter(range(8)), pool, 8))
    assert found == {**{n: n * n for n in range(8)}, 5: -MOST_DEATHS}


def test_a_job_that_cannot_open_says_why():
    job = NeverOpens("the bundle is gone; build it again")
    with LocalPool(job, 1) as pool, pytest.raises(HarmonyError, match="the bundle is gone"):
        list(results(job, iter(range(3)), pool, 3))
