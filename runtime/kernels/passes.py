"""What is put on a stream for one picture, in order: before the network, and after it. Nothing here waits."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Protocol

from harmonyrt.runtime.kernels.structures import SUMS, Frame, Packed, Plane, Scratch, Semiplanar

_LINE = 256  # threads of a block along a line
_CELLS = 32  # the same for cells of a grid, of which there are few
_TILE = (32, 8)  # pixels of a block at full size
_SOLVERS = 256  # threads of fit_matrix, as the kernel says
_int, _float, _address = ctypes.c_int, ctypes.c_float, ctypes.c_void_p

KERNELS = (
    "begin", "resize_rows", "resize_columns", "image_of_colours", "image_of_planes", "coverage_of_levels",
    "threshold_mask", "anchor_mask", "sum_rows", "sum_cells", "sum_windows", "fit_matrix", "fit_cells", "apply_maps",
    "blend_answer", "apply_to_planes", "finish",
)  # fmt: skip


class Launcher(Protocol):
    """Puts kernels on a stream: on a GPU, or on the host in tests."""

    def launch(
        self, name: str, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], stream: Any
    ) -> None:
        """Put one kernel on a stream.

        Args:
            name: one of `KERNELS`.
            grid: blocks in each of three directions.
            block: threads of a block likewise.
            arguments: ctypes values, which are copied.
            stream: a stream.
        """
        ...


def resize(launcher: Launcher, source: Plane, shrunk: int, result: int, size: tuple[int, int], stream: Any) -> None:
    """Resize a plane with the triangle filter, to float32 values of its own range.

    Args:
        launcher: of the kernels.
        source: of any size.
        shrunk: address for height x source width x channels float32.
        result: address for height x width x channels float32.
        size: height and width of the result.
        stream: a stream.
    """
    height, width = size
    launcher.launch(
        "resize_rows",
        (_blocks(source.width * source.channels, _LINE), height, 1),
        (_LINE, 1, 1),
        (source, _address(shrunk), _int(height)),
        stream,
    )
    launcher.launch(
        "resize_columns",
        (_blocks(width * source.channels, _LINE), height, 1),
        (_LINE, 1, 1),
        (_address(shrunk), _address(result), _int(source.width), _int(width), _int(height), _int(source.channels)),
        stream,
    )


def fit(launcher: Launcher, frame: Frame, mask: Plane, binary_mask: bool, scratch: Scratch, stream: Any) -> None:
    """Fit a frame and its mask to the engine's size: fills `image`, `mask` and `coverage` of the scratch memory.

    Args:
        launcher: of the kernels.
        frame: the composite.
        mask: of the same size, 8 bits, 255 = foreground.
        binary_mask: threshold the network's mask.
        scratch: of this engine's size and the frame's.
        stream: a stream.
    """
    sizes, state = scratch.sizes, _address(scratch.state)
    size, pixels, line = (sizes.height, sizes.width), _int(sizes.pixels), (_LINE, 1, 1)
    every_pixel = (_blocks(sizes.pixels, _LINE), 1, 1)
    launcher.launch("begin", (1, 1, 1), (1, 1, 1), (state,), stream)
    for plane, small in zip(frame.parts, scratch.small, strict=True):
        resize(launcher, plane, scratch.shrunk, small, size, stream)
    image = _address(scratch.image)
    if isinstance(frame, Packed):
        highest = _float(frame.plane.highest)
        colours = (_address(scratch.small[0]), _int(frame.plane.channels), _int(frame.red), highest, image, pixels)
        launcher.launch("image_of_colours", every_pixel, line, colours, stream)
    else:
        luma, chroma = map(_address, scratch.small)
        launcher.launch("image_of_planes", every_pixel, line, (luma, chroma, frame.space, image, pixels), stream)
    resize(launcher, mask, scratch.shrunk, scratch.coverage, size, stream)
    coverage, network_mask = _address(scratch.coverage), _address(scratch.mask)
    launcher.launch("coverage_of_levels", every_pixel, line, (coverage, pixels, state), stream)
    width, height = _int(sizes.width), _int(sizes.height)
    rows = (_blocks(sizes.width, _LINE), sizes.height, 1)
    launcher.launch(
        "threshold_mask", rows, line, (coverage, network_mask, width, height, _int(binary_mask), state), stream
    )
    if binary_mask:
        cells = (_blocks(-(-sizes.width // 4), _CELLS), -(-sizes.height // 4), 1)
        launcher.launch("anchor_mask", cells, (_CELLS, 1, 1), (network_mask, width, height, state), stream)


def fit_maps(launcher: Launcher, scratch: Scratch, stream: Any) -> None:
    """Describe what the network did as colour maps: from `image`, `output` and `coverage` to `maps` and `cells`."""
    sizes = scratch.sizes
    sums, windows, maps = _address(scratch.sums), _address(scratch.windows), _address(scratch.maps)
    across, some = _blocks(sizes.grid_width, _CELLS), (_CELLS, 1, 1)
    every_cell = (across, sizes.grid_height, SUMS)
    _sum_rows(launcher, scratch, stream)
    launcher.launch("sum_cells", every_cell, some, (_address(scratch.partial), sizes, sums), stream)
    launcher.launch("sum_windows", every_cell, some, (sums, sizes, windows), stream)
    launcher.launch("fit_matrix", (1, 1, 1), (_SOLVERS, 1, 1), (sums, windows, sizes, maps), stream)
    launcher.launch(
        "fit_cells", (_blocks(sizes.cells, _CELLS), 1, 1), some, (windows, sizes, maps, _address(scratch.cells)), stream
    )


def _sum_rows(launcher: Launcher, scratch: Scratch, stream: Any) -> None:
    sizes = scratch.sizes
    given = [_address(place) for place in (scratch.image, scratch.output, scratch.coverage)]
    launcher.launch(
        "sum_rows",
        (_blocks(sizes.grid_width, _CELLS), sizes.height, 1),
        (_CELLS, 1, 1),
        (*given, sizes, _address(scratch.partial), _address(scratch.state)),
        stream,
    )


def apply(
    launcher: Launcher, frame: Frame, mask: Plane, result: Frame, strength: float, scratch: Scratch, stream: Any
) -> None:
    """Bring the network's answer to the frame's size and blend it in.

    A composite of exactly the engine's size gets the network's picture itself; any other frame, and every video frame,
    gets its colour maps. Where the network's answer is not finite the result is the composite, and `State` says so.

    Args:
        launcher: of the kernels.
        frame: the composite.
        mask: of the same size, 8 bits.
        result: of the same format and size; may be the composite itself.
        strength: share of the change.
        scratch: with the network's answer in `output`.
        stream: a stream.
    """
    sizes, state = scratch.sizes, _address(scratch.state)
    maps, cells, share = _address(scratch.maps), _address(scratch.cells), _float(strength)
    block = (*_TILE, 1)
    if isinstance(frame, Packed) and isinstance(result, Packed):
        grid = (_blocks(frame.plane.width, _TILE[0]), _blocks(frame.plane.height, _TILE[1]), 1)
        planes = (frame.plane, mask, result.plane, _int(frame.red), share)
        if frame.size == (sizes.height, sizes.width):
            _sum_rows(launcher, scratch, stream)  # for the sake of what is not finite
            launcher.launch("blend_answer", grid, block, (*planes, _address(scratch.output), state), stream)
        else:
            fit_maps(launcher, scratch, stream)
            launcher.launch("apply_maps", grid, block, (*planes, sizes, maps, cells, state), stream)
    elif isinstance(frame, Semiplanar) and isinstance(result, Semiplanar):
        fit_maps(launcher, scratch, stream)
        grid = (_blocks(frame.chroma.width, _TILE[0]), _blocks(frame.chroma.height, _TILE[1]), 1)
        every = (*frame.parts, mask, *result.parts, share, frame.space)
        launcher.launch("apply_to_planes", grid, block, (*every, sizes, maps, cells, state), stream)
    launcher.launch("finish", (1, 1, 1), (1, 1, 1), (state,), stream)


def _blocks(count: int, size: int) -> int:
    return -(-count // size)
