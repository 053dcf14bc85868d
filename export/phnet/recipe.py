"""What to build of PHNet: checked before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harmonyrt.common import HarmonyError
from harmonyrt.export import rewrites
from harmonyrt.export.build.recipe import (
    ROOMS,
    check_known,
    file_sha256,
    parse_size,
    recipes_of,
    size_name,
    tensorrt_facts,
)
from harmonyrt.export.phnet.given_calibration import GivenCalibration, given_calibration
from harmonyrt.export.targets import BuildOptions, Size
from harmonyrt.runtime import native
from harmonyrt.runtime.cpu_speed import measured_once
from harmonyrt.runtime.manifest import BACKEND_OF_TARGET, PRECISIONS, TARGETS, Skipped

SHIPPED_CHECKPOINT = ROOMS / "weights" / "phnet-10m-residual.safetensors"


@dataclass(frozen=True)
class PHNetRecipe:
    """One bundle: one size and precision; one engine or more for each target.

    Attributes:
        checkpoint: file of the weights.
        source_sha256: its hash.
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

    checkpoint: Path
    source_sha256: str
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
        return f"phnet-{size_name(self.size)}-{self.precision}"

    @property
    def source_name(self) -> str:
        """The checkpoint as the summary shows it: its path as given."""
        return str(self.checkpoint)

    def facts(self) -> dict:
        """What decides the bundle's content besides its targets, as JSON can hold it."""
        options = self.options
        return {
            "model": "phnet",
            "checkpoint_sha256": self.source_sha256,
            "size": None if self.size is None else list(self.size),
            "precision": self.precision,
            "rewrites": list(self.rewrites),
            "compute_capabilities": list(options.compute_capabilities),
            "optimization_level": options.optimization_level,
            "workspace_mib": options.workspace_mib,
            "version_compatible": options.version_compatible,
            "hardware_compatible": options.hardware_compatible,
            **({} if options.lean_runtime is None else {"lean_runtime_sha256": file_sha256(options.lean_runtime)}),
            **tensorrt_facts(options),
            **({} if self.tune is None else {"tuned": True}),
            **({} if self.calibration is None else {"calibration_sha256": self.calibration.sha256}),
            **({"meaning": dict(self.meaning)} if self.meaning else {}),
        }


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


def expand_recipes(
    checkpoint: str | Path | None,
    sizes: Sequence[str],
    precisions: Sequence[str],
    targets: Sequence[str],
    rewrite_names: Sequence[str],
    options: BuildOptions,
    tune: float | None = None,
    calibration: Path | None = None,
    meaning: Mapping[str, str | float] | None = None,
) -> list[PHNetRecipe]:
    """Every bundle that a call of `build` asks for.

    Args:
        checkpoint: path, or None for the shipped weights.
        sizes: texts that :func:`parse_size` takes.
        precisions: names of the vocabulary.
        targets: names of the vocabulary.
        rewrite_names: names of :data:`harmonyrt.export.rewrites.REWRITES` or of its ``SETS``.
        options: common to all engines; its target and size are filled in here.
        tune: seconds of measuring for each bundle; None for not.
        calibration: file that `harmonyrt calibrate` wrote; None: INT8 builds calibrate themselves.
        meaning: see :class:`PHNetRecipe`.

    Returns:
        One recipe per size and precision, in the order given; those without any target that can exist have none.

    Raises:
        HarmonyError: a value that is not known, a package that is missing, or nothing that can exist.
    """
    check_known("precision", precisions, PRECISIONS)
    check_known("target", targets, TARGETS)
    parsed = [parse_size(text) for text in sizes]
    chosen = {precision: rewrites.names_of(rewrite_names) for precision in precisions}
    path = find_checkpoint(checkpoint)
    sha256 = file_sha256(path)
    if calibration is not None and "int8" not in precisions:
        raise HarmonyError("a calibration serves int8 alone; add int8 to --precisions, or leave --calibration out")
    found = None if calibration is None else given_calibration(calibration, sha256, chosen["int8"])
    # What a build tunes, it measures with all that was asked for; otherwise what was measured of this CPU decides.
    if tune is None and "bf16" in precisions and "openvino" in targets and {"fast", "native"} & set(rewrite_names):
        speed = measured_once()
        if speed is not None and speed.plain_is_faster("bf16", native="native" in rewrite_names):
            chosen["bf16"] = rewrites.names_of(rewrite_names, (*rewrites.SLOWER_THAN_PLAIN, *rewrites.KERNELS))

    for precision, names in chosen.items():
        _check_kernels(names, parsed, precision, targets)

    def make(
        precision: str, targets: tuple[str, ...], skipped: tuple[Skipped, ...], options: BuildOptions
    ) -> PHNetRecipe:
        given, about = found if precision == "int8" else None, meaning or {}
        names, size = chosen[precision], options.size
        return PHNetRecipe(path, sha256, size, precision, targets, skipped, names, options, tune, given, about)

    return recipes_of(parsed, precisions, targets, options, make)


def _check_kernels(names: Sequence[str], sizes: Sequence[Size], precision: str, targets: Sequence[str]) -> None:
    """Refuse native engines where this machine has no kernels to prove them with, before any work is done."""
    for target in targets:
        fits = any(set(rewrites.KERNELS) & set(rewrites.fitting(names, size, target, precision)) for size in sizes)
        reason = native.why_not(native.NEEDED[precision], BACKEND_OF_TARGET[target], precision) if fits else None
        if reason is not None:
            raise HarmonyError(f"an engine for {target} cannot be built: {reason}")
