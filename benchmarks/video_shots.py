"""Shots with ground truth, made of photos: the camera stands, pans, zooms or is held by hand.

The truth is the photo itself. The shot is the same photo with its foreground recoloured, the same way in every frame,
so whatever changes from frame to frame in the answer is the network's. Camera noise is the same in both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 480, 270
KINDS = ("still", "pan", "zoom", "hand")
# Foreground colours of a shot: gains of red, green and blue, then what is added, in levels.
RECOLOURED = {"warm": (1.15, 1.0, 0.75, 6.0), "dark": (0.65, 0.68, 0.75, 2.0), "pale": (0.8, 0.8, 0.85, 45.0)}
STILL_NOISE, MOVING_NOISE = 3.0, 1.5  # standard deviation, in levels


@dataclass(frozen=True)
class ShotFrame:
    """One frame of a shot.

    Attributes:
        composite: height x width x 3 uint8.
        clean: the same without noise, float32.
        truth: float32, with the composite's noise.
        mask: height x width uint8.
        place: row and column of the frame's corner in the photo, where the camera moves by whole pixels; else None.
    """

    composite: np.ndarray
    clean: np.ndarray
    truth: np.ndarray
    mask: np.ndarray
    place: tuple[int, int] | None


def read_photo(picture: Path, mask: Path) -> tuple[np.ndarray, np.ndarray]:
    """A photo and its mask, large enough for a frame to move in."""
    photo, levels = Image.open(picture).convert("RGB"), Image.open(mask).convert("L")
    scale = max(WIDTH * 1.3 / photo.width, HEIGHT * 1.3 / photo.height)
    size = (round(photo.width * scale), round(photo.height * scale))
    large = [np.asarray(p.resize(size, Image.Resampling.BICUBIC)) for p in (photo, levels)]
    return large[0], large[1]


def shot(photo: np.ndarray, mask: np.ndarray, kind: str, recoloured: str, frames: int) -> Iterator[ShotFrame]:
    """The frames of a shot.

    Args:
        photo: height x width x 3 uint8.
        mask: height x width uint8.
        kind: of :data:`KINDS`.
        recoloured: of :data:`RECOLOURED`.
        frames: how many.
    """
    *gains, added = RECOLOURED[recoloured]
    share = mask[..., None].astype(np.float32) / 255
    wrong = photo + share * (np.clip(photo * np.array(gains) + added, 0, 255) - photo)
    rng = np.random.default_rng(0)
    sigma = STILL_NOISE if kind == "still" else MOVING_NOISE
    room = (photo.shape[0] - HEIGHT, photo.shape[1] - WIDTH)
    hand = np.cumsum(rng.normal(0, 1.2, (frames, 2)), 0)
    for index in range(frames):
        noise = rng.normal(0, sigma, (HEIGHT, WIDTH, 3)).astype(np.float32)
        t = index / max(frames - 1, 1)
        zoom = 1 + 0.3 * t if kind == "zoom" else None
        top, left = room[0] // 2, room[1] // 2
        if kind == "pan":
            left = round(room[1] * t)
        if kind == "hand":
            top, left = (int(np.clip(a // 2 + b, 0, a)) for a, b in zip(room, hand[index], strict=True))
        planes = [_view(a, top, left, zoom) for a in (wrong, photo.astype(np.float32), mask.astype(np.float32))]
        composite = np.clip(planes[0] + noise + 0.5, 0, 255).astype(np.uint8)
        levels = np.clip(planes[2] + 0.5, 0, 255).astype(np.uint8)
        yield ShotFrame(composite, planes[0], planes[1] + noise, levels, None if zoom else (top, left))


def _view(picture: np.ndarray, top: int, left: int, zoom: float | None) -> np.ndarray:
    if zoom is None:
        return picture[top : top + HEIGHT, left : left + WIDTH].astype(np.float32)
    high, wide = HEIGHT * 1.3 / zoom, WIDTH * 1.3 / zoom
    middle = (picture.shape[1] / 2, picture.shape[0] / 2)
    box = (middle[0] - wide / 2, middle[1] - high / 2, middle[0] + wide / 2, middle[1] + high / 2)
    channels = picture.reshape(*picture.shape[:2], -1).transpose(2, 0, 1).astype(np.float32)
    views = [
        np.asarray(Image.fromarray(c).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box=box)) for c in channels
    ]
    return views[0] if picture.ndim == 2 else np.stack(views, -1)
