"""Workers as actors of a Ray cluster. Ray places them, starts machines for them if it scales, and notices who died."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import is_dataclass, replace
from types import TracebackType
from typing import Any

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.errors import require
from harmonyrt.common.progress import say
from harmonyrt.fleet import stores
from harmonyrt.fleet.bundles import BundleSource
from harmonyrt.fleet.loop import Job, Timed, WorkerDied

_PATIENCE = 30.0
"""Seconds without any worker after which the user is told why nothing happens."""


class _Actor:
    """One worker; Ray makes it where there is room."""

    def __init__(self) -> None:
        self._work: Timed | None = None

    def open(self, job: Job) -> None:
        self._work = Timed(job)

    def do(self, rows: list[Any]) -> tuple[float, list[Any]]:
        assert self._work is not None, "opened before"
        return self._work(rows)


class RayPool:
    """Actors; use it as a context manager, which ends them.

    Args:
        job: what they do.
        address: of a cluster, ``"auto"`` for the one that this machine belongs to, ``"local"`` for a new one.
        workers: None for as many as the cluster has room for now. A cluster that scales gets machines for more.
        cpus: cores of each.
        gpus: of each.
        most: no more than this.

    Raises:
        HarmonyError: Ray is not installed; entering it: there is no cluster at the address, or no room for one worker.
    """

    def __init__(
        self, job: Job, address: str, workers: int | None, cpus: int = 1, gpus: float = 0, most: int | None = None
    ) -> None:
        self._ray = require("ray", "fleet", "--ray")
        self._job, self._address, self._wanted = job, address, (workers, cpus, gpus, most)
        self._actors: dict[int, Any] = {}
        self._needs = f"{cpus} cores" + (f" and {gpus:g} GPUs" if gpus else "")
        self._quiet_since, self._told, self._ready = time.monotonic(), False, False
        self._open = contextlib.ExitStack()
        self.size = 0

    def _connect(self) -> None:
        ray, job, (workers, cpus, gpus, most) = self._ray, self._job, self._wanted
        if _connected(ray, self._address):
            self._open.callback(ray.shutdown)
        size = workers or _fitting(ray, cpus, gpus)
        self.size = max(1, min(size, most) if most else size)
        kind = ray.remote(_Actor)
        self._kind = kind.options(num_cpus=cpus, num_gpus=gpus, max_restarts=0, scheduling_strategy="SPREAD")
        errors = ("RayActorError", "ObjectLostError", "OutOfMemoryError", "NodeDiedError", "LocalRayletDiedError")
        self._died = tuple(getattr(ray.exceptions, name) for name in errors)
        bundle = getattr(job, "bundle", None)
        if isinstance(bundle, BundleSource) and is_dataclass(job) and not stores.is_remote(bundle.path):
            refs = {name: ray.put(bundle.read(name)) for name in bundle.names}
            self._job = replace(job, bundle=bundle.with_content(_Content(refs)))  # type: ignore[type-var,arg-type]

    def start(self, worker: int) -> Any:
        """Ask for an actor and let it open the job."""
        self._end(worker)
        actor = self._actors[worker] = self._kind.remote()
        return actor.open.remote(self._job)

    def submit(self, worker: int, rows: list[Any]) -> Any:
        """Hand over rows."""
        return self._actors[worker].do.remote(rows)

    def wait(self, handles: list[Any], seconds: float) -> list[Any]:
        """Those that are done."""
        done, _ = self._ray.wait(handles, num_returns=1, timeout=seconds)
        if done:
            self._quiet_since = time.monotonic()
        elif not self._told and not self._ready and time.monotonic() - self._quiet_since > _PATIENCE:
            self._told = True
            say(f"note: no machine of the cluster has had {self._needs} free for {_PATIENCE:.0f} s; waiting for one")
        if done and len(handles) > 1:
            done, _ = self._ray.wait(handles, num_returns=len(handles), timeout=0)
        return done

    def result(self, handle: Any) -> Any:
        """What an actor returned."""
        try:
            found = self._ray.get(handle)
            self._ready = True
            return found
        except self._died:
            raise WorkerDied from None
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, HarmonyError):
                raise error.cause from None
            missing = re.search(r"No module named '([\w.]+)'", str(error))
            if missing is not None:
                raise HarmonyError(
                    f"machines of the cluster lack the module {missing[1]}: run pip install 'harmonyrt[fleet]' on each,"
                    " with the same version as here"
                ) from None
            raise

    def _end(self, worker: int) -> None:
        actor = self._actors.pop(worker, None)
        if actor is not None:
            self._ray.kill(actor)

    def __enter__(self) -> RayPool:
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))  # where Ray prints what happens to its nodes
            self._open = stack
            self._connect()
            self._open = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for worker in list(self._actors):
            self._end(worker)
        self._open.close()


class _Content:
    """A bundle's files, out of Ray's object store: they travel once to a machine that has none of them."""

    def __init__(self, refs: dict[str, Any]) -> None:
        self._refs = refs

    def __call__(self, name: str) -> bytes:
        import ray

        return ray.get(self._refs[name])


def _connected(ray: Any, address: str) -> bool:
    """Join a cluster; whether it is to be left again in the end."""
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
    if address == "local":
        options["include_dashboard"] = False
    try:
        found = re.fullmatch(r"(?:ray://)?([\w.-]+):(\d+)", address)
        if found is not None:  # Ray itself goes on trying for minutes
            socket.create_connection((found[1], int(found[2])), timeout=10).close()
        with _own_signals():
            ray.init(address=address, **options)
    except Exception as error:  # Ray raises them plain, too
        said = stores.without_secrets(" ".join(str(error).split()))[:200]
        if address == "local":
            raise WorkFailed(f"Ray did not start on this machine ({said}); run again, or leave --ray out") from None
        raise HarmonyError(
            f"there is no Ray cluster at {address} ({said}); start one with ray start --head, or pass --ray local"
        ) from None
    return True


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Undo that Ray takes SIGTERM for itself: the program would no longer end with 143."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)


def _fitting(ray: Any, cpus: int, gpus: float) -> int:
    size = 0
    for node in ray.nodes():  # a worker is on one machine: cores of several do not add up
        has = node["Resources"] if node["Alive"] else {}
        room = int(has.get("CPU", 0) // cpus)
        size += min(room, int(has.get("GPU", 0) / gpus)) if gpus else room
    there = ray.cluster_resources()
    if size < 1:
        found = f"{there.get('CPU', 0):g} cores and {there.get('GPU', 0):g} GPUs"
        raise WorkFailed(
            f"the cluster has {found}, and no machine enough for one worker; add machines, or ask for less a worker"
        )
    return size
