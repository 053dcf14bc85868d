"""Real composites for parity gates and calibration: objects cut from shipped pictures and pasted on other ones.

Deterministic at every size. The pictures and their licences are in export/parity_pictures (CREDITS.csv).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

PICTURES = Path(__file__).resolve().parents[1] / "parity_pictures"
_BICUBIC = Image.Resampling.BICUBIC
_GATE_PIXELS = 12 * 256 * 256  # what one gate may cost: twelve composites at 256 x 256


@dataclass(frozen=True)
class Composite:
    """One picture to harmonize, as the engines take it.

    Attributes:
        name: for messages, for example ``"cow on clock"``.
        image: float32 (1,3,H,W), RGB in [0, 1].
        mask: float32 (1,1,H,W) in [0, 1], 1 = foreground.
        extreme: an edge case (no foreground, one pixel, nothing but foreground): has to stay finite, while a network
            of any precision may answer it as it likes.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray
    extreme: bool = False


@lru_cache(maxsize=1)
def _cutouts() -> tuple[tuple[str, Image.Image, Image.Image], ...]:
    paths = sorted(PICTURES.glob("*.jpg"))
    return tuple(
        (path.stem, Image.open(path).convert("RGB"), Image.open(path.with_suffix(".png")).convert("L"))
        for path in paths
    )


def most_composites() -> int:
    """How many different composites the shipped pictures make."""
    pictures = len(_cutouts())
    return pictures * (pictures - 1)


def composites(size: tuple[int, int], count: int) -> Iterator[Composite]:
    """Real composites: every object in turn on the next picture's background, then on the one after it, and so on.

    Args:
        size: [height, width].
        count: how many, up to :func:`most_composites`.

    Yields:
        Composites; all masks are 0/1 but one in seven, which is soft at its edges.
    """
    pictures = len(_cutouts())
    for number in range(min(count, most_composites())):
        shift, subject = divmod(number, pictures)
        yield _paste(subject, (subject + shift + 1) % pictures, size, soft=number % 7 == 6)


def extreme_composites(size: tuple[int, int]) -> Iterator[Composite]:
    """One pixel at even coordinates, one at odd ones (it vanishes in the mask pyramid), an empty and a full mask."""
    plain = _paste(0, 1, size, soft=False)
    height, width = size
    row, column = height // 4 * 2, width // 4 * 2
    for name, y, x in (("one even pixel", row, column), ("one odd pixel", row + 1, column + 1)):
        mask = np.zeros_like(plain.mask)
        mask[0, 0, y, x] = 1
        yield Composite(name, plain.image, mask, extreme=True)
    yield Composite("empty mask", plain.image, np.zeros_like(plain.mask), extreme=True)
    yield Composite("full mask", plain.image, np.ones_like(plain.mask), extreme=True)


def gate_composites(size: tuple[int, int]) -> Iterator[Composite]:
    """What gates an engine of this size: up to twelve real composites (fewer if they are large), and the extremes."""
    height, width = size
    affordable = _GATE_PIXELS // (height * width)
    yield from composites(size, max(2, min(12, affordable)))
    extremes = list(extreme_composites(size))
    yield from extremes if affordable > 2 else extremes[1::2]  # of large ones, those that are hardest: "odd", "full"


def _paste(subject: int, scene: int, size: tuple[int, int], soft: bool) -> Composite:
    height, width = size
    subject_name, foreground, matte = _cutouts()[subject]
    scene_name, background, _ = _cutouts()[scene]
    alpha = _pixels(matte, width, height)[..., None]
    mask = alpha if soft else (alpha > 0.5).astype(np.float32)
    image = _pixels(foreground, width, height) * mask + _pixels(background, width, height) * (1 - mask)
    image = np.round(image * 255) / np.float32(255)  # pictures have 8 bits
    name = f"{subject_name} on {scene_name}" + (", soft mask" if soft else "")
    return Composite(name, _nchw(image), _nchw(mask))


def _pixels(picture: Image.Image, width: int, height: int) -> np.ndarray:
    return np.asarray(picture.resize((width, height), _BICUBIC), np.float32) / np.float32(255)


def _nchw(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32)
