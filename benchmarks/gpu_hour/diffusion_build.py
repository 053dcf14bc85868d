"""DiffHarmony's engines at full size with random weights, which cost what trained ones cost."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from harmonyrt.benchmarks.gpu_hour.bundles import built
from harmonyrt.benchmarks.gpu_hour.hour import Hour, NotHere
from harmonyrt.common import WorkFailed
from harmonyrt.common.programs import module_command

STEPS = 5
_FULL, _TINY = ("full", "512", "256", "fp16"), ("tiny", "64", "32", "fp32")
_SECONDS = 120


def run(hour: Hour) -> None:
    """One row for each target, best first. A dry run asks what would be built, and builds a tiny one."""
    if hour.dry:
        hour.step("what would be built", lambda: _ended(hour, "plan", [*arguments(_FULL, "onnx"), "--dry-run"]))
        hour.step("tiny build", lambda: build(hour, "onnx") if not bundles(hour) else {"bundle": "there already"})
        return
    for target in ("tensorrt", "onnx", "tensorrt-rtx"):
        hour.step(f"{target} build", partial(build, hour, target), least=_SECONDS)


def build(hour: Hour, target: str) -> dict[str, Any]:
    """Build for one target; every component and the whole pass their gates, or it fails."""
    _ended(hour, f"{target}-build", arguments(_TINY if hour.dry else _FULL, target))
    return {path.name: engines for path, engines in bundles(hour)}


def arguments(kind: tuple[str, str, str, str], target: str) -> list[str]:
    """What `harmonyrt build` is told."""
    weights, size, output_size, precision = kind
    chosen = ["diffharmony", "--random-weights", weights, "--inference-size", size, "--output-size", output_size]
    return [*chosen, "--precisions", precision, "--targets", target, "--steps", str(STEPS)]


def _ended(hour: Hour, name: str, given: list[str]) -> dict[str, Any]:
    command = [*module_command("harmonyrt.export.build_engines"), *given, "--output", str(hour.bundles), "--json"]
    ended = hour.command(name, command)
    if ended.code != 0:
        said = ended.last_words
        raise (NotHere if "is not installed" in said else WorkFailed)(said)
    return {"command": " ".join(given)}


def bundles(hour: Hour) -> list[tuple[Path, list[dict[str, Any]]]]:
    """Bundles of DiffHarmony that the run has."""
    return list(built(hour.bundles, "diffharmony"))
