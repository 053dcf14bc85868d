"""Datasets in iHarmony4's folder layout: composites, masks and real photos, paired by file name.

    DATA/composite_images/NAME_MASK_VARIANT.jpg   DATA/masks/NAME_MASK.png   DATA/real_images/NAME.jpg
    DATA/<anything>test.txt                       one composite per line: the file name, or its path below DATA

A folder of such folders (iHarmony4's own four subsets) is read as their union. A list may also lie above the subsets
(IHD_test.txt); its lines then begin with the subset's folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harmonyrt.common import HarmonyError

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True)
class Pair:
    """One composite with its mask and the photo that it should become, and the folder (subset) that it is from."""

    name: str
    composite: Path
    mask: Path
    real: Path
    subset: str = ""


def read_split(root: str | Path, split: str = "test") -> list[Pair]:
    """The pairs of a split, sorted by name.

    Args:
        root: the dataset's folder, or the folder of its subsets.
        split: ``"train"``, ``"val"`` or ``"test"``; ``"all"`` takes every composite, listed or not.

    Raises:
        HarmonyError: no such folder, not this layout, no list for the split, or a listed picture without its pair.
    """
    root = Path(root)
    if not root.is_dir():
        raise HarmonyError(f"{root} is not a folder; give a dataset in iHarmony4's layout")
    subsets = [p.parent for p in sorted([*root.glob("composite_images"), *root.glob("*/composite_images")])]
    if not subsets:
        raise HarmonyError(
            f"{root} has no folder composite_images; give a dataset in iHarmony4's layout, as `synthesize` writes it"
        )
    pairs = [pair for subset in subsets for pair in _read_subset(subset, split, root)]
    if not pairs:
        raise HarmonyError(f"{root} lists no composites in its split {split!r}; choose another split")
    return pairs


def _read_subset(subset: Path, split: str, root: Path) -> list[Pair]:
    composites = subset / "composite_images"
    if split == "all":
        names = sorted(p.name for p in composites.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
    else:
        lines = _lines(sorted(subset.glob(f"*{split}.txt")))
        above = sorted(root.glob(f"*{split}.txt")) if subset != root else []
        if lines is None and above:
            lines = [line for line in _lines(above) or [] if Path(line).parts[:1] == (subset.name,)]
        if lines is None:
            raise HarmonyError(f"{subset} has no list *{split}.txt; choose another split, or 'all'")
        names = sorted({Path(line).name for line in lines})
    return [_pair(subset, composites / name) for name in names]


def _lines(lists: list[Path]) -> list[str] | None:
    """The entries of lists; None without a list."""
    if not lists:
        return None
    lines = (line.strip() for path in lists for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def _pair(root: Path, composite: Path) -> Pair:
    parts = composite.stem.rsplit("_", 2)
    if len(parts) != 3:
        raise HarmonyError(f"{composite} is not named NAME_MASK_VARIANT, as iHarmony4 does; rename it or its list")
    name, mask, _variant = parts
    return Pair(
        composite.stem,
        _existing(root / "composite_images", composite.stem),
        _existing(root / "masks", f"{name}_{mask}"),
        _existing(root / "real_images", name),
        root.name or root.resolve().name,
    )


def _existing(folder: Path, stem: str) -> Path:
    for suffix in PICTURE_SUFFIXES:
        for path in (folder / f"{stem}{suffix}", folder / f"{stem}{suffix.upper()}"):
            if path.is_file():
                return path
    raise HarmonyError(f"{folder / stem}.jpg (or .png, …) is missing; complete the dataset or its list")
