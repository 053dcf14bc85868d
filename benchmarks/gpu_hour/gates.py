"""Every engine again, opened in a fresh process and held against PyTorch in FP32 on real composites."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from harmonyrt.benchmarks.gpu_hour import dry
from harmonyrt.benchmarks.gpu_hour.bundles import built, runnable
from harmonyrt.benchmarks.gpu_hour.hour import Hour
from harmonyrt.common import WorkFailed
from harmonyrt.common.programs import module_command


def run(hour: Hour) -> None:
    """One row for each bundle; without bundles one is built first."""
    if not hour.step("a bundle that runs here", lambda: {"bundle": runnable(hour)[0].name}):
        return
    for path, _ in built(hour.bundles):
        hour.step(path.name, partial(_verified, hour, path), least=15)


def _verified(hour: Hour, path: Path) -> dict[str, Any]:
    command = [*module_command("harmonyrt.cli"), "verify", str(path), "--json"]
    weights = dry.checkpoint(hour)
    ended = hour.command(path.name, command if weights is None else [*command, "--checkpoint", str(weights)], most=120)
    if ended.code not in (0, 1) or not ended.out.startswith("{"):
        raise WorkFailed(ended.last_words)
    engines = json.loads(ended.out)["engines"]
    problems = [f"{one['target']} {one['precision']}: {one['problem']}" for one in engines if one["problem"]]
    if problems:
        raise WorkFailed("; ".join(problems))
    return {f"{one['target']} {one['precision']}": one["parity"] or f"not run: {one['note']}" for one in engines}
