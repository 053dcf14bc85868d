"""Separable resampling with a triangle filter, as matrix products on tiles that stay in the cache.

One filter serves both directions: shrinking widens the triangle (antialias), growing leaves it at one sample each side
(bilinear). Samples sit at pixel centres; the weights of an output sample that reach past the border are dropped and
the rest scaled to sum 1. The same arithmetic, in words for other languages, is in docs/full_resolution.md.
"""

from __future__ import annotations

import math
import threading
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from harmonyrt.runtime.pools import Pool, in_threads

_ROWS = 8  # output rows per vertical product
_GROUP = 8  # vertical products that a thread makes before the horizontal ones: what lies between stays in its cache
_COLUMNS = 8  # output columns per horizontal product
# Multiplications above which OpenBLAS starts threads (65536 * 4). Ours are the only ones wanted: theirs
# would ignore the number that the caller asked for, and stall when other work holds the cores.
_BLAS_ALONE = 262144
_CHUNK = 12288  # input values per row of one vertical product: long enough that threads seldom meet at Python's lock


class Taps(NamedTuple):
    """Weights of output samples [start, stop) over input samples [first, last): `weights` is outputs x inputs."""

    start: int
    stop: int
    first: int
    last: int
    weights: np.ndarray


def taps(source: int, target: int, start: int, stop: int) -> Taps:
    """Triangle weights that resample a line of `source` samples to outputs [start, stop) of `target`."""
    scale = source / target
    reach = max(scale, 1.0)
    centres = (np.arange(start, stop) + 0.5) * scale
    first = max(0, math.floor(centres[0] - reach))
    last = min(source, math.ceil(centres[-1] + reach))
    positions = np.arange(first, last) + 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(positions[None] - centres[:, None]) / reach)
    weights /= weights.sum(axis=1, keepdims=True)
    return Taps(start, stop, first, last, weights.astype(np.float32))


@lru_cache(maxsize=64)
def blocks(source: int, target: int, size: int) -> tuple[Taps, ...]:
    """The taps of a whole line, `size` output samples at a time."""
    return tuple(taps(source, target, i, min(i + size, target)) for i in range(0, target, size))


@lru_cache(maxsize=64)
def column_blocks(source: int, target: int, size: int, channels: int) -> tuple[tuple[Taps, np.ndarray], ...]:
    """:func:`blocks`, each with its weights over interleaved values: inputs x outputs, for a product from the right."""
    eye = np.eye(channels, dtype=np.float32)
    return tuple((part, np.kron(part.weights.T, eye)) for part in blocks(source, target, size))


def product(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> np.ndarray:
    """``left @ right`` into `out`, as a stack of products that are small enough for BLAS to stay in this thread.

    Cuts the longer of `left`'s rows and `right`'s columns; both stay views.
    """
    (m, k), n = left.shape, right.shape[1]
    if m >= n:
        step = max(1, min(m, _BLAS_ALONE // (k * n)))
        whole = m // step * step
        np.matmul(left[:whole].reshape(-1, step, k), right, out=out[:whole].reshape(-1, step, n))
        if whole < m:
            np.matmul(left[whole:], right, out=out[whole:])
    else:
        step = max(1, min(n, _BLAS_ALONE // (k * m)))
        whole = n // step * step
        np.matmul(
            left,
            right[:, :whole].reshape(k, -1, step).transpose(1, 0, 2),
            out=out[:, :whole].reshape(m, -1, step).transpose(1, 0, 2),
        )
        if whole < n:
            np.matmul(left, right[:, whole:], out=out[:, whole:])
    return out


def resample(picture: np.ndarray, height: int, width: int, pool: Pool = None) -> np.ndarray:
    """Resize with the triangle filter.

    Args:
        picture: height x width x channels, uint8 or float32.
        height: of the result.
        width: of the result.
        pool: threads to share the work over; the result does not depend on them.

    Returns:
        float32, height x width x channels, in the range of the input.
    """
    source_height, source_width, channels = picture.shape
    flat = picture.reshape(source_height, source_width * channels)
    rows = blocks(source_height, height, _ROWS)
    columns = () if source_width == width else column_blocks(source_width, width, _COLUMNS, channels)
    result = np.empty((height, width * channels), np.float32)
    scratch = threading.local()  # fresh memory for each block would cost as much as the products

    def shrink(parts: tuple[Taps, ...]) -> None:
        start, stop = parts[0].start, parts[-1].stop
        outputs = result[start:stop]
        shrunk = _kept(scratch, "shrunk", (_ROWS * _GROUP, flat.shape[1]))[: stop - start] if columns else outputs
        if source_height == height:
            shrunk[...] = flat[start:stop]
        else:
            for part in parts:
                _shrink_rows(flat, part, shrunk[part.start - start : part.stop - start], scratch)
        for block, weights in columns:
            inputs = shrunk[:, block.first * channels : block.last * channels]
            product(inputs, weights, outputs[:, block.start * channels : block.stop * channels])

    in_threads(shrink, (rows[first : first + _GROUP] for first in range(0, len(rows), _GROUP)), pool)
    return result.reshape(height, width, channels)


def _kept(scratch: threading.local, name: str, shape: tuple[int, int]) -> np.ndarray:
    """Memory of this thread, float32, at least as many rows as asked for and as many columns."""
    kept = getattr(scratch, name, None)
    if kept is None or kept.shape[0] < shape[0] or kept.shape[1] != shape[1]:
        kept = np.empty(shape, np.float32)
        setattr(scratch, name, kept)
    return kept


def _shrink_rows(flat: np.ndarray, part: Taps, shrunk: np.ndarray, scratch: threading.local) -> None:
    count = part.last - part.first
    converted = _kept(scratch, "converted", (count, min(_CHUNK, flat.shape[1])))
    for column in range(0, flat.shape[1], _CHUNK):
        given = flat[part.first : part.last, column : column + _CHUNK]
        inputs = converted[:count, : given.shape[1]]
        inputs[...] = given
        product(part.weights, inputs, shrunk[:, column : column + _CHUNK])
