"""The network's change, applied to a frame's own planes.

Colour maps (:mod:`harmonyrt.runtime.colour_maps`) are affine in RGB, and RGB is affine in a clip's values, so the
change of Y, U and V is affine in Y, U and V: no frame is ever converted. A map's coefficients are converted instead,
once per cell of the grid, and since they are linear in the cells' scales and shifts, interpolating them between cells
gives what converting every pixel would give. Values whose mask is 0 are not touched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harmonyrt.runtime.colour_maps import ColourMaps
from harmonyrt.runtime.pools import Pool, in_threads
from harmonyrt.runtime.resample import Taps, column_blocks, product, taps
from harmonyrt.video.colours import ColourSpace

_ROWS, _COLUMNS = 64, 128  # of a tile, in chroma samples: what lies between steps stays in the cache


@dataclass(frozen=True)
class Change:
    """The change of a frame's values, for each cell of a grid.

    Attributes:
        coefficients: grid height x (P + 1) * P x grid width float32: how much of each plane's value, and at last of 1,
            is added to each plane; number ``i * P + j`` is how much of value i is added to plane j.
        highest: the largest value of a plane.
    """

    coefficients: np.ndarray
    highest: int


def change_of(maps: ColourMaps, space: ColourSpace, strength: float = 1.0) -> Change:
    """The maps' change in a clip's own colour space.

    Args:
        maps: from RGB to RGB.
        space: of the planes.
        strength: share of the change; it scales the maps, before anything is clipped.
    """
    turned = space.to_rgb @ maps.matrix.astype(np.float64)
    linear = np.einsum("pc,hwc,cq->pqhw", turned, maps.scale, space.from_rgb, optimize=True)
    linear -= np.eye(len(space.offset))[:, :, None, None]
    constant = np.einsum("hwc,cq->qhw", maps.shift, space.from_rgb)
    constant -= np.tensordot(space.offset, linear, 1)
    whole = np.concatenate([linear, constant[None]])
    count, planes, height, width = whole.shape
    rows = (whole * strength).reshape(count * planes, height, width).transpose(1, 0, 2)
    return Change(np.ascontiguousarray(rows, np.float32), space.highest)


def apply_change(planes: list[np.ndarray], mask: np.ndarray, change: Change, pool: Pool = None) -> None:
    """Change a frame's values in place: each becomes ``value + mask / 255 * change``, rounded and clipped to its codes.

    Chroma of fewer samples than luma has the mean of its pixels' mask, and changes where any of them is in the mask.

    Args:
        planes: P of height x width; the second and third may have fewer rows and columns.
        mask: height x width uint8, as the first plane.
        change: from :func:`change_of`.
        pool: threads to share the work over.
    """
    height, width = mask.shape
    chroma_height, chroma_width = planes[-1].shape
    down, across = -(-height // chroma_height), -(-width // chroma_width)
    rows_used = np.flatnonzero(mask.any(axis=1))
    if not rows_used.size:
        return
    first, last = rows_used[0] // down, rows_used[-1] // down + 1
    grid_height, _, grid_width = change.coefficients.shape
    small = _Columns(grid_width, chroma_width)
    full = small if across == 1 else _Columns(grid_width, width, across)

    def strip(top: int) -> None:
        bottom = min(top + _ROWS, last)
        _strip(planes, mask, change, (top, bottom), (down, across), (small, full), grid_height)

    in_threads(strip, range(first, last, _ROWS), pool)


class _Columns:
    """Weights of a line's samples over a grid's cells, tile by tile."""

    def __init__(self, cells: int, width: int, factor: int = 1) -> None:
        self.tiles = column_blocks(cells, width, _COLUMNS * factor, 1)


def _strip(planes, mask, change, rows, steps, columns, grid_height) -> None:
    """One strip of rows (of chroma), tile by tile."""
    (top, bottom), (down, across) = rows, steps
    height, width = mask.shape
    count = len(planes)
    chroma_height = planes[-1].shape[0]
    coefficients = change.coefficients
    first, last = top * down, min(bottom * down, height)
    near = _interpolated_rows(coefficients, taps(grid_height, chroma_height, top, bottom))
    luma_rows = None
    if down > 1 or across > 1:
        luma_rows = _interpolated_rows(coefficients[:, :1], taps(grid_height, height, first, last))
    for index, (part, weights) in enumerate(columns[0].tiles):
        left, right = part.start * across, min(part.stop * across, width)
        soft = mask[first:last, left:right]
        if not soft.any():
            continue
        maps = _interpolated(near, part, weights)
        share = soft.astype(np.float32) * np.float32(1 / 255)
        small = [plane[top:bottom, part.start : part.stop].astype(np.float32) for plane in planes[1:]]
        luma = planes[0][first:last, left:right]
        values = luma.astype(np.float32)
        if luma_rows is None:
            _same_size(planes, [values, *small], maps, share, (top, bottom, part.start, part.stop), change.highest)
            continue
        shape = small[0].shape
        mean, few = mean_of_blocks(values, shape, (down, across)), mean_of_blocks(share, shape, (down, across))
        every = [mean, *small]
        deltas = [_combined(maps, every, j) for j in range(1, count)]
        rest = _combined(maps[count:], small, 0)
        own = _interpolated(luma_rows, *columns[1].tiles[index])[0]
        own *= values
        own += np.repeat(np.repeat(rest, down, 0), across, 1)[: own.shape[0], : own.shape[1]]
        _added(luma, values, own, share, change.highest)
        for plane, value, delta in zip(planes[1:], small, deltas, strict=True):
            _added(plane[top:bottom, part.start : part.stop], value, delta, few, change.highest)


def _same_size(planes, values, maps, share, where, highest) -> None:
    """A tile whose planes all have the luma's size."""
    top, bottom, left, right = where
    count = len(planes)
    for j in range(count):
        _added(planes[j][top:bottom, left:right], values[j], _combined(maps, values, j), share, highest)


def _interpolated_rows(coefficients: np.ndarray, rows: Taps) -> np.ndarray:
    """Coefficients of a grid at lines of a plane: lines x coefficients x grid width."""
    near = coefficients[rows.first : rows.last]
    lines = np.empty((len(rows.weights), near[0].size), np.float32)
    product(rows.weights, near.reshape(len(near), -1), lines)
    return lines.reshape(-1, *near.shape[1:])


def _interpolated(lines: np.ndarray, part: Taps, weights: np.ndarray) -> np.ndarray:
    """Coefficients of a tile: coefficients x lines x columns."""
    count, of_each = lines.shape[:2]
    near = np.ascontiguousarray(lines[:, :, part.first : part.last]).reshape(count * of_each, -1)
    maps = np.empty((len(near), weights.shape[1]), np.float32)
    product(near, weights, maps)
    return maps.reshape(count, of_each, -1).transpose(1, 0, 2)


def _combined(maps: np.ndarray, values: list[np.ndarray], plane: int) -> np.ndarray:
    """What is added to a plane: each value times its coefficient, and the constant."""
    step = 3 if len(maps) > 2 else 1
    delta = maps[len(values) * step + plane].copy()
    for i, value in enumerate(values):
        delta += maps[i * step + plane] * value
    return delta


def _added(target: np.ndarray, values: np.ndarray, delta: np.ndarray, share: np.ndarray, highest: int) -> None:
    delta *= share
    delta += values
    delta += np.float32(0.5)
    np.clip(delta, 0, highest, out=delta)
    target[...] = delta  # truncates, which is floor here: nothing is below 0


def mean_of_blocks(values: np.ndarray, shape: tuple[int, int], steps: tuple[int, int]) -> np.ndarray:
    """Means of blocks; a block at the border has what is there."""
    down, across = steps
    rows, columns = shape[0] * down, shape[1] * across
    if values.shape != (rows, columns):
        values = np.pad(values, ((0, rows - values.shape[0]), (0, columns - values.shape[1])), mode="edge")
    total = values[0::down, 0::across].copy()
    for y in range(down):
        for x in range(across):
            if y or x:
                total += values[y::down, x::across]
    total *= np.float32(1 / (down * across))
    return total
