"""Where the time goes on the GPU, by Nsight Systems; and what bounds the kernels, by Nsight Compute.

Options: docs.nvidia.com/nsight-systems/UserGuide and docs.nvidia.com/nsight-compute/NsightComputeCli.
"""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from harmonyrt.benchmarks.gpu_hour import dry, workload
from harmonyrt.benchmarks.gpu_hour.bundles import runnable
from harmonyrt.benchmarks.gpu_hour.hour import Hour, NotHere
from harmonyrt.benchmarks.gpu_hour.records import without_numbers
from harmonyrt.common import WorkFailed
from harmonyrt.common.files import write_json

REPORTS = ("cuda_gpu_kern_sum", "cuda_gpu_mem_time_sum", "cuda_api_sum")
_SHOWN = 12
"""Rows of a report that the page shows; the file has them all."""
_CALLS = 200


def run(hour: Hour) -> None:
    """One row for each report."""
    chosen: dict[str, Any] = {}
    if not hour.step("a bundle that runs here", lambda: _prepare(hour, chosen)):
        return
    if hour.step("nsys profile", lambda: _profile(hour, chosen)):
        for report in REPORTS:
            hour.step(report, partial(_report, hour, chosen, report), least=3)
    hour.step("ncu", lambda: _compute(hour, chosen), least=5 if hour.dry else 20)


def _prepare(hour: Hour, chosen: dict[str, Any]) -> dict[str, Any]:
    bundle, target = runnable(hour)
    calls = 2 if hour.dry else _CALLS
    chosen["work"] = workload.command(bundle, target, "cpu" if hour.dry else "cuda", calls)
    chosen["folder"] = hour.output / "nsight"
    chosen["folder"].mkdir(exist_ok=True)
    return {"bundle": bundle.name, "target": target, "calls": calls}


def _program(hour: Hour, name: str, package: str) -> list[str]:
    program = dry.program(hour, name) or [shutil.which(name) or ""]
    if not program[0]:
        raise NotHere(f"there is no {name} on the path: it comes with {package}")
    return program


def _profile(hour: Hour, chosen: dict[str, Any]) -> dict[str, Any]:
    program = _program(hour, "nsys", "Nsight Systems")
    base: Path = chosen["folder"] / "calls"
    options = ["--trace", "cuda,nvtx,osrt", "--sample", "none", "--cpuctxsw", "none", "--cuda-graph-trace", "node"]
    command = [*program, "profile", *options, "--force-overwrite", "true", "--output", str(base), *chosen["work"]]
    ended = hour.command("nsys-profile", command, most=70)
    chosen["recorded"] = base.with_suffix(".nsys-rep")
    if ended.code != 0 or not chosen["recorded"].exists():
        raise WorkFailed(f"nsys wrote no recording: {ended.last_words}")
    return {"file": f"nsight/{chosen['recorded'].name}"}


def _report(hour: Hour, chosen: dict[str, Any], report: str) -> dict[str, Any]:
    folder: Path = chosen["folder"]
    program = _program(hour, "nsys", "Nsight Systems")
    base = folder / ("dry" if hour.dry else "calls")
    options = ["--report", report, "--format", "json", "--force-export", "true", "--output", str(base)]
    ended = hour.command(report, [*program, "stats", *options, str(chosen["recorded"])], most=40)
    written = next(iter(folder.glob(f"{base.name}*{report}*.json")), None)
    if ended.code != 0 or written is None:
        raise WorkFailed(f"nsys stats gave no {report}: {ended.last_words}")
    rows = json.loads(written.read_text(encoding="utf-8"))
    if hour.dry:
        write_json(written, without_numbers(rows))
    return {"file": f"nsight/{written.name}", "rows": rows[:_SHOWN]}


def _compute(hour: Hour, chosen: dict[str, Any]) -> dict[str, Any]:
    program = _program(hour, "ncu", "Nsight Compute")
    table = chosen["folder"] / "ncu.csv"
    options = ["--set", "basic", "--launch-count", "40", "--target-processes", "all", "--csv", "--log-file", str(table)]
    ended = hour.command("ncu", [*program, *options, *chosen["work"]], most=60)
    said = table.read_text(errors="replace") if table.exists() else ""
    if "ERR_NVGPUCTRPERM" in said + ended.out + ended.err:
        raise NotHere("this user may not read the GPU's counters (ERR_NVGPUCTRPERM): run as root, or allow it to all")
    if ended.code != 0 or not said:
        raise WorkFailed(f"ncu wrote no table: {ended.last_words}")
    return {"file": f"nsight/{table.name}", "lines": len(said.splitlines())}
