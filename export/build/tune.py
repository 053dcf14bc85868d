"""Tuning: which engine of a bundle is fastest on this machine, measured in a separate process for each way to run it.

`harmonyrt build --tune` uses it twice: to choose between candidates of one target (with and without Winograd), and to
record in the manifest how long every way to run the finished bundle takes, which `backend="auto"` then obeys. These are
quick timings that rank; speed claims come from `harmonyrt bench`.

    python -m harmonyrt.export.build.tune BUNDLE BACKEND TARGET THREADS SECONDS      # the process; prints milliseconds
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.common.programs import module_command
from harmonyrt.export.rewrites import FASTER, KERNELS, plain
from harmonyrt.runtime.backends import SessionOptions
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.choices import OPENS
from harmonyrt.runtime.compiled_cache import NONE
from harmonyrt.runtime.machine import cores, machine_name
from harmonyrt.runtime.manifest import Manifest, Measurement
from harmonyrt.runtime.select import open_best

WORTH = 1.1
"""A candidate replaces a plainer one when it is at least this many times faster."""
SHARE_FOR_CANDIDATES = 0.5
"""Of the time budget; the rest measures the finished bundle."""
LEAST_CALLS = 2

Say = Callable[[str], object]


def candidates(rewrites: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Sets of rewrites to time, the plainest first: without those that cost memory and loading time, without native
    kernels, and as asked."""
    without = tuple(name for name in plain(rewrites) if name not in FASTER)
    return tuple(dict.fromkeys((without, plain(rewrites), tuple(rewrites))))


def milliseconds(bundle: Path, backend: str, target: str, threads: int, seconds: float) -> float | None:
    """Median latency of one way to run a bundle, in a new process; None when this machine cannot run it so.

    Args:
        bundle: folder of the bundle.
        backend: what runs it.
        target: engine that it runs.
        threads: CPU threads.
        seconds: time for opening and calls together; two calls are always made.
    """
    command = [*module_command(__name__), str(bundle), backend, target, str(threads), str(seconds)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        return None
    return float(json.loads(ended.stdout.splitlines()[-1]))


def ways(manifest: Manifest) -> list[tuple[str, str]]:
    """(backend, target) of every way that `backend="auto"` could run a bundle."""
    have = {engine.target for engine in manifest.engines}
    found = []
    for backend, targets in OPENS.items():
        own = [target for target in targets if target in have]
        found += [(backend, target) for target in (own if backend == "tensorrt" else own[:1])]
    return found


def thread_counts() -> list[int]:
    """One thread, and all cores."""
    return sorted({1, cores()})


def measurements(bundle: Path, seconds: float, say: Say) -> tuple[Measurement, ...]:
    """Time every way to run a bundle, with one thread and with all cores.

    Args:
        bundle: folder of a bundle that opens.
        seconds: budget for all of them.
        say: told what is being timed.
    """
    todo = [(*way, threads) for way in ways(open_bundle(bundle).manifest) for threads in thread_counts()]
    found = []
    for (backend, target, threads), share in zip(todo, shares(seconds, len(todo)), strict=True):
        say(f"tuning: {backend} ({target}), {threads} thread{'s' if threads > 1 else ''}")
        taken = milliseconds(bundle, backend, target, threads, share)
        if taken is not None:
            found.append(Measurement(backend, target, threads, round(taken, 3), machine_name()))
    for threads in dict.fromkeys(one.threads for one in found):
        best = min((one for one in found if one.threads == threads), key=lambda one: one.milliseconds)
        count = f"{threads} thread{'s' if threads > 1 else ''}"
        say(f"tuning: fastest with {count}: {best.backend} ({best.target}), {best.milliseconds:.1f} ms")
    return tuple(found)


def shares(seconds: float, count: int) -> Iterator[float]:
    """What each of `count` measurements may take, when asked before it: its part of what is left of the budget."""
    end = time.monotonic() + seconds
    for left in range(count, 0, -1):
        yield max(0.0, end - time.monotonic()) / left


def fastest(folders: Sequence[Path], target: str, seconds: float, say: Say) -> int:
    """Which of several bundles with one engine each to keep: the first, unless a later one is :data:`WORTH` it.

    Judged with all cores, by the backend that runs the candidate fastest.

    Args:
        folders: of the bundles, the plainest first.
        target: the engine's target.
        seconds: budget for all of them.
        say: told how long each took.
    """
    manifests = [open_bundle(folder).manifest for folder in folders]
    todo = [(number, backend) for number, manifest in enumerate(manifests) for backend, _ in ways(manifest)]
    times: dict[int, float] = {}
    for (number, backend), share in zip(todo, shares(seconds, len(todo)), strict=True):
        taken = milliseconds(folders[number], backend, target, cores(), share)
        if taken is not None:
            times[number] = min(taken, times.get(number, taken))
    kept = 0
    for number, taken in times.items():
        costly = ", ".join(name for name in manifests[number].engines[0].rewrites if name in (*FASTER, *KERNELS))
        say(f"tuning: {target} {f'with {costly}' if costly else 'in little memory'}: {taken:.1f} ms")
        if kept not in times or times[kept] >= WORTH * taken:
            kept = number
    return kept


def _time(bundle: Path, backend: str, target: str, threads: int, seconds: float) -> float:
    end = time.monotonic() + seconds
    opened = open_bundle(bundle)
    selected = open_best(opened, backend, target, SessionOptions(threads=threads, cache=NONE))
    height, width = opened.manifest.size or (opened.manifest.working_size,) * 2
    picture = np.random.default_rng(0).random((1, 3, height, width), dtype=np.float32)
    mask = np.zeros((1, 1, height, width), np.float32)
    mask[..., height // 4 : -height // 4, width // 4 : -width // 4] = 1
    feeds = {"image": picture, "mask": mask}
    selected.session.run(feeds)
    taken: list[float] = []
    while len(taken) < LEAST_CALLS or time.monotonic() < end:
        start = time.perf_counter_ns()
        selected.session.run(feeds)
        taken.append((time.perf_counter_ns() - start) / 1e6)
    return statistics.median(taken)


if __name__ == "__main__":
    given = sys.argv[1:]
    try:
        print(json.dumps(_time(Path(given[0]), given[1], given[2], int(given[3]), float(given[4]))))
    except HarmonyError as error:
        sys.exit(f"error: {error}")
