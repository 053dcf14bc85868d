"""Grids of pictures to look at: rows of composite | mask | harmonized | real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from harmonyrt.common.files import written_whole


def to_uint8(picture: Tensor) -> np.ndarray:
    """(3,H,W) or (1,H,W) in [0, 1] -> (H,W,3) uint8."""
    pixels = (picture.detach().float().clamp(0, 1) * 255).round().byte().cpu().numpy()
    return np.repeat(pixels, 3, 0).transpose(1, 2, 0) if len(pixels) == 1 else pixels.transpose(1, 2, 0)


def picture_grid(columns: list[Tensor], across: int = 2) -> np.ndarray:
    """Columns of (B,C,H,W) -> one picture; sample n's columns stand side by side, `across` samples in a row."""
    gap = 4
    rows = []
    for n in range(len(columns[0])):
        parts = [to_uint8(column[n]) for column in columns]
        rows.append(np.concatenate(parts, 1))
    height, width = rows[0].shape[:2]
    down = -(-len(rows) // across)
    grid = np.full((down * (height + gap) - gap, across * (width + gap * 2) - gap * 2, 3), 255, np.uint8)
    for n, row in enumerate(rows):
        top, left = n // across * (height + gap), n % across * (width + gap * 2)
        grid[top : top + height, left : left + width] = row
    return grid


def save_grid(path: Path, columns: list[Tensor], across: int = 2) -> None:
    """Write :func:`picture_grid` as PNG, whole or not at all."""
    with written_whole(path) as scratch:
        Image.fromarray(picture_grid(columns, across)).save(scratch)
