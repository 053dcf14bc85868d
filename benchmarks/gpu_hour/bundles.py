"""Bundles of a run: what there is to build, how it is built, and which one a part works with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmonyrt.benchmarks.gpu_hour import dry
from harmonyrt.benchmarks.gpu_hour.hour import Hour, NotHere
from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.programs import module_command
from harmonyrt.export.targets import why_not
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.manifest import BACKEND_OF_TARGET, FILE_NAME

GPU_TARGETS = ("tensorrt", "tensorrt-rtx", "onnx")
"""In the order in which parts prefer them; onnx runs by ONNX Runtime's CUDA provider."""
_PREFERRED_SIDE = 512


@dataclass(frozen=True)
class Wish:
    """One build: a bundle, or a further target of it."""

    size: str
    precision: str
    target: str

    @property
    def name(self) -> str:
        """For rows and logs."""
        return f"{self.target} {self.precision} {self.size}"

    @property
    def arguments(self) -> list[str]:
        """What `harmonyrt build` is told."""
        return ["phnet", "--sizes", self.size, "--precisions", self.precision, "--targets", self.target]


def wishes() -> list[Wish]:
    """Most informative first: the time may end before the rest."""
    order = [("512", "fp16"), ("512", "fp32"), ("256", "fp16"), ("512", "bf16"), ("1024", "fp16"), ("dynamic", "fp16")]
    every = [Wish(size, precision, target) for size, precision in order for target in GPU_TARGETS]
    every += [Wish("256", "int8", target) for target in GPU_TARGETS] + [Wish("256", "fp32", "tensorrt")]
    return [wish for wish in every if why_not(wish.target, wish.precision, None) is None]


def build(hour: Hour, wish: Wish, checkpoint: Path | None = None) -> dict[str, Any]:
    """Build one wish into the run's bundles; its gate decides.

    Returns:
        What the manifest says of the new engines.

    Raises:
        NotHere: the target's package is not installed.
        WorkFailed: it did not build, or failed its gate.
    """
    command = [*module_command("harmonyrt.export.build_engines"), *wish.arguments, "--output", str(hour.bundles)]
    command += ["--json"]
    if checkpoint is not None:
        command += ["--checkpoint", str(checkpoint)]
    ended = hour.command(wish.name.replace(" ", "-"), command)
    if ended.code != 0:
        said = ended.last_words
        raise (NotHere if "is not installed" in said else WorkFailed)(said)
    found = {path.name: engines for path, engines in built(hour.bundles) if f"-{wish.size}-" in path.name}
    return {name: one for name, one in found.items() if name.endswith(wish.precision)}


def built(folder: Path, family: str = "phnet") -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """Bundles of a family in a folder, and what their manifests say of each engine."""
    for path in sorted(folder.glob(f"*/{FILE_NAME}")):
        manifest = open_bundle(path.parent).manifest
        if manifest.model.family == family:
            yield path.parent, [_about(engine) for engine in manifest.engines]


def _about(engine: Any) -> dict[str, Any]:
    return {
        "target": engine.target,
        "precision": engine.precision,
        "max_abs_error": engine.parity.max_abs_error,
        "psnr_db": engine.parity.psnr_db,
        "gate": engine.parity.gate,
        "measured_on": engine.parity.measured_on,
        "counts": dict(engine.census),
        "megabytes": round(sum(file.bytes for file in engine.files) / 1e6, 3),
    }


def runnable(hour: Hour) -> tuple[Path, str]:
    """A bundle, and the target in it, that runs on this GPU: the best that is built, or one that is built now.

    A dry run takes the small stand-in, on the CPU.

    Raises:
        HarmonyError: none could be built.
    """
    for path, target in candidates(hour):
        return path, target
    reasons = []
    for wish in [Wish(*dry.BUNDLE)] if hour.dry else [Wish("512", "fp16", target) for target in GPU_TARGETS]:
        try:
            build(hour, wish, dry.checkpoint(hour) if hour.dry else None)
        except HarmonyError as error:
            reasons.append(f"{wish.name}: {error}")
        for path, target in candidates(hour):
            return path, target
    raise WorkFailed(f"there is no bundle that runs on this GPU, and none could be built ({'; '.join(reasons)})")


def candidates(hour: Hour) -> Iterator[tuple[Path, str]]:
    """Bundles and targets that run here, best first: TensorRT, FP16, 512 pixels."""
    from harmonyrt.runtime.backends import SessionOptions
    from harmonyrt.runtime.select import backend_module

    found = []
    for path, engines in built(hour.bundles):
        for engine, spec in zip(engines, open_bundle(path).manifest.engines, strict=True):
            if engine["target"] not in GPU_TARGETS:
                continue
            backend = backend_module(BACKEND_OF_TARGET[engine["target"]])
            if backend.why_not(spec, SessionOptions(device="cpu" if hour.dry else "cuda")) is None:
                rank = (GPU_TARGETS.index(engine["target"]), engine["precision"] != "fp16", _distance(path))
                found.append((rank, path, engine["target"]))
    yield from ((path, target) for _, path, target in sorted(found))


def _distance(path: Path) -> int:
    side = path.name.split("-")[1]
    return abs(int(side) - _PREFERRED_SIDE) if side.isdigit() else _PREFERRED_SIDE
