"""The process that one case lives in: `python -m harmonyrt.benchmarks.worker`, JSON lines in and out.

One process per case keeps thread pools, allocators and peak memory apart. The parent stops (SIGSTOP) every worker
whose turn it is not, so that spinning threads of one never slow another.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from harmonyrt.benchmarks.cases import Case, Loaded, load
from harmonyrt.benchmarks.timing import burn_in, timed
from harmonyrt.common import HarmonyError


def peak_rss_mb() -> float | None:
    """Peak resident memory of this process in MB (VmHWM, which starts at zero in each program); None off Linux."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    return None


def _load(request: dict[str, Any]) -> tuple[Loaded, dict[str, Any]]:
    start = time.perf_counter()
    loaded = load(Case(**request["case"]))
    load_ms = (time.perf_counter() - start) * 1000
    first_ms = timed(loaded.call)
    stable = burn_in(loaded.call, request["burn_in_seconds"])
    return loaded, {"about": loaded.about, "load_ms": load_ms, "first_call_ms": first_ms, "stable": stable}


def _round(loaded: Loaded, request: dict[str, Any]) -> dict[str, Any]:
    """Samples for about `seconds`, at least `least`; a call before them warms what a pause made cold.

    A call that lasts as long as a turn is not made twice for that: caches are warm after its first layers.
    """
    samples: list[float] = []
    stages: list[dict[str, float]] = []
    first = timed(loaded.call)
    if first >= request["seconds"] * 1000:
        samples.append(first)
        stages.append(loaded.stages())
    while len(samples) < request["least"] or sum(samples) < request["seconds"] * 1000:
        samples.append(timed(loaded.call))
        stages.append(loaded.stages())
    medians = {name: statistics.median(one[name] for one in stages) for name in stages[0]}
    return {"samples": samples, "stages": medians, "peak_rss_mb": peak_rss_mb()}


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints goes to stderr
    loaded: Loaded | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "load":
                loaded, answer = _load(request)
            elif request["do"] == "round":
                assert loaded is not None
                answer = _round(loaded, request)
            else:
                assert loaded is not None
                import numpy as np

                np.save(request["path"], loaded.output())
                answer = {}
        except HarmonyError as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
