"""A foreground's change as a 3D LUT, in the .cube format that editors and ffmpeg read.

A LUT knows a colour and not its place, so it can only say what the change is on average where the network treats one
colour differently from place to place; the residual tells how much that leaves out. Format: Adobe, Cube LUT
Specification 1.0 (2013).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.files import written_whole

SIZE = 33
_SIZES = (2, 65)
_MOST_COLOURS = 500_000  # that are looked at; more would change nothing
_SMOOTH = 3e-3  # weight of the difference between neighbours, against colours whose weights sum to 1 per used point
_IDENTITY = 6e-5  # weight of the change itself: decides how far from the data it fades away
_STEPS = 120
_ENOUGH = 1e-4  # relative residual of the equations at which the solver stops


@dataclass(frozen=True)
class ColourLut:
    """A 3D LUT.

    Attributes:
        table: size x size x size x 3 float32 in [0, 1], indexed [red, green, blue].
        mean: residual in levels of 255: what the LUT, between its points, misses of the foreground's colours; the mean
            over pixels and channels.
        p95: the 95th percentile of the same.
    """

    table: np.ndarray
    mean: float
    p95: float

    @property
    def size(self) -> int:
        """Points along each side."""
        return len(self.table)

    def apply(self, colours: np.ndarray) -> np.ndarray:
        """(N,3) colours in [0, 1] through the LUT, trilinear: (N,3) float32."""
        corners, weights = _corners(colours, self.size)
        return np.einsum("nk,nkc->nc", weights, self.table.reshape(-1, 3)[corners]).astype(np.float32)

    def text(self, title: str = "HarmonyRT") -> str:
        """The .cube file: red changes fastest."""
        title = "".join(c if c.isascii() and c.isprintable() and c != '"' else "_" for c in title)[:250]
        lines = [
            f'TITLE "{title}"',
            "# The change of one harmonized foreground, for values in its picture's own colour space.",
            f"# Residual in levels of 255: mean {self.mean:.2f}, 95th percentile {self.p95:.2f}",
            f"LUT_3D_SIZE {self.size}",
            "DOMAIN_MIN 0.0 0.0 0.0",
            "DOMAIN_MAX 1.0 1.0 1.0",
        ]
        rows = self.table.transpose(2, 1, 0, 3).reshape(-1, 3)
        return "\n".join([*lines, *(f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in rows.tolist())]) + "\n"

    def write(self, path: str | Path, title: str | None = None) -> None:
        """Write a .cube file, whole or not at all; its title is the file's name unless another is given.

        Raises:
            HarmonyError: another suffix, or a path that cannot be written.
            WorkFailed: the disk is full.
        """
        path = Path(path)
        check_cube(path)
        with written_whole(path) as scratch:
            try:
                scratch.write_text(self.text(path.stem if title is None else title), encoding="ascii", newline="\n")
            except OSError as error:
                raise WorkFailed(f"cannot write {path}: {error.strerror}; make room or choose another output") from None


def check_cube(path: str | Path) -> None:
    """Refuse a suffix other than .cube.

    Raises:
        HarmonyError: it has another one, or none.
    """
    if Path(path).suffix.lower() != ".cube":
        raise HarmonyError(f"{path} does not end in .cube; LUTs are written in that format only")


def identity(size: int = SIZE) -> np.ndarray:
    """The table that changes nothing: size x size x size x 3 float64."""
    axis = np.linspace(0, 1, size)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)


def fit_lut(before: np.ndarray, after: np.ndarray, mask: np.ndarray, size: int = SIZE) -> ColourLut:
    """Fit a LUT to a change of colours.

    Least squares over the colours, each spread over the eight points around it; neighbouring points are pulled
    together, and all of them towards the identity, so that it is smooth and does nothing far from every colour.

    Args:
        before: (N,3) uint8 or uint16, in the picture's own space.
        after: the same, changed.
        mask: (N,) uint8: how much each counts.
        size: points along each side, 2 to 65.

    Raises:
        HarmonyError: another size.
    """
    if not _SIZES[0] <= size <= _SIZES[1]:
        raise HarmonyError(f"the LUT's size is {size}; give {_SIZES[0]} to {_SIZES[1]}")
    still = identity(size)
    if not len(before):
        return ColourLut(still.astype(np.float32), 0.0, 0.0)
    some = _spread(len(before), _MOST_COLOURS)
    x, y = (_as_unit(a[some]) for a in (before, after))
    change = _fitted_change(x, y - x, mask[some].astype(np.float64) / 255, size)
    lut = ColourLut((still + change.reshape(still.shape)).clip(0, 1).astype(np.float32), 0.0, 0.0)
    missed = np.abs(lut.apply(x) - y) * 255
    return ColourLut(lut.table, float(missed.mean()), float(np.percentile(missed, 95)))


def _as_unit(colours: np.ndarray) -> np.ndarray:
    return colours.astype(np.float64) / np.iinfo(colours.dtype).max


def _spread(count: int, most: int) -> np.ndarray:
    """Indices of at most `most` of `count`; in an order that follows no row of the picture, the same each time."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def _corners(colours: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(N,8) flat indices of the points around each colour, and their trilinear weights."""
    place = np.clip(np.asarray(colours, np.float64), 0, 1) * (size - 1)
    low = np.minimum(place.astype(np.int64), size - 2)
    share = place - low
    indices, weights = [], []
    for corner in np.ndindex(2, 2, 2):
        at = low + np.array(corner)
        indices.append((at[:, 0] * size + at[:, 1]) * size + at[:, 2])
        weights.append(np.where(np.array(corner) == 1, share, 1 - share).prod(axis=1))
    return np.stack(indices, 1), np.stack(weights, 1)


def _fitted_change(colours: np.ndarray, change: np.ndarray, amount: np.ndarray, size: int) -> np.ndarray:
    """(size^3, 3): the change at each point, by conjugate gradients on the normal equations.

    Colours between the same eight points share one 8 x 8 block of these, so that a step costs no more for more colours.
    """
    corners, weights = _corners(colours, size)
    count = size**3
    lowest, block = np.unique(corners[:, 0], return_inverse=True)
    points = lowest[:, None] + (corners[0] - corners[0, 0])
    amount = amount * (len(lowest) / max(amount.sum(), 1e-12))

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(block, values, minlength=len(lowest))

    weighted = weights * amount[:, None]
    squares = np.array([[summed(weighted[:, i] * weights[:, j]) for j in range(8)] for i in range(8)])
    squares = squares.transpose(2, 0, 1)
    products = np.array([[summed(weighted[:, i] * change[:, c]) for c in range(3)] for i in range(8)])

    def scattered(values: np.ndarray) -> np.ndarray:
        at = points.ravel()
        return np.stack([np.bincount(at, values[..., c].ravel(), minlength=count) for c in range(3)], axis=1)

    def equations(values: np.ndarray) -> np.ndarray:
        smooth = _differences(values.reshape(size, size, size, 3)).reshape(count, 3)
        return scattered(squares @ values[points]) + _SMOOTH * smooth + _IDENTITY * values

    counted = np.bincount(points.ravel(), squares[:, range(8), range(8)].ravel(), minlength=count)
    diagonal = (counted + 6 * _SMOOTH + _IDENTITY)[:, None]
    return _solved(equations, scattered(products.transpose(2, 0, 1)), diagonal)


def _differences(grid: np.ndarray) -> np.ndarray:
    """The gradient of half the squared differences between neighbours; nothing lies beyond the border."""
    result = np.zeros_like(grid)
    for axis in range(3):
        step = np.diff(grid, axis=axis)
        head = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
        tail = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        result[head] -= step
        result[tail] += step
    return result


def _solved(equations, wanted: np.ndarray, diagonal: np.ndarray) -> np.ndarray:
    """Preconditioned conjugate gradients, three right-hand sides side by side."""
    found = np.zeros_like(wanted)
    rest = wanted.copy()
    towards = rest / diagonal
    direction, size = towards.copy(), (rest * towards).sum(axis=0)
    enough = _ENOUGH**2 * size
    for _ in range(_STEPS):
        if (size <= enough).all():
            break
        turned = equations(direction)
        length = size / np.maximum((direction * turned).sum(axis=0), 1e-300)
        found += length * direction
        rest -= length * turned
        towards = rest / diagonal
        new = (rest * towards).sum(axis=0)
        direction = towards + new / np.maximum(size, 1e-300) * direction
        size = new
    return found
