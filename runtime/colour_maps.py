"""What the network did to the foreground, as colour maps: fitted at engine size, from sums over the cells of a grid.

One 3x3 matrix for the whole foreground, and for each cell of a coarse grid a scale and a shift per channel, fitted over
a window around the cell, weighted by the mask (after the fast guided filter, He and Sun 2015, arXiv 1505.00996, with a
prior where the guided filter has zero). The sums of several pictures of one scene may be added before the maps are
fitted: a clip is steadied by that. The twin is runtime/cpp/src/colour_maps.cpp; the arithmetic in words is in
docs/full_resolution.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harmonyrt.runtime.fit import Fitted

# Chosen by benchmarks/studies/upsample_edit.py; docs/full_resolution.md has the table.
GRID = 64  # cells along the longer side of the engine's picture
WINDOW = (1, 2, 3, 2, 1)  # weights of a window's cells, in each direction
SLOPE_RIDGE = 1e-3  # pulls a cell's scales towards 1; variance of colours in [0, 1]
MATRIX_RIDGE = 1e-4  # pulls the matrix towards the identity
FEW = 1e-6  # weight per cell, in engine pixels, of the whole foreground's averages
MOST = 4.0  # largest scale: what amplifies more would mostly amplify noise

_CELLS = 8  # cells that are summed in one product


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


@dataclass(frozen=True)
class ColourSums:
    """What maps are fitted to: sums over the cells of a grid, weighted by the mask, of one picture or of several.

    Attributes:
        sums: 22 x grid height x grid width float64: weight, in (3), out (3), in*in (6), in*out (9); colours in [0, 1]
            less `mean_in` and `mean_out`.
        mean_in: what is taken off the composite's colours, 3 float64.
        mean_out: the same of the network's.
        cell: pixels of a cell, at engine size.
    """

    sums: np.ndarray
    mean_in: np.ndarray
    mean_out: np.ndarray
    cell: float

    def about(self, mean_in: np.ndarray, mean_out: np.ndarray) -> ColourSums:
        """The same sums of colours less other means, so that those of several pictures can be added."""
        old, d, e = self.sums, self.mean_in - mean_in, self.mean_out - mean_out
        new = old.copy()
        weight, x, y = old[0], old[1:4], old[4:7]
        new[1:4] += d[:, None, None] * weight
        new[4:7] += e[:, None, None] * weight
        for plane, i, j in zip(range(7, 13), (0, 1, 2, 0, 1, 2), (0, 1, 2, 1, 2, 0), strict=True):
            new[plane] += d[i] * x[j] + d[j] * x[i] + d[i] * d[j] * weight
        for i in range(3):
            for j in range(3):
                new[13 + 3 * i + j] += d[i] * y[j] + e[j] * x[i] + d[i] * e[j] * weight
        return ColourSums(new, mean_in, mean_out, self.cell)

    def about_own_means(self) -> ColourSums:
        """Take off the mean of all cells: where a cell has no pixels, its maps then follow the others'."""
        total = np.maximum(self.sums[0].sum(), 1e-30)
        shift = self.sums[1:7].sum((1, 2)) / total
        return self.about(self.mean_in + shift[:3], self.mean_out + shift[3:])


def sum_colours(fitted: Fitted, output: np.ndarray) -> ColourSums:
    """Sum up what the network did to the foreground.

    Args:
        fitted: the composite and mask as the network saw them; a mask that is not empty.
        output: 3 x height x width, the network's picture before blending; values outside [0, 1] are clipped.
    """
    sums, mean_in, mean_out = _grid_sums(fitted.image, output, fitted.mask)
    return ColourSums(sums, mean_in, mean_out, fitted.mask.size / (sums.shape[1] * sums.shape[2]))


def fit_maps(fitted: Fitted, output: np.ndarray) -> ColourMaps:
    """Describe what the network did to the foreground as colour maps. Arguments as :func:`sum_colours`."""
    return maps_of(sum_colours(fitted, output))


def maps_of(given: ColourSums) -> ColourMaps:
    """Fit maps to sums, which have to be about their own means."""
    _, grid_height, grid_width = given.sums.shape
    near = _near(given.sums[0])
    sums, mean_in, mean_out = given.sums[(slice(None), *near)].astype(np.float64), given.mean_in, given.mean_out
    windows = _window_sums(_window_sums(sums, 1), 2).transpose(1, 2, 0)
    weight, sum_in, sum_out = windows[..., :1], windows[..., 1:4], windows[..., 4:7]
    squares = _symmetric(windows[..., 7:13])  # (…, i, j): sum of in_i * in_j
    products = windows[..., 13:22].reshape(*weight.shape[:2], 3, 3)  # sum of in_i * out_j

    # The matrix: from covariances inside windows, so that a change from place to place does not pass for one of hue.
    some = np.maximum(weight, 1e-30)[..., None]
    total = weight.sum()
    within = (squares - sum_in[..., :, None] * sum_in[..., None, :] / some).sum((0, 1)) / total
    across = (products - sum_in[..., :, None] * sum_out[..., None, :] / some).sum((0, 1)) / total
    ridge = MATRIX_RIDGE * np.eye(3)
    change = np.linalg.solve(within + ridge, across + ridge) - np.eye(3)
    matrix = np.eye(3) + change * min(1.0, (MOST - 1) / max(float(np.linalg.norm(change)), 1e-30))

    # Each cell's scale and shift, of colours that the matrix has turned already.
    n = weight + FEW * given.cell
    turned = sum_in / n @ matrix
    average = sum_out / n
    variance = (matrix * (squares / n[..., None] @ matrix)).sum(-2) - turned**2
    covariance = (matrix * (products / n[..., None])).sum(-2) - turned * average
    ratio = (covariance + SLOPE_RIDGE) / (np.maximum(variance, 0) + SLOPE_RIDGE)

    # Cells beyond have no pixels in their windows: they follow the whole foreground's averages.
    scale = np.ones((grid_height, grid_width, 3))
    scale[near] = np.clip(ratio, 0, MOST)
    shift = np.broadcast_to(mean_out - mean_in @ matrix, scale.shape).copy()
    shift[near] = average + mean_out - scale[near] * (turned + mean_in @ matrix)
    return ColourMaps(matrix.astype(np.float32), scale.astype(np.float32), (shift * 255).astype(np.float32))


def _near(weight: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the grid whose windows may hold pixels; all of them where there are none."""
    reach = len(WINDOW) // 2
    if not weight.any():
        return slice(None), slice(None)
    rows, columns = bounding_box(weight)
    return slice(max(0, rows.start - reach), rows.stop + reach), slice(
        max(0, columns.start - reach), columns.stop + reach
    )


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
