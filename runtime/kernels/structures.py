"""The structures of `structures.cuh`, and frames in device memory that are made of them."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from harmonyrt.runtime.colour_maps import GRID

SUMS = 22
MAPS_BYTES = 88
STATE_BYTES = 16
FAILURES_OFFSET = 12  # of State's count of pictures that failed
LONGEST_SIDE = 65535  # with the next, what the triangle filter's whole numbers hold
LONGEST_ENGINE_SIDE = 8191


class Plane(ctypes.Structure):
    """Samples in memory: their address, bytes from row to row, size, and how a value is stored."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("pitch", ctypes.c_longlong),
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("bytes", ctypes.c_int),
        ("shift", ctypes.c_int),
        ("highest", ctypes.c_int),
    )

    @classmethod
    def of(cls, address: int, pitch: int, size: tuple[int, int], channels: int, bits: int = 8) -> Plane:
        """A plane of (height, width) samples.

        Args:
            address: of its first row.
            pitch: bytes from one row to the next.
            size: height and width in samples.
            channels: interleaved values of a sample.
            bits: of a value; 9 to 15 bits are the upper ones of 16, as P010 has them.
        """
        wide = bits > 8
        return cls(address, pitch, size[1], size[0], channels, 1 + wide, 16 - bits if wide else 0, (1 << bits) - 1)

    def key(self) -> tuple[int, ...]:
        """What tells it from another, as a dictionary's key."""
        return tuple(getattr(self, name) or 0 for name, _ in self._fields_)


class Space(ctypes.Structure):
    """Values of video planes as RGB from 0 to 255, and back."""

    _fields_ = (
        ("offset", ctypes.c_float * 3),
        ("to_rgb", ctypes.c_float * 9),
        ("from_rgb", ctypes.c_float * 9),
    )

    @classmethod
    def of(cls, space: Any) -> Space:
        """From `offset` (3), `to_rgb` and `from_rgb` (3 x 3), as `harmonyrt.video.colours.ColourSpace` has them."""
        arrays = [np.asarray(part, np.float32).ravel() for part in (space.offset, space.to_rgb, space.from_rgb)]
        return cls(*[(ctypes.c_float * part.size)(*part.tolist()) for part in arrays])


class Sizes(ctypes.Structure):
    """Of the engine's picture, and of the grid of cells over it."""

    _fields_ = (
        ("width", ctypes.c_int),
        ("height", ctypes.c_int),
        ("grid_width", ctypes.c_int),
        ("grid_height", ctypes.c_int),
    )

    @classmethod
    def of(cls, height: int, width: int) -> Sizes:
        """Of an engine's picture; the grid is that of :mod:`harmonyrt.runtime.colour_maps`."""
        longer = max(height, width)
        rows, columns = (max(1, min(side, math.floor(GRID * side / longer + 0.5))) for side in (height, width))
        return cls(width, height, columns, rows)

    @property
    def pixels(self) -> int:
        """Pixels of the engine's picture."""
        return self.width * self.height

    @property
    def cells(self) -> int:
        """Cells of the grid."""
        return self.grid_width * self.grid_height


@dataclass(frozen=True)
class Packed:
    """A picture of interleaved colours.

    Attributes:
        plane: 3 or 4 channels; the fourth is kept as it is.
        red: channel of red: 0, or 2 where blue comes first.
    """

    plane: Plane
    red: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.plane.height, self.plane.width

    @property
    def parts(self) -> tuple[Plane, ...]:
        """Its planes."""
        return (self.plane,)


@dataclass(frozen=True)
class Semiplanar:
    """A video frame as NV12 and P010 have it.

    Attributes:
        luma: one channel.
        chroma: two channels, half as many rows and columns, rounded up.
        space: what the values mean.
    """

    luma: Plane
    chroma: Plane
    space: Space

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.luma.height, self.luma.width

    @property
    def parts(self) -> tuple[Plane, ...]:
        """Its planes."""
        return self.luma, self.chroma


Frame = Packed | Semiplanar


@dataclass
class Scratch:
    """Memory that a picture's kernels work in: addresses, for one size of engine and one of frame.

    Attributes:
        sizes: of the engine's picture and the grid.
        image: 3 x height x width float32: the network's input.
        mask: height x width float32: likewise.
        output: 3 x height x width float32: what the network answers.
        coverage: height x width float32.
        shrunk: rows of one plane at the engine's height, float32.
        small: planes of the frame at the engine's size, float32, interleaved.
        partial: 22 x height x grid width float32.
        sums: 22 x cells float64.
        windows: the same.
        maps: a `Maps`.
        cells: cells x 6 float32.
        state: a `State`.
    """

    sizes: Sizes
    image: int
    mask: int
    output: int
    coverage: int
    shrunk: int
    small: tuple[int, ...]
    partial: int
    sums: int
    windows: int
    maps: int
    cells: int
    state: int

    @classmethod
    def make(cls, allocate: Callable[[int], int], sizes: Sizes, frame: Frame, state: int) -> Scratch:
        """Allocate it: `allocate` takes bytes and gives an address, `state` is that of `STATE_BYTES` of zeros."""
        floats, height = 4, sizes.height
        widest = max(plane.width * plane.channels for plane in frame.parts)
        return cls(
            sizes,
            image=allocate(3 * sizes.pixels * floats),
            mask=allocate(sizes.pixels * floats),
            output=allocate(3 * sizes.pixels * floats),
            coverage=allocate(sizes.pixels * floats),
            shrunk=allocate(height * max(widest, frame.size[1]) * floats),
            small=tuple(allocate(sizes.pixels * plane.channels * floats) for plane in frame.parts),
            partial=allocate(SUMS * height * sizes.grid_width * floats),
            sums=allocate(SUMS * sizes.cells * 8),
            windows=allocate(SUMS * sizes.cells * 8),
            maps=allocate(MAPS_BYTES),
            cells=allocate(6 * sizes.cells * floats),
            state=state,
        )
