"""Composites and their masks in two folders, paired by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harmonyrt.common import HarmonyError

SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".jp2", ".avif"}


@dataclass(frozen=True)
class Pair:
    """A composite and its mask."""

    composite: Path
    mask: Path


@dataclass(frozen=True)
class Pairing:
    """What two folders hold: pairs, and pictures that have no partner."""

    pairs: tuple[Pair, ...]
    without_mask: tuple[Path, ...]
    without_composite: tuple[Path, ...]


def paired(composites: Path, masks: Path) -> Pairing:
    """Pair `composites/NAME.jpg` with `masks/NAME.png`, whatever the suffixes.

    A composite NAME_1 that has no mask of its own takes the mask NAME, as in iHarmony4, where several composites
    share a mask. Folders inside the folders are not entered; names that begin with a dot are passed over.

    Raises:
        HarmonyError: a folder cannot be listed, there is no pair, or two masks have the same name.
    """
    by_stem: dict[str, Path] = {}
    for path in _pictures(masks):
        if path.stem in by_stem:
            raise HarmonyError(
                f"{by_stem[path.stem]} and {path} would both be the mask {path.stem}; remove one of them"
            )
        by_stem[path.stem] = path
    pairs, without_mask, used = [], [], set()
    for composite in _pictures(composites):
        mask = by_stem.get(composite.stem) or by_stem.get(composite.stem.rpartition("_")[0])
        if mask is None:
            without_mask.append(composite)
        else:
            pairs.append(Pair(composite, mask))
            used.add(mask)
    if not pairs:
        raise HarmonyError(
            f"no picture in {composites} has a mask of the same name in {masks}; name them alike (photo.jpg, photo.png)"
        )
    return Pairing(tuple(pairs), tuple(without_mask), tuple(sorted(set(by_stem.values()) - used)))


def _pictures(folder: Path) -> list[Path]:
    try:
        return sorted(
            p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
        )
    except OSError as error:
        raise HarmonyError(f"{folder} cannot be listed ({error.strerror}); give a readable folder") from None
