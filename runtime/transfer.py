"""Upsampling the network's edit to the picture's own size, with the picture's own detail.

A composite of exactly the engine's size gets the network's picture itself, as published. Any other size, smaller ones
included, gets the *change* that the network made: its picture has been through a resize, which blurs.

At engine size the change of the foreground is described as colour maps: one 3x3 matrix for the whole foreground, and
for each cell of a coarse grid a scale and a shift per channel, fitted over a window around the cell, weighted by the
mask (after the fast guided filter, He and Sun 2015, arXiv 1505.00996, with a prior where the guided filter has zero).
At full size every pixel gets the maps of its place, interpolated between cells. What the maps were chosen over, and
the arithmetic in words for other languages, is in docs/full_resolution.md.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harmonyrt.runtime.controls import PLAIN, Controls
from harmonyrt.runtime.fit import Fitted, fit_image
from harmonyrt.runtime.resample import Pool, Taps, column_blocks, in_threads, product, taps

# Chosen by benchmarks/studies/upsample_edit.py; docs/full_resolution.md has the table.
GRID = 64  # cells along the longer side of the engine's picture
WINDOW = (1, 2, 3, 2, 1)  # weights of a window's cells, in each direction
SLOPE_RIDGE = 1e-3  # pulls a cell's scales towards 1; variance of colours in [0, 1]
MATRIX_RIDGE = 1e-4  # pulls the matrix towards the identity
FEW = 1e-6  # weight per cell, in engine pixels, of the whole foreground's averages
MOST = 4.0  # largest scale: what amplifies more would mostly amplify noise

_CELLS = 8  # cells that are summed in one product
_STRIP = 256  # rows of a tile at full size
_TILE = 64  # columns of a tile
_MIX = 16  # pixels that one row of the colour product holds


@dataclass(frozen=True)
class ColourMaps:
    """Maps from composite to harmonized colours, both in [0, 255].

    Attributes:
        matrix: 3 x 3 float32; colours as rows are multiplied from the left: ``colour @ matrix``.
        scale: grid height x grid width x 3, float32.
        shift: the same shape.
    """

    matrix: np.ndarray
    scale: np.ndarray
    shift: np.ndarray


def fit_maps(fitted: Fitted, output: np.ndarray) -> ColourMaps:
    """Describe what the network did to the foreground as colour maps.

    Args:
        fitted: the composite and mask as the network saw them.
        output: 3 x height x width, the network's picture before blending; values outside [0, 1] are clipped.
    """
    sums, mean_in, mean_out = _grid_sums(fitted.image, output, fitted.mask)
    _, grid_height, grid_width = sums.shape
    windows = _window_sums(_window_sums(sums, 1), 2).transpose(1, 2, 0)
    weight, sum_in, sum_out = windows[..., :1], windows[..., 1:4], windows[..., 4:7]
    squares = _symmetric(windows[..., 7:13])  # (…, i, j): sum of in_i * in_j
    products = windows[..., 13:22].reshape(grid_height, grid_width, 3, 3)  # sum of in_i * out_j

    # The matrix: from covariances inside windows, so that a change from place to place does not pass for one of hue.
    some = np.maximum(weight, 1e-30)[..., None]
    total = weight.sum()
    within = (squares - sum_in[..., :, None] * sum_in[..., None, :] / some).sum((0, 1)) / total
    across = (products - sum_in[..., :, None] * sum_out[..., None, :] / some).sum((0, 1)) / total
    ridge = MATRIX_RIDGE * np.eye(3)
    change = np.linalg.solve(within + ridge, across + ridge) - np.eye(3)
    matrix = np.eye(3) + change * min(1.0, (MOST - 1) / max(float(np.linalg.norm(change)), 1e-30))

    # Each cell's scale and shift, of colours that the matrix has turned already.
    cell = fitted.mask.size / (grid_height * grid_width)
    n = weight + FEW * cell
    turned = sum_in / n @ matrix
    average = sum_out / n
    variance = (matrix * (squares / n[..., None] @ matrix)).sum(-2) - turned**2
    covariance = (matrix * (products / n[..., None])).sum(-2) - turned * average
    scale = (covariance + SLOPE_RIDGE) / (np.maximum(variance, 0) + SLOPE_RIDGE)
    scale = np.clip(scale, 0, MOST)
    shift = average + mean_out - scale * (turned + mean_in @ matrix)
    return ColourMaps(matrix.astype(np.float32), scale.astype(np.float32), (shift * 255).astype(np.float32))


def _grid_sums(image: np.ndarray, output: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums over each cell of the grid: weight, in, out, in*in (6), in*out (9), about the foreground's means.

    The weight falls fast with coverage, since pixels at the border hold background too.

    Returns:
        22 x grid height x grid width sums, and the foreground's mean colour in and out; all float64.
    """
    height, width = mask.shape
    longer = max(height, width)
    grid_height, grid_width = (max(1, min(side, math.floor(GRID * side / longer + 0.5))) for side in (height, width))
    box = bounding_box(mask)
    mask, x, y = mask[box], image[(slice(None), *box)], np.clip(output[(slice(None), *box)], 0, 1)
    weight = mask * (mask * mask * mask + np.float32(1e-6))
    total = weight.sum(dtype=np.float64)
    mean_in, mean_out = (np.einsum("chw,hw->c", a, weight).astype(np.float64) / total for a in (x, y))
    x = x - mean_in.astype(np.float32)[:, None, None]
    y = y - mean_out.astype(np.float32)[:, None, None]
    planes = np.empty((22, *weight.shape), np.float32)
    planes[0] = weight
    wx = np.multiply(x, weight, out=planes[1:4])
    np.multiply(y, weight, out=planes[4:7])
    np.multiply(wx, x, out=planes[7:10])
    np.multiply(wx, x[[1, 2, 0]], out=planes[10:13])
    np.multiply(wx[:, None], y, out=planes[13:22].reshape(3, 3, *weight.shape))
    rows = _sum_cells(planes.reshape(22, *weight.shape), _cells(height, grid_height)[:, box[0]])
    sums = _sum_cells(rows.transpose(0, 2, 1), _cells(width, grid_width)[:, box[1]]).transpose(0, 2, 1)
    return sums.astype(np.float64), mean_in, mean_out


def bounding_box(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns between which a mask that is not empty has all that is not 0."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _sum_cells(planes: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """planes x pixels x others -> planes x cells x others, a few cells at a time, since each has few pixels."""
    count = cells.shape[0]
    result = np.zeros((planes.shape[0], count, planes.shape[2]), np.float32)
    for start in range(0, count, _CELLS):
        some = cells[start : start + _CELLS]
        pixels = np.flatnonzero(some.any(axis=0))
        if pixels.size:
            near = slice(pixels[0], pixels[-1] + 1)
            np.matmul(some[:, near], planes[:, near], out=result[:, start : start + _CELLS])
    return result


def _symmetric(six: np.ndarray) -> np.ndarray:
    """[rr, gg, bb, rg, gb, br] -> 3x3 matrices."""
    return six[..., (0, 3, 5, 3, 1, 4, 5, 4, 2)].reshape(*six.shape[:-1], 3, 3)


def _cells(pixels: int, cells: int) -> np.ndarray:
    """cells x pixels: which share of each pixel lies in each cell."""
    edges = np.arange(cells + 1) * (pixels / cells)
    low = np.maximum(edges[:-1, None], np.arange(pixels))
    high = np.minimum(edges[1:, None], np.arange(1, pixels + 1))
    return np.maximum(0, high - low).astype(np.float32)


def _window_sums(sums: np.ndarray, axis: int) -> np.ndarray:
    """Weighted sums over the window around each cell, along one axis; there is nothing beyond the border."""
    reach = len(WINDOW) // 2
    length = sums.shape[axis]
    edge = [(0, 0)] * sums.ndim
    edge[axis] = (reach, reach)
    padded = np.moveaxis(np.pad(sums, edge), axis, 0)
    total = np.zeros_like(padded[:length])
    for i, part in enumerate(WINDOW):
        total += padded[i : i + length] * (part / sum(WINDOW))
    return np.moveaxis(total, 0, axis)


def apply_maps(
    composite: np.ndarray, mask: np.ndarray, maps: ColourMaps, pool: Pool = None, controls: Controls = PLAIN
) -> np.ndarray:
    """Colour the foreground by the maps and blend: the composite's bytes stay wherever the mask is 0.

    Args:
        composite: height x width x 3, uint8 or uint16.
        mask: height x width, uint8; values between 0 and 255 blend.
        maps: from :func:`fit_maps`.
        pool: threads to share the work over; the result does not depend on them.
        controls: what becomes of the change before it is blended.

    Returns:
        A new array: floor(composite + mask/255 * (mapped - composite) + 0.5), clipped to 0..255 (0..65535 for uint16,
        whose 257 steps per level of 8 bits are kept).
    """
    height, width = mask.shape
    result = np.empty_like(composite)
    columns = column_blocks(maps.scale.shape[1], width, _TILE, 3)
    starts = [part.start for part, _ in columns]
    mixer = np.kron(np.eye(_MIX, dtype=np.float32), maps.matrix)
    # Scales above shifts: one product per tile interpolates both.
    grid_height = maps.scale.shape[0]
    scale, shift = (plane.reshape(grid_height, -1) for plane in (maps.scale, maps.shift))
    if composite.dtype != np.uint8:
        shift = shift * np.float32(np.iinfo(composite.dtype).max / 255)

    def strip(top: int) -> None:
        bottom = min(top + _STRIP, height)
        result[top:bottom] = composite[top:bottom]
        strongest = np.maximum.reduceat(mask[top:bottom].max(axis=0), starts)
        if not strongest.any():
            return
        weakest = np.minimum.reduceat(mask[top:bottom].min(axis=0), starts)
        rows = taps(grid_height, height, top, bottom)
        near = np.empty((2 * (bottom - top), scale.shape[1]), np.float32)
        product(rows.weights, scale[rows.first : rows.last], near[: bottom - top])
        product(rows.weights, shift[rows.first : rows.last], near[bottom - top :])
        for i, (part, weights) in enumerate(columns):
            if strongest[i]:
                soft = None if weakest[i] == 255 else mask[top:bottom, part.start : part.stop]
                _tile(result[top:bottom, part.start : part.stop], soft, near, part, weights, mixer, controls)

    in_threads(strip, range(0, height, _STRIP), pool)
    return result


def _tile(
    pixels: np.ndarray,
    mask: np.ndarray | None,
    near: np.ndarray,
    part: Taps,
    weights: np.ndarray,
    mixer: np.ndarray,
    controls: Controls,
) -> None:
    """Map and blend one tile in place. `mask` is None where it is 255 everywhere."""
    height, width, _ = pixels.shape
    maps = np.empty((len(near), weights.shape[1]), np.float32)
    product(near[:, part.first * 3 : part.last * 3], weights, maps)
    scale, shift = maps[:height], maps[height:]
    colours = pixels.reshape(height, width * 3).astype(np.float32)
    mapped = np.empty_like(colours)
    mixed = mixer if width % _MIX == 0 else mixer[:3, :3]
    product(colours.reshape(-1, len(mixed)), mixed, mapped.reshape(-1, len(mixed)))
    mapped *= scale
    mapped += shift
    if not controls.is_plain:
        mapped = controls.changed(colours, mapped, np.iinfo(pixels.dtype).max)
    if mask is not None:
        mapped -= colours
        mapped *= np.repeat(mask.astype(np.float32) / np.float32(255), 3, axis=1)
        mapped += colours
    mapped += np.float32(0.5)
    np.clip(mapped, 0, np.iinfo(pixels.dtype).max, out=mapped)
    pixels[...] = mapped.reshape(height, width, 3).astype(pixels.dtype)


def blend(composite: np.ndarray, mask: np.ndarray, output: np.ndarray, controls: Controls = PLAIN) -> np.ndarray:
    """Blend the network's picture itself: for composites of the engine's size, which were never resized.

    Args:
        composite: height x width x 3, uint8 or uint16.
        mask: height x width, uint8, not empty.
        output: 3 x height x width, float32.
        controls: what becomes of the change before it is blended.

    Returns:
        A new array: floor(composite + mask/255 * (output - composite) + 0.5), clipped to the composite's range.
    """
    highest = np.float32(np.iinfo(composite.dtype).max)
    result = np.array(composite)
    box = bounding_box(mask)
    target = np.clip(output[(slice(None), *box)], 0, 1).transpose(1, 2, 0) * highest
    colours = result[box].astype(np.float32)
    if not controls.is_plain:
        rows = colours.shape[0]
        changed = controls.changed(colours.reshape(rows, -1), target.reshape(rows, -1), float(highest))
        target = changed.reshape(colours.shape)
    blended = target - colours
    blended *= (mask[box].astype(np.float32) / np.float32(255))[..., None]
    blended += colours
    blended += np.float32(0.5)
    result[box] = np.clip(blended, 0, highest, out=blended).astype(composite.dtype)
    return result


def upsample_edit(
    composite: np.ndarray,
    mask: np.ndarray,
    fitted: Fitted,
    output: np.ndarray,
    pool: Pool = None,
    as_seen: bool = True,
    controls: Controls = PLAIN,
) -> np.ndarray:
    """The harmonized picture at the composite's size.

    Args:
        composite: height x width x 3, uint8 or uint16.
        mask: height x width, uint8, not empty.
        fitted: what the network saw.
        output: 3 x height x width at engine size, before blending.
        pool: threads to share the work over.
        as_seen: the network saw the composite itself; False where it saw transparent pixels otherwise, so that its
            picture is none of the composite.
        controls: what becomes of the change before it is blended.
    """
    if as_seen and mask.shape == output.shape[1:]:
        return blend(composite, mask, output, controls)
    return apply_maps(composite, mask, fit_maps(fitted, output), pool, controls)


def upsample_edit_own(
    own: np.ndarray,
    from_srgb: Callable[[np.ndarray], np.ndarray],
    mask: np.ndarray,
    fitted: Fitted,
    output: np.ndarray,
    pool: Pool = None,
    seen: np.ndarray | None = None,
    controls: Controls = PLAIN,
) -> np.ndarray:
    """The harmonized picture in its own colour space: the network's change is converted, the picture itself never is.

    The edit is converted to the picture's space at engine size, in floats, so that neither 8 bits nor the borders of
    sRGB show in the result.

    Args:
        own: height x width x 3 in its own space, uint8 or uint16.
        from_srgb: sRGB as (…, 3) floats in [0, 1] to that space.
        mask: height x width, uint8, not empty.
        fitted: what the network saw, in sRGB.
        output: 3 x height x width at engine size, sRGB, before blending.
        pool: threads to share the work over.
        seen: what the network saw instead of `own`, in the same space; None where it saw `own`.
        controls: what becomes of the change before it is blended; its light is that of `own`.
    """
    image = fit_image(own if seen is None else seen, fitted.mask.shape, pool)
    after, before = (from_srgb(np.clip(p, 0, 1).transpose(1, 2, 0)) for p in (output, fitted.image))
    changed = image + (after - before).transpose(2, 0, 1)
    fitted = dataclasses.replace(fitted, image=image)
    return upsample_edit(own, mask, fitted, changed, pool, seen is None, controls)
