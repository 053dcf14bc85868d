"""Where the mask of each frame comes from: a clip, a folder of pictures, a still, or the frames' own alpha."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images.mask_files import read_mask_file
from harmonyrt.runtime.images.masks import fitted_mask
from harmonyrt.video.colours import colour_space
from harmonyrt.video.pixel_formats import Layout, layout_of, workable
from harmonyrt.video.reading import Clip, VideoInfo

_PICTURES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".pgm", ".ppm", ".avif", ".gif"}
_LOSSLESS = {"ffv1", "png", "qtrle", "rawvideo", "huffyuv", "ffvhuff", "utvideo", "apng", "gif", "v210", "magicyuv"}
# A lossy codec rings around the mask's edge: values this near to black and white are taken as that.
DEAD_ZONE = 10


class Masks:
    """Masks of frames as they are stored, height x width uint8, 255 = foreground.

    Attributes:
        count: their number; None where one serves for all frames.
        notes: sentences for the user about how they were read.
    """

    def __init__(
        self, source: str | Path | np.ndarray, shot: VideoInfo, fit: bool = False, invert: bool = False
    ) -> None:
        self._shot, self._fit, self._invert = shot, fit, invert
        self.notes: list[str] = []
        self.count: int | None = None
        self._clip: Clip | None = None
        self._still: np.ndarray | None = None
        self._names: list[Path] = []
        if isinstance(source, np.ndarray):
            self._still = self._placed(np.where(source, np.uint8(255), np.uint8(0)) if source.dtype == bool else source)
            return
        path = Path(source)
        if path.is_dir():
            self._names = _pictures(path)
            self.count = len(self._names)
        elif path.suffix.lower() in _PICTURES:
            found = read_mask_file(path)
            self.notes += found.notes
            self._still = self._placed(found.values)
        else:
            self._clip = Clip(path, "the mask clip")
            self.count = self._clip.count()

    def __iter__(self) -> Iterator[np.ndarray]:
        if self._still is not None:
            return itertools.repeat(self._still)
        if self._clip is not None:
            return self._of_clip(self._clip)
        return (self._placed(read_mask_file(path).values) for path in self._names)

    def _of_clip(self, clip: Clip) -> Iterator[np.ndarray]:
        info, table, layout = clip.info, None, None
        for frame in clip.frames():
            frame = workable(frame)
            if layout is None or table is None:
                layout = layout_of(frame.format.name)
                table = _levels(layout, info)
            plane = layout.planes(frame)[0]
            yield self._placed(table[plane], info)

    def _placed(self, mask: np.ndarray, own: VideoInfo | None = None) -> np.ndarray:
        """The mask as the shot's frames are stored: what is shown upright is turned as they are."""
        shot = self._shot
        same = own is not None and own.matrix == shot.matrix
        if not same:
            if own is not None:
                mask = upright(mask, own)
            mask = stored(mask, shot)
        mask = fitted_mask(mask, shot.width, shot.height, self._fit)
        return 255 - mask if self._invert else mask

    def close(self) -> None:
        """Close the mask clip, if it is one."""
        if self._clip is not None:
            self._clip.close()


def upright(picture: np.ndarray, info: VideoInfo) -> np.ndarray:
    """A stored picture, height x width (x channels), as it is shown."""
    return np.rot90(np.fliplr(picture) if info.flipped else picture, info.turns)


def stored(picture: np.ndarray, info: VideoInfo) -> np.ndarray:
    """A picture as it is shown, as it is stored."""
    picture = np.rot90(picture, -info.turns)
    return np.ascontiguousarray(np.fliplr(picture) if info.flipped else picture)


def alpha_mask(plane: np.ndarray, bits: int) -> np.ndarray:
    """A frame's alpha as a mask of 8 bits: 0 only where it is 0."""
    if bits == 8:
        return np.ascontiguousarray(plane)
    highest = (1 << bits) - 1
    levels = (plane.astype(np.uint32) * 255 + highest // 2) // highest
    return np.where((levels == 0) & (plane > 0), 1, levels).astype(np.uint8)


def _levels(layout: Layout, info: VideoInfo) -> np.ndarray:
    """The mask's level for each value of the mask clip's first plane."""
    space = colour_space(info.tags, layout.kind, layout.bits, (info.width, info.height), layout.full_by_name)
    low = space.offset[0]
    high = low + 255 / space.to_rgb[0, 0]
    dead = 0 if info.codec in _LOSSLESS else DEAD_ZONE
    levels = (np.arange(space.highest + 1) - low) / (high - low) * 255
    levels = (levels - dead) / (255 - 2 * dead) * 255
    return np.clip(levels + 0.5, 0, 255).astype(np.uint8)


def _pictures(folder: Path) -> list[Path]:
    """The pictures of a folder, by the numbers in their names."""
    names = [p for p in folder.iterdir() if p.suffix.lower() in _PICTURES and not p.name.startswith(".")]
    if not names:
        raise HarmonyError(f"the folder {folder} has no pictures in it; give one mask for each frame")
    return sorted(names, key=lambda p: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", p.name)])


def check_count(masks: Masks, frames: int, shot: Any) -> None:
    """Refuse masks of another number than the shot's frames, before the work begins.

    Raises:
        HarmonyError: they differ.
    """
    if masks.count is not None and frames and masks.count != frames:
        raise HarmonyError(
            f"there are {masks.count} masks for the {frames} frames of {shot}; give one mask for each frame, or a"
            " still mask for all of them"
        )
