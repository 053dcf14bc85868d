"""Pictures and masks on disk, their splits, and a cache of them in memory.

A data root holds any number of folders with ``images/`` and ``masks/`` (same stems), and folders of photos without
masks. Optional lists are in the root: ``low_chroma.txt`` (near-grey pictures, left out: nothing about colour can be
learned from them), ``near_duplicates.txt`` (pairs that must share a split) and ``outlines.json`` (COCO polygons: masks
for photos that have none, and more objects in those that have one).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.training.files import Photo, read_mask_of, read_photo
from harmonyrt.training.outlines import Outline, read_outlines, shipped_outlines

Split = Literal["train", "val", "test"]
SUFFIXES = (".jpg", ".jpeg", ".png")
_TEXTS = (".txt", ".md", ".csv", ".json")
"""Suffixes of files next to pictures that describe them."""
SHARES = {"ccp": (0.085, 0.035)}
"""(test, val) shares by source folder where they differ from the default: street fashion would fill both splits."""
DEFAULT_SHARES = (0.22, 0.10)


@dataclass(frozen=True)
class Picture:
    """One photo: `name` is its path below the data root, `mask` the path of its mask where it has one.

    `outlines` are objects in it besides that mask: for training, never for validation or test.
    """

    name: str
    image: Path
    mask: Path | None
    split: Split
    outlines: tuple[Outline, ...] = ()

    @property
    def masks(self) -> tuple[Path | Outline, ...]:
        """All of its masks: the file's, then one per outline."""
        return (*((self.mask,) if self.mask else ()), *self.outlines)

    @property
    def source(self) -> str:
        """Folder that it came from, for example ``coco_by``."""
        parts = Path(self.name).parts[:-1]
        return next((part for part in reversed(parts) if part not in ("images", "photos")), "")


def find_pictures(root: str | Path) -> list[Picture]:
    """All usable pictures below a data root, sorted by name, each with its split.

    The split is decided per group of near-duplicates, by a hash of the group's first name: it does not change when
    pictures are added or when the folder moves. Only pictures with masks are drawn for test and validation; a photo
    without mask that resembles one of them is in their split, and so out of training.

    Raises:
        HarmonyError: the folder is missing or holds no pictures, or its outlines.json is no COCO file.
    """
    root = Path(root)
    if not root.is_dir():
        raise HarmonyError(f"{root} is not a folder; give a folder of pictures, or one with images/ and masks/ in it")
    found = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or path.parent.name == "masks":
            continue
        mask = None
        if path.parent.name == "images":
            mask = path.parent.parent / "masks" / f"{path.stem}.png"
            mask = mask if mask.exists() else None
        found[path.relative_to(root).as_posix()] = (path, mask)
    if not found:
        raise HarmonyError(f"{root} holds no .jpg or .png pictures; give a folder of pictures")
    for line in _lines(root / "low_chroma.txt"):
        found.pop(line.split("\t")[0].split(" ")[0], None)
    groups = _groups(found, (line.split() for line in _lines(root / "near_duplicates.txt")))
    outlines = shipped_outlines()
    if (root / "outlines.json").exists():
        outlines = outlines | read_outlines(root / "outlines.json")
    pictures = []
    for group in groups:
        split = _split_of(group, found)
        for name in group:
            drawn = outlines.get(name, ()) if split == "train" else ()
            pictures.append(Picture(name, *found[name], split, drawn))
    return sorted(pictures, key=lambda picture: picture.name)


def passed_over(root: str | Path) -> list[str]:
    """Files below a data root that :func:`find_pictures` does not take, and no list leaves out.

    Returns:
        Their paths below the root, sorted; hidden files, and texts next to pictures, are not counted.
    """
    root = Path(root)
    used = {path for picture in find_pictures(root) for path in (picture.image, picture.mask)}
    grey = {line.split("\t")[0].split(" ")[0] for line in _lines(root / "low_chroma.txt")}
    grey_stems = {Path(name).stem for name in grey}
    found = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        left_out = name.as_posix() in grey or (path.parent.name == "masks" and path.stem in grey_stems)
        hidden = any(part.startswith(".") for part in name.parts)
        if not (path in used or left_out or hidden or path.suffix.lower() in _TEXTS) and not path.is_dir():
            found.append(name.as_posix())
    return found


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.strip()] if path.exists() else []


def _groups(names: Iterable[str], pairs: Iterable[list[str]]) -> list[list[str]]:
    """Names joined by pairs, or by a shared stem: the same COCO picture can be in two folders."""
    parent = {name: name for name in names}

    def top(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    def join(a: str, b: str) -> None:
        first, second = sorted((top(a), top(b)))
        parent[second] = first

    by_stem: dict[str, str] = {}
    for name in sorted(parent):
        join(by_stem.setdefault(Path(name).stem, name), name)
    for a, b, *_ in pairs:
        if a in parent and b in parent:
            join(a, b)
    groups: dict[str, list[str]] = {}
    for name in sorted(parent):
        groups.setdefault(top(name), []).append(name)
    return list(groups.values())


def _split_of(group: list[str], found: dict[str, tuple[Path, Path | None]]) -> Split:
    masked = [name for name in group if found[name][1] is not None]
    if not masked:
        return "train"
    point = int.from_bytes(hashlib.sha256(masked[0].encode()).digest()[:8], "big") / 2**64
    parts = Path(masked[0]).parts
    test, val = next((SHARES[part] for part in parts if part in SHARES), DEFAULT_SHARES)
    return "test" if point < test else "val" if point < test + val else "train"


class Album:
    """Decoded pictures and masks in memory, at full and half size.

    A crop is cut from the smallest version that has enough pixels, so a 64-pixel crop does not pay for filtering 288.
    """

    def __init__(self, pictures: list[Picture]) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    @functools.cache  # noqa: B019 - an album lives as long as its run
    def _photo(self, index: int) -> Photo:
        return read_photo(self.pictures[index].image)

    @functools.cache  # noqa: B019
    def _versions(self, index: int, which: int | None) -> tuple[Image.Image, Image.Image]:
        """Mask `which` of a picture, or (None) the picture itself, at full and half size."""
        picture, photo = self.pictures[index], self._photo(index)
        if which is None:
            full = photo.image
        else:
            source = picture.masks[which]
            if isinstance(source, Outline):
                full = source.mask(photo.size)
            else:
                full = read_mask_of(source, photo, picture.image)
        return full, full.reduce(2)

    def load(self) -> None:
        """Decode everything now (some seconds), before worker processes copy the album."""
        for index in range(len(self)):
            for which in (None, *range(self.masks(index))):
                self._versions(index, which)

    def masks(self, index: int) -> int:
        """How many masks a picture has."""
        return len(self.pictures[index].masks)

    def size(self, index: int) -> tuple[int, int]:
        """(width, height) of the upright picture."""
        return self._photo(index).size

    def crop(
        self, index: int, box: tuple[float, float, float, float], size: int, mask: bool = False, which: int = 0
    ) -> Image.Image:
        """A part of a picture or its mask, resized to a square.

        Args:
            index: which picture.
            box: (left, top, right, bottom) as shares of width and height.
            size: side of the result in pixels.
            mask: the mask ("L") instead of the picture ("RGB").
            which: which mask, of a picture with several.
        """
        full, half = self._versions(index, which if mask else None)
        width, height = full.size
        enough = min((box[2] - box[0]) * width, (box[3] - box[1]) * height) / 2 >= size
        source = half if enough else full
        width, height = source.size
        pixels = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
        return source.resize((size, size), Image.Resampling.BILINEAR, box=pixels)
