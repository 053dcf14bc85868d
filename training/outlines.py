"""Outlines of objects, in COCO's annotation format: masks for training besides those that come as files.

``outlines.json`` next to this file holds some for the photos that the shipped weights were trained on; docs/training.md
says how they were drawn.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from harmonyrt.common import HarmonyError

SHIPPED = Path(__file__).parent / "outlines.json"
SMOOTHING = 4
"""Masks are drawn this many times as large and reduced, for a soft edge."""


@dataclass(frozen=True)
class Outline:
    """One object: the polygons of its visible parts, as (x, y) shares of the photo's width and height."""

    polygons: tuple[tuple[tuple[float, float], ...], ...]

    def mask(self, size: tuple[int, int]) -> Image.Image:
        """Mask ("L", 255 inside) of `size` (width, height) pixels."""
        width, height = size[0] * SMOOTHING, size[1] * SMOOTHING
        mask = Image.new("L", (width, height))
        draw = ImageDraw.Draw(mask)
        for polygon in self.polygons:
            draw.polygon([(x * width - 0.5, y * height - 0.5) for x, y in polygon], fill=255)
        return mask.reduce(SMOOTHING)


def read_outlines(path: str | Path) -> dict[str, tuple[Outline, ...]]:
    """Outlines by ``file_name`` from a COCO annotation file with polygons.

    Categories are not looked at. Run-length masks and crowds (``iscrowd``) are passed over.

    Raises:
        HarmonyError: the file is missing or is not COCO's format.
    """
    try:
        content = json.loads(Path(path).read_text())
        images = {image["id"]: image for image in content["images"]}
        found: dict[str, tuple[Outline, ...]] = {}
        for annotation in content["annotations"]:
            parts = annotation["segmentation"]
            if annotation.get("iscrowd") or not isinstance(parts, list):
                continue
            image = images[annotation["image_id"]]
            width, height = image["width"], image["height"]
            polygons = tuple(
                tuple((x / width, y / height) for x, y in zip(part[::2], part[1::2], strict=True)) for part in parts
            )
            if not polygons or min(map(len, polygons)) < 3:
                raise ValueError(f"annotation {annotation.get('id')} has a polygon of fewer than 3 points")
            found[image["file_name"]] = (*found.get(image["file_name"], ()), Outline(polygons))
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise HarmonyError(
            f"{path} is not a COCO annotation file with polygons ({error!r}); fix it or remove it"
        ) from None
    return found


@functools.cache
def shipped_outlines() -> dict[str, tuple[Outline, ...]]:
    """The project's own, read once (a fifth of a second)."""
    return read_outlines(SHIPPED)
