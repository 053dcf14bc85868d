"""What to build: checked before any work, and hashed so that a rebuild with nothing changed is recognised."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import sha256_of
from harmonyrt.export import rewrites
from harmonyrt.export.phnet.given_calibration import GivenCalibration, given_calibration
from harmonyrt.export.targets import PACKAGE_OF_TARGET, BuildOptions, Size, why_not
from harmonyrt.runtime.backends.tensorrt import versions as tensorrt_versions
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.cpu_speed import measured_once
from harmonyrt.runtime.machine import machine_name
from harmonyrt.runtime.manifest import PRECISIONS, TARGETS, Manifest, Skipped

MODELS = ("phnet",)
SIZE_MULTIPLE = 8
SMALLEST_SIDE = 16  # instance norm of one pixel has no answer (docs/phnet.md, "Input and output")
LARGEST_SIDE = 16384
DYNAMIC = "dynamic"
OPTIMIZATION_LEVELS = range(6)  # of TensorRT's builder, in every release since 8.6
MOST = {"threads": 4096, "workspace": 1 << 24}  # far above any machine; the libraries' own counters end somewhere

ROOMS = Path(__file__).resolve().parents[2]
SHIPPED_CHECKPOINT = ROOMS / "weights" / "phnet-10m-residual.safetensors"
_TOOLS = (
    "harmonyrt", "torch", "onnx", "onnxscript", "onnx-ir", "onnxruntime", "openvino", "tensorrt",
    "tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13", "nncf",
)  # fmt: skip


@dataclass(frozen=True)
class BundleRecipe:
    """One bundle: one model, size and precision; one engine or more for each target.

    Attributes:
        model: one of :data:`MODELS`.
        checkpoint: file of the weights.
        checkpoint_sha256: its hash.
        size: [height, width], or None for any multiple of 8 and any batch.
        precision: one of the vocabulary's.
        targets: those that can exist.
        skipped: those that were asked for and cannot, with the reason.
        rewrites: names of graph rewrites; each engine gets those that it can take.
        options: what target builders are told.
        tune: seconds for measuring what is fastest here (see :mod:`harmonyrt.export.build.tune`); None for not.
        calibration: the one that was given for INT8; None: the build makes its own.
        meaning: what the caller says of the weights, by field of :class:`harmonyrt.models.checkpoints.Meaning`; what
            is not in it the checkpoint says itself.
    """

    model: str
    checkpoint: Path
    checkpoint_sha256: str
    size: Size
    precision: str
    targets: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    rewrites: tuple[str, ...]
    options: BuildOptions
    tune: float | None = None
    calibration: GivenCalibration | None = None
    meaning: Mapping[str, str | float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The bundle's folder, for example ``"phnet-256-fp32"`` or ``"phnet-dynamic-fp32"``."""
        return f"{self.model}-{size_name(self.size)}-{self.precision}"

    def facts(self) -> dict:
        """What decides the bundle's content beside its targets, as JSON can hold it."""
        options = self.options
        return {
            "model": self.model,
            "checkpoint_sha256": self.checkpoint_sha256,
            "size": None if self.size is None else list(self.size),
            "precision": self.precision,
            "rewrites": list(self.rewrites),
            "compute_capabilities": list(options.compute_capabilities),
            "optimization_level": options.optimization_level,
            "workspace_mib": options.workspace_mib,
            "version_compatible": options.version_compatible,
            "hardware_compatible": options.hardware_compatible,
            **({} if self.tune is None else {"tuned": True}),
            **({} if self.calibration is None else {"calibration_sha256": self.calibration.sha256}),
            **({"meaning": dict(self.meaning)} if self.meaning else {}),
        }

    def sha256(self) -> str:
        """Equal for two builds that would write the same engines: facts, versions of tools, and our own source."""
        text = json.dumps([self.facts(), tool_versions(), source_sha256()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def size_name(size: Size) -> str:
    """``"256"`` for a square, ``"256x512"`` (height x width), ``"dynamic"`` for None."""
    if size is None:
        return DYNAMIC
    height, width = size
    return str(height) if height == width else f"{height}x{width}"


def parse_size(text: str) -> Size:
    """``"256"``, ``"256x512"`` (height x width) or ``"dynamic"``.

    Raises:
        HarmonyError: something else, or a side that the network cannot take.
    """
    if text == DYNAMIC:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdigit() and len(side) < 9 for side in sides):
        raise HarmonyError(f"size {text!r} is not a size; give a number (256), HEIGHTxWIDTH (256x512) or {DYNAMIC}")
    for side in map(int, sides):
        if side % SIZE_MULTIPLE or not SMALLEST_SIDE <= side <= LARGEST_SIDE:
            raise HarmonyError(
                f"size {text} cannot be built; give a multiple of {SIZE_MULTIPLE}"
                f" from {SMALLEST_SIDE} to {LARGEST_SIDE}, or {DYNAMIC}"
            )
    return int(sides[0]), int(sides[-1])


def find_checkpoint(given: str | Path | None) -> Path:
    """The checkpoint that was given, or the shipped one.

    Raises:
        HarmonyError: it does not exist.
    """
    path = Path(given) if given is not None else SHIPPED_CHECKPOINT
    if path.is_file():
        return path
    if given is None:
        raise HarmonyError(
            f"the shipped weights ({path.name}) are not in this installation; give a checkpoint with --checkpoint"
        )
    what = "is not a file" if path.exists() else "does not exist"
    raise HarmonyError(f"{path} {what}; give the path of a checkpoint (.pth or .safetensors)")


def plan(
    model: str,
    checkpoint: str | Path | None,
    sizes: Sequence[str],
    precisions: Sequence[str],
    targets: Sequence[str],
    rewrite_names: Sequence[str],
    options: BuildOptions,
    tune: float | None = None,
    calibration: Path | None = None,
    meaning: Mapping[str, str | float] | None = None,
) -> list[BundleRecipe]:
    """Every bundle that a call of `build` asks for.

    Args:
        model: one of :data:`MODELS`.
        checkpoint: path, or None for the shipped weights.
        sizes: texts that :func:`parse_size` takes.
        precisions: names of the vocabulary.
        targets: names of the vocabulary.
        rewrite_names: names of :data:`harmonyrt.export.rewrites.REWRITES` or of its ``SETS``.
        options: common to all engines; its target and size are filled in here.
        tune: seconds of measuring for each bundle; None for not.
        calibration: file that `harmonyrt calibrate` wrote; None: INT8 builds calibrate themselves.
        meaning: see :class:`BundleRecipe`.

    Returns:
        One recipe per size and precision, in the order given; those without any target that can exist have none.

    Raises:
        HarmonyError: a value that is not known, a package that is missing, or nothing that can exist.
    """
    _check_known("model", [model], MODELS)
    _check_known("precision", precisions, PRECISIONS)
    _check_known("target", targets, TARGETS)
    check_options(options)
    parsed = list(dict.fromkeys(parse_size(text) for text in sizes))
    chosen = {precision: rewrites.names_of(rewrite_names) for precision in precisions}
    path = find_checkpoint(checkpoint)
    try:
        sha256 = sha256_of(path)
    except OSError as error:
        raise HarmonyError(f"{path} cannot be read ({error.strerror}); make it readable") from None
    if calibration is not None and "int8" not in precisions:
        raise HarmonyError("a calibration serves int8 alone; add int8 to --precisions, or leave --calibration out")
    given = None if calibration is None else given_calibration(calibration, sha256, chosen["int8"])
    # What a build tunes, it measures with all that was asked for; otherwise what was measured of this CPU decides.
    if tune is None and "bf16" in precisions and "openvino" in targets and "fast" in rewrite_names:
        speed = measured_once()
        if speed is not None and speed.plain_is_faster("bf16"):
            chosen["bf16"] = rewrites.names_of(rewrite_names, rewrites.SLOWER_THAN_PLAIN)
    recipes = []
    for size in parsed:
        for precision in dict.fromkeys(precisions):
            possible, skipped = split_targets(targets, precision, size)
            recipes.append(
                BundleRecipe(
                    model=model,
                    checkpoint=path,
                    checkpoint_sha256=sha256,
                    size=size,
                    precision=precision,
                    targets=possible,
                    skipped=skipped,
                    rewrites=chosen[precision],
                    options=replace(options, size=size),
                    tune=tune,
                    calibration=given if precision == "int8" else None,
                    meaning=meaning or {},
                )
            )
    refuse_if_nothing(recipes)
    check_packages({target for recipe in recipes for target in recipe.targets})
    return recipes


def _check_known(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    unknown = next((value for value in given if value not in known), None)
    if unknown is not None:
        raise HarmonyError(f"{what} {unknown!r} is not known; choose from {', '.join(known)}")


def check_options(options: BuildOptions) -> None:
    """Refuse values that no target builder takes, whichever targets are asked for.

    Raises:
        HarmonyError: naming the option, what it was and what it can be.
    """
    for name, value in (("threads", options.threads), ("workspace", options.workspace_mib)):
        if value is not None and not 1 <= value <= MOST[name]:
            raise HarmonyError(f"--{name} {value} is not possible; give a number from 1 to {MOST[name]}")
    level = options.optimization_level
    if level is not None and level not in OPTIMIZATION_LEVELS:
        first, last = OPTIMIZATION_LEVELS[0], OPTIMIZATION_LEVELS[-1]
        raise HarmonyError(f"--optimization-level {level} is not possible; give a number from {first} to {last}")
    for text in options.compute_capabilities:
        tensorrt_versions.parse_capability(text)


def check_packages(targets: set[str]) -> None:
    """Say which package is missing before anything is built. Looks, and does not import."""
    from importlib.util import find_spec

    for target in sorted(targets):
        if target in tensorrt_versions.DISPLAY_NAME:  # its package goes by several names
            tensorrt_versions.check_installed(target)
            continue
        package, extra = PACKAGE_OF_TARGET[target]
        if find_spec(package) is None:
            raise HarmonyError(
                f"target {target} needs the package {package}, which is not installed:"
                f" run pip install 'harmonyrt[{extra}]'"
            )


class Recipe(Protocol):
    """What recipes of every model have."""

    @property
    def targets(self) -> tuple[str, ...]: ...
    @property
    def skipped(self) -> tuple[Skipped, ...]: ...
    def sha256(self) -> str: ...


def split_targets(targets: Sequence[str], precision: str, size: Size) -> tuple[tuple[str, ...], tuple[Skipped, ...]]:
    """Those that can exist in a precision, and the others with the reason; each once, in the order given."""
    reasons = {target: why_not(target, precision, size) for target in dict.fromkeys(targets)}
    possible = tuple(target for target, reason in reasons.items() if reason is None)
    return possible, tuple(Skipped(t, precision, reason) for t, reason in reasons.items() if reason is not None)


def refuse_if_nothing(recipes: Sequence[Recipe]) -> None:
    """Raise HarmonyError with every reason when no recipe has a target that can exist."""
    if not any(recipe.targets for recipe in recipes):
        reasons = dict.fromkeys(f"{s.precision} for {s.target}: {s.reason}" for r in recipes for s in r.skipped)
        raise HarmonyError(f"nothing to build ({'; '.join(reasons)}); give another precision or target")


def unchanged(recipe: Recipe, place: Path, tuned_here: bool = False) -> Manifest | None:
    """The manifest of a bundle that already is what the recipe asks for, every file of it whole; None otherwise.

    With `tuned_here` it must also hold measurements of this machine.
    """
    try:
        bundle = open_bundle(place)
        manifest = bundle.manifest
        have = {entry.target for entry in (*manifest.engines, *manifest.skipped)}
        if manifest.recipe_sha256 != recipe.sha256() or not have.issuperset(recipe.targets):
            return None
        if tuned_here and not any(m.machine == machine_name() for m in manifest.measurements):
            return None
        for engine in manifest.engines:
            bundle.verified_file(engine)
    except (HarmonyError, OSError):
        return None
    return manifest


def tool_versions() -> dict[str, str]:
    """Versions of the installed packages that can change what a build writes."""
    versions = {}
    for name in _TOOLS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def source_sha256() -> str:
    """Hash of the source that builds: what this project's version number does not tell between releases."""
    digest = hashlib.sha256()
    for room in ("models", "export", "calibration"):
        for folder, folders, files in os.walk(ROOMS / room):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            for name in sorted(files):
                if name.endswith((".py", ".jpg", ".png")):
                    path = Path(folder, name)
                    digest.update(str(path.relative_to(ROOMS)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
