"""compute-sanitizer over a few calls: invalid accesses, leaks, races, use before initialization.

Options: docs.nvidia.com/compute-sanitizer, "Command Line Options". TensorRT's own kernels are looked at too.
"""

from __future__ import annotations

import re
import shutil
from functools import partial
from typing import Any

from harmonyrt.benchmarks.gpu_hour import dry, workload
from harmonyrt.benchmarks.gpu_hour.bundles import runnable
from harmonyrt.benchmarks.gpu_hour.hour import Hour, NotHere
from harmonyrt.common import WorkFailed

NAME = "compute-sanitizer"
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
_FOUND = 66
"""Exit code that we let it end with when it found something."""


def run(hour: Hour) -> None:
    """One row for each of its tools."""
    chosen: dict[str, Any] = {}
    if hour.step(NAME, lambda: _prepare(hour, chosen)):
        for tool in TOOLS[:1] if hour.dry else TOOLS:
            hour.step(tool, partial(_checked, hour, chosen, tool), least=5 if hour.dry else 20)


def _prepare(hour: Hour, chosen: dict[str, Any]) -> dict[str, Any]:
    found = shutil.which(NAME)
    program = dry.program(hour, NAME) or ([found] if found else [])
    if not program:
        raise NotHere(f"there is no {NAME} on the path: it comes with the CUDA toolkit")
    bundle, target = runnable(hour)
    chosen |= {
        "program": program,
        "work": workload.command(bundle, target, "cpu" if hour.dry else "cuda", 1 if hour.dry else 4),
    }
    return {"bundle": bundle.name, "target": target}


def _checked(hour: Hour, chosen: dict[str, Any], tool: str) -> dict[str, Any]:
    more = ["--leak-check", "full"] if tool == "memcheck" else []
    options = ["--tool", tool, "--error-exitcode", str(_FOUND), "--target-processes", "all", *more]
    ended = hour.command(tool, [*chosen["program"], *options, *chosen["work"]])
    found = re.findall(r"=+ (?:ERROR|RACECHECK|LEAK) SUMMARY: (.+)", ended.out + ended.err)
    if ended.code == _FOUND or any(not re.match(r"0\b", one) for one in found):
        raise WorkFailed(f"{'; '.join(found) or 'it found errors'}: see {hour.log(tool).name}")
    if ended.code != 0 or not found:
        raise WorkFailed(f"{NAME} did not finish: {ended.last_words}")
    return {"summary": found}
