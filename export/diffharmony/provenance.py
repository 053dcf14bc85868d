"""Which file each part of a DiffHarmony came from, with its hash: for the build's output and the manifest."""

from __future__ import annotations

from pathlib import Path

from harmonyrt.export.build.recipe import file_sha256
from harmonyrt.export.diffharmony.recipe import Source

Provenance = dict[str, list[dict[str, str]]]
"""Files by part (``unet``, ``vae``, ``scheduler``, ``text_encoder``, ``refiner``): ``path`` below the folder that was
named, that folder's name first, and ``sha256``."""


def provenance(source: Source) -> Provenance:
    """The files that a source's parts are read from; {} with random weights.

    Raises:
        HarmonyError: a folder that is missing or holds no weights.
    """
    if source.checkpoint is None:
        return {}
    from harmonyrt.models.diffharmony.parts import find_parts

    parts = find_parts(source.checkpoint, base=source.base, harmony_vae=source.harmony_vae, refiner=source.refiner)
    roots = [folder for folder in (source.refiner, source.harmony_vae, source.checkpoint, source.base) if folder]
    return {
        name: [{"path": _named(path, roots), "sha256": file_sha256(path)} for path in files]
        for name, files in parts.files().items()
    }


def _named(path: Path, roots: list[Path]) -> str:
    """A path from the folder that the user named on: it says nothing about the building machine."""
    root = next(root for root in roots if path.is_relative_to(root))
    return (Path(root.resolve().name) / path.relative_to(root)).as_posix()
