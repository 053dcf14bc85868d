"""What to build of DiffHarmony: checked before any work, hashed so that an unchanged rebuild is recognised."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harmonyrt.common import HarmonyError
from harmonyrt.export.build.recipe import check_known, file_sha256, recipes_of, size_name, tensorrt_facts
from harmonyrt.export.targets import BuildOptions
from harmonyrt.runtime.manifest import TARGETS, Skipped

PRECISIONS = ("fp32", "fp16", "bf16")
FALLBACK = {"fp16": ("fp16", "bf16", "fp32"), "bf16": ("bf16", "fp32"), "fp32": ("fp32",)}
"""What a component that fails its gate is built in instead; the build says so, and the manifest holds it.

BF16 has more range than FP16 and fewer digits: it follows an overflow, not an inaccuracy."""
MOST_STEPS = 1000
SMALLEST_INFERENCE = 64  # of the VAE's factor of 8 and the UNet's three halvings, one pixel is left
SPECIALISATIONS = ("constant-text", "step-table", "folded-scaling", "matrix-resize")
Provenance = dict[str, list[dict[str, str]]]
"""Files by part (``unet``, ``vae``, ``scheduler``, ``text_encoder``, ``refiner``): ``path`` below the folder that was
named, that folder's name first, and ``sha256``."""


@dataclass(frozen=True)
class Source:
    """Where the networks come from: folders, or chance.

    Attributes:
        checkpoint: folder in diffusers layout; None with random weights.
        base: where components are looked for that `checkpoint` lacks.
        harmony_vae: folder of the harmony VAE; None for the plain one.
        refiner: folder of the refiner; None for stage one alone.
        random: ``"tiny"`` or ``"full"``: random weights instead of folders.
        random_harmony_vae: with random weights: with the harmony VAE.
    """

    checkpoint: Path | None = None
    base: Path | None = None
    harmony_vae: Path | None = None
    refiner: Path | None = None
    random: str | None = None
    random_harmony_vae: bool = False

    @property
    def refines(self) -> bool:
        """Whether there is a stage two; random weights always have one."""
        return self.random is not None or self.refiner is not None

    @property
    def name(self) -> str:
        """For manifests and messages."""
        return f"random weights ({self.random})" if self.random else Path(self.checkpoint or "").name

    def sha256(self) -> str:
        """Hash over every file of the folders, or of the words that name random weights."""
        if self.random is not None:
            return hashlib.sha256(f"random {self.random} {self.random_harmony_vae}".encode()).hexdigest()
        digest = hashlib.sha256()
        for folder in (self.checkpoint, self.base, self.harmony_vae, self.refiner):
            digest.update(b"folder")
            if folder is None:
                continue
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.suffix in (".json", ".safetensors", ".bin"):
                    digest.update(f"{path.relative_to(folder)}:{file_sha256(path)}".encode())
        return digest.hexdigest()

    def provenance(self) -> Provenance:
        """The files that the parts are read from; {} with random weights.

        Raises:
            HarmonyError: a folder that is missing or holds no weights.
        """
        if self.checkpoint is None:
            return {}
        from harmonyrt.models.diffharmony.parts import find_parts

        parts = find_parts(self.checkpoint, base=self.base, harmony_vae=self.harmony_vae, refiner=self.refiner)
        roots = [folder for folder in (self.refiner, self.harmony_vae, self.checkpoint, self.base) if folder]
        return {
            name: [{"path": _named(path, roots), "sha256": file_sha256(path)} for path in files]
            for name, files in parts.files().items()
        }


def _named(path: Path, roots: list[Path]) -> str:
    """A path from the folder that the user named on: it says nothing about the building machine."""
    root = next(root for root in roots if path.is_relative_to(root))
    return (Path(root.resolve().name) / path.relative_to(root)).as_posix()


@dataclass(frozen=True)
class DiffusionRecipe:
    """One bundle: sizes, and one precision.

    Attributes:
        source: where the networks come from.
        source_sha256: its hash.
        inference_size: [height, width] of stage one.
        output_size: [height, width] of the result.
        precision: asked for; a component that fails its gate in it gets the next of :data:`FALLBACK`.
        step_counts: numbers of steps that the engine can run; the first is the default.
        targets: that can exist.
        skipped: those that cannot, with the reason.
        options: what target builders are told.
    """

    source: Source
    source_sha256: str
    inference_size: tuple[int, int]
    output_size: tuple[int, int]
    precision: str
    step_counts: tuple[int, ...]
    targets: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    options: BuildOptions

    @property
    def name(self) -> str:
        """For example ``"diffharmony-512to256-fp16"``; ``"diffharmony-random-…"`` says that the weights are random."""
        sizes = size_name(self.inference_size)
        if self.output_size != self.inference_size:
            sizes += f"to{size_name(self.output_size)}"
        return f"diffharmony-{'random-' if self.source.random else ''}{sizes}-{self.precision}"

    @property
    def rewrites(self) -> tuple[str, ...]:
        """What is specialised; always the same, all of it exact."""
        return SPECIALISATIONS

    @property
    def size(self) -> tuple[int, int]:
        """Of the composite that the engines take."""
        return self.inference_size

    @property
    def tune(self) -> None:
        """Nothing is measured: there is one set of rewrites."""

    @property
    def source_name(self) -> str:
        """The checkpoint as the summary shows it: its folder's name, or which random weights."""
        return self.source.name

    def facts(self) -> dict:
        """What decides the bundle's content besides its targets, as JSON can hold it."""
        return {
            "model": "diffharmony",
            "source_sha256": self.source_sha256,
            "inference_size": list(self.inference_size),
            "output_size": list(self.output_size),
            "precision": self.precision,
            "steps": list(self.step_counts),
            "compute_capabilities": list(self.options.compute_capabilities),
            **tensorrt_facts(self.options),
            **({"weight_streaming": True} if self.options.weight_streaming else {}),
        }


def expand_recipes(
    source: Source,
    inference_size: tuple[int, int],
    output_size: tuple[int, int] | None,
    precisions: Sequence[str],
    targets: Sequence[str],
    step_counts: Sequence[int],
    options: BuildOptions,
) -> list[DiffusionRecipe]:
    """One recipe per precision.

    Args:
        source: where the networks come from.
        inference_size: [height, width] of stage one.
        output_size: of stage two; None for 256 or, without a refiner, stage one's.
        precisions: of :data:`PRECISIONS`.
        targets: names of the vocabulary.
        step_counts: the first is the default.
        options: common to all engines.

    Raises:
        HarmonyError: a value that is not known or cannot be, or a package that is missing.
    """
    for what, given, known in (("precision", precisions, PRECISIONS), ("target", targets, TARGETS)):
        check_known(what, given, known, "is not possible for diffharmony")
    wrong = next((count for count in step_counts if not 1 <= count <= MOST_STEPS), None)
    if wrong is not None or not step_counts:
        raise HarmonyError(f"--steps {wrong} is not possible; give numbers from 1 to {MOST_STEPS}")
    if not source.refines and output_size not in (None, inference_size):
        raise HarmonyError("an output size of its own needs a refiner: give --refiner DIR, or leave --output-size out")
    small = output_size or ((256, 256) if source.refines else inference_size)
    if min(inference_size) < SMALLEST_INFERENCE:
        raise HarmonyError(
            f"inference size {size_name(inference_size)} is too small: below {SMALLEST_INFERENCE} pixels the UNet's"
            f" deepest level has nothing left; give {SMALLEST_INFERENCE} or more (the networks were trained at 512)"
        )
    counts = tuple(dict.fromkeys(step_counts))

    def make(
        precision: str, targets: tuple[str, ...], skipped: tuple[Skipped, ...], options: BuildOptions
    ) -> DiffusionRecipe:
        sha256 = source.sha256()
        return DiffusionRecipe(source, sha256, inference_size, small, precision, counts, targets, skipped, options)

    return recipes_of([inference_size], precisions, targets, options, make)
