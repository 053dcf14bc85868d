"""The fleet's driver alone: workers only sleep, so that its own rate and memory show."""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmonyrt.fleet.loop import TASKS_PER_WORKER, Job, results
from harmonyrt.fleet.outcomes import Result
from harmonyrt.fleet.results import Results, read_results
from harmonyrt.fleet.tables import table_pairs

IN_FLIGHT = (10, 100, 1000)
_SHORTEST_SLEEP = 0.01  # seconds


@dataclass(frozen=True)
class Sleeps:
    """A job that takes a while for each row and reports it as if it were harmonized."""

    seconds: float

    def open(self) -> Callable[[Any], Result]:
        """What sleeps."""

        of_thread = threading.local()  # many workers may share one actor

        def do(row: Any) -> Result:
            owed = getattr(of_thread, "owed", 0.0) + self.seconds
            if owed >= _SHORTEST_SLEEP:  # waking up takes its time too, on a busy machine most of it
                time.sleep(owed)
                owed = 0.0
            of_thread.owed = owed
            digest = hashlib.sha256(row.id.encode()).hexdigest()
            return Result(row.id, composite=str(row.composite), mask=str(row.mask), output=row.output,
                          composite_sha256=digest, mask_sha256=digest, output_sha256=digest)  # fmt: skip

        return do

    def lost(self, row: Any, deaths: int) -> Result:
        """Nobody dies here."""
        raise AssertionError(f"{deaths} sleeping workers died")


def driver(rows: int, workers: int = 2, seconds: float = 0.0002) -> dict[str, Any]:
    """The driver's largest memory over a list of `rows` pairs, read from a Parquet table, results written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from harmonyrt.fleet.on_ray import RayPool

    with tempfile.TemporaryDirectory(prefix="harmonyrt-fleet-") as folder:
        table = Path(folder) / "pairs.parquet"
        names = [f"products/{n // 1000:04}/{n:08}" for n in range(rows)]
        columns = {"composite": [f"{n}.jpg" for n in names], "mask": [f"{n}.png" for n in names]}
        pq.write_table(pa.table({**columns, "sku": [f"sku-{n}" for n in range(rows)]}), table)
        del names, columns
        at_start = peak_mib()
        with _watched() as watched:
            pairs, job = table_pairs(str(table), None), Sleeps(seconds)
            started, done = time.perf_counter(), 0
            with Results(folder, pairs.columns) as written, RayPool(job, "local", workers, 1, 0, None) as pool:
                for result in results(job, pairs.rows(), pool, pairs.count):
                    written.add(result)
                    done += 1
            taken = time.perf_counter() - started
        ids = sum(1 for _ in read_results(folder))
    return {
        "rows": rows,
        "results": done,
        "rows_read_back": ids,
        "mib_making_the_table": at_start,
        "driver_mib_most": watched.most,
        "driver_mib_by_time": watched.seen,
        "seconds": round(taken, 1),
        "rows_per_second": round(done / taken, 1),
        "wanted": "under 1024 MiB",
    }


def peak_mib() -> float:
    """The largest resident memory of this process so far."""
    return round(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1024), 1
    )


class _watched:
    """Samples this process's resident memory meanwhile."""

    def __enter__(self) -> _watched:
        self.most, self.seen, self._stop = 0.0, [], threading.Event()  # type: ignore[var-annotated]

        def watch() -> None:
            count = 0
            while not self._stop.wait(0.5):
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                now = round(pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20), 1)
                self.most = max(self.most, now)
                if count % 60 == 0:
                    self.seen.append(now)
                count += 1

        self._thread = threading.Thread(target=watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


class SharedActors:
    """A pool of any number of workers that share a few actors, each of which sleeps for many at once."""

    def __init__(self, job: Job, size: int, actors: int = 2) -> None:
        import ray

        from harmonyrt.fleet.on_ray import _Actor

        self.size, self._ray, self._job = size, ray, job
        kind = ray.remote(_Actor).options(num_cpus=0, max_concurrency=TASKS_PER_WORKER * size // actors + 8)
        self._actors = [kind.remote() for _ in range(actors)]

    def start(self, worker: int) -> Any:
        """Every worker opens the job in its actor."""
        return self._actors[worker % len(self._actors)].open.remote(self._job)

    def submit(self, worker: int, rows: list[Any]) -> Any:
        """Hand over rows."""
        return self._actors[worker % len(self._actors)].do.remote(rows)

    def wait(self, handles: list[Any], seconds: float) -> list[Any]:
        """As :class:`harmonyrt.fleet.on_ray.RayPool`."""
        done, _ = self._ray.wait(handles, num_returns=1, timeout=seconds)
        if done and len(handles) > 1:
            done, _ = self._ray.wait(handles, num_returns=len(handles), timeout=0)
        return done

    def result(self, handle: Any) -> Any:
        """What came back."""
        return self._ray.get(handle)


def simulation(seconds: float, sleep: float = 1.0) -> dict[str, Any]:
    """Rows per second with 10, 100 and 1,000 tasks in flight, each of one row and `sleep` seconds."""
    import ray

    ray.init("local", include_dashboard=False, log_to_driver=False, object_store_memory=150 << 20)
    found = []
    try:
        for tasks in IN_FLIGHT:
            job = Sleeps(sleep)
            pool, rows, done = SharedActors(job, tasks // TASKS_PER_WORKER), _Rows(seconds), 0
            for _ in results(job, rows, pool, None):
                done += 1
            taken = time.perf_counter() - rows.started
            found.append(
                {
                    "tasks_in_flight": tasks,
                    "rows_per_second": round(done / taken, 1),
                    "of_ideal": round(done * sleep / taken / tasks, 3),
                    "driver_cpu_ms_per_row": round((time.process_time() - rows.processor) / max(done, 1) * 1000, 3),
                    "driver_mib_most": peak_mib(),
                }
            )
    finally:
        ray.shutdown()
    return {"seconds_per_row": sleep, "rows": found}


class _Rows:
    """Rows for some seconds, counted from the moment that the first worker is ready for one."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self.started, self.processor = seconds, 0.0, 0.0

    def __iter__(self) -> Iterator[Any]:
        from harmonyrt.fleet.rows import Piece, Row

        self.started, self.processor, number = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() < self.started + self._seconds:
            number += 1
            yield Row(str(number), f"{number}.jpg", Piece(f"/composites/{number}.jpg"), Piece(f"/masks/{number}.png"))
