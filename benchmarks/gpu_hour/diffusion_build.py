"""Part 7: DiffHarmony's engines at full size with random weights, which cost what trained ones cost."""

from __future__ import annotations

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
    """The first target that works; the others if there is time."""
    for target in ("onnx",) if hour.dry else ("tensorrt", "onnx", "tensorrt-rtx"):
        hour.step(f"{target} build", lambda target=target: build(hour, target), least=5 if hour.dry else _SECONDS)


def build(hour: Hour, target: str) -> dict[str, Any]:
    """Build for one target; every component and the whole pass their gates, or it fails."""
    weights, size, output_size, precision = _TINY if hour.dry else _FULL
    command = [*module_command("harmonyrt.export.build_engines"), "diffharmony", "--random-weights", weights]
    command += ["--inference-size", size, "--output-size", output_size, "--precisions", precision]
    command += ["--targets", target, "--steps", str(STEPS), "--output", str(hour.bundles), "--json"]
    ended = hour.command(f"{target}-build", command)
    if ended.code != 0:
        said = ended.last_words
        raise (NotHere if "is not installed" in said else WorkFailed)(said)
    return {path.name: engines for path, engines in bundles(hour)}


def bundles(hour: Hour) -> list[tuple[Path, list[dict[str, Any]]]]:
    """Bundles of DiffHarmony that the run has."""
    return list(built(hour.bundles, "diffharmony"))
