"""The papers' own test paths, from files to the pictures that are compared. docs/evaluation.md has them step by step.

* :func:`phnet`: as PHNet validates: everything at network size, binary masks, the result in floats.
* :func:`phnet_test`: PHNet's released test script: dithered mask, blend at network size, bicubic back, cut to bytes.
* :func:`diffharmony`: DiffHarmony's paper: network at 512 or 1024 from the original files, refined, scored at 256.
* the same with ``strict=True``: its script's `--strict_mode`: the network sees no more than the 256-pixel composite.

NumPy and Pillow. Facts from the released programs, in our own words; nothing here copies them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.evaluation.iharmony4 import Pair
from harmonyrt.evaluation.metrics import binary
from harmonyrt.evaluation.protocol import Case, hard, read_mask, read_picture, resized

Size = tuple[int, int]
FeedForwardRun = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(1,3,H,W) float32 composite in [0, 1] and (1,1,H,W) mask -> (1,3,H,W) before blending."""

DIFFHARMONY_SIZE = 256
"""Side at which DiffHarmony's tables are measured."""


class DiffusionRun(Protocol):
    """What :meth:`harmonyrt.runtime.diffusion.DiffusionModel.run` is."""

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, small_image: np.ndarray | None, small_mask: np.ndarray | None
    ) -> np.ndarray:
        """See there."""
        ...


def phnet(run: FeedForwardRun, pair: Pair, size: Size) -> Case:
    """PHNet's validation: bilinear to network size, mask cut at 0.5 there, the blend compared in floats, unrounded."""
    composite, real = read_picture(pair.composite, size), read_picture(pair.real, size)
    mask = hard(resized(read_mask(pair.mask), size))
    image, weight = _image(composite), _weight(mask)
    blended = run(image, weight) * weight + image * (1 - weight)
    return Case(composite, 255.0 * _pixels(blended), real, mask)


def phnet_test(run: FeedForwardRun, pair: Pair, size: Size, antialias: bool = False) -> Case:
    """PHNet's released test script; its result has the composite's size, background included in the round trip.

    Args:
        run: the network.
        pair: what to run.
        size: (height, width) of the network.
        antialias: resize back as torchvision does from 0.17 on; False: as the pinned 0.15.2 does.

    Raises:
        HarmonyError: composite and real photo differ in size.
    """
    composite, real = read_picture(pair.composite), read_picture(pair.real)
    coverage = read_mask(pair.mask)
    if composite.shape != real.shape or composite.shape[:2] != coverage.shape:
        raise HarmonyError(f"{pair.composite}: composite, mask and real photo differ in size; mend the dataset")
    image, weight = _image(resized(composite, size)), _weight(dithered(coverage, size))
    blended = run(image, weight) * weight + image * (1 - weight)
    back = (_resampled if antialias else bicubic)(blended, composite.shape[:2], Image.Resampling.BICUBIC)
    return Case(composite, cut_to_bytes(_pixels(back)), real, hard(coverage))


def diffharmony(
    run: DiffusionRun, pair: Pair, inference: Size, output: Size, refines: bool, strict: bool = False
) -> Case:
    """DiffHarmony's released test: network at `inference`, result and scores at `output`, the real background put back.

    Args:
        run: the networks.
        pair: what to run.
        inference: (height, width) of stage one.
        output: (height, width) of the refiner and of the scores.
        refines: whether the refiner runs (it resizes by itself); else stage one's picture is resized to `output`.
        strict: make the network's input from the composite at `output`, not from the original file.
    """
    composite, real = read_picture(pair.composite, output), read_picture(pair.real, output)
    coverage = read_mask(pair.mask)
    mask = dithered(coverage, output)
    small = _image(composite), _weight(mask)
    if strict:
        large = [np.clip(_resampled(one, inference, Image.Resampling.BILINEAR), 0, 1) for one in small]
        large[1] = (large[1] >= 0.5).astype(np.float32)
    else:
        large = [_image(read_picture(pair.composite, inference)), _weight(dithered(coverage, inference))]
    result = run(large[0], large[1], *(small if refines else (None, None)))
    if result.shape[2:] != output:
        result = np.clip(_resampled(result, output, Image.Resampling.BILINEAR), 0, 1)
    picture = cut_to_bytes(_pixels(result))
    return Case(composite, np.where(binary(mask)[..., None], picture, real), real, mask)


def dithered(coverage: np.ndarray, size: Size) -> np.ndarray:
    """Both papers' masks: Floyd-Steinberg dithering of grey values, then the nearest pixel: (H,W) uint8, 0 and 255."""
    bits = Image.fromarray(coverage).convert("1").resize(size[::-1], Image.Resampling.NEAREST)
    return np.asarray(bits.convert("L"))


def cut_to_bytes(values: np.ndarray) -> np.ndarray:
    """[0, 1] floats to uint8 as the released programs do it: cut off, not rounded; what is outside wraps around."""
    return np.trunc(values * np.float32(255)).astype(np.int64).astype(np.uint8)


def bicubic(tensor: np.ndarray, size: Size, _filter: object = None) -> np.ndarray:
    """Resize (1,C,H,W) as PyTorch's plain bicubic does: a = -0.75, four samples, no antialias, edges repeated."""
    rows, columns = (_cubic_weights(old, new) for old, new in zip(tensor.shape[2:], size, strict=True))
    return (rows @ tensor.astype(np.float32)) @ columns.T


def _cubic_weights(source: int, target: int, a: float = -0.75) -> np.ndarray:
    """target x source float32."""
    weights = np.zeros((target, source), np.float32)
    for i in range(target):
        place = (i + 0.5) * source / target - 0.5
        first = math.floor(place)
        for tap in range(-1, 3):
            x = abs(place - (first + tap))
            near = ((a + 2) * x - (a + 3)) * x * x + 1
            far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
            weights[i, min(max(first + tap, 0), source - 1)] += near if x <= 1 else far
    return weights


def _resampled(tensor: np.ndarray, size: Size, how: Image.Resampling) -> np.ndarray:
    """Resize (1,C,H,W) floats with Pillow's antialiased filter, which PyTorch's `antialias=True` equals."""
    channels = [Image.fromarray(np.ascontiguousarray(one)).resize(size[::-1], how) for one in tensor[0]]
    return np.stack([np.asarray(one, np.float32) for one in channels])[None]


def _image(pixels: np.ndarray) -> np.ndarray:
    """(H,W,3) uint8 -> (1,3,H,W) float32 in [0, 1]."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32) / np.float32(255)


def _weight(mask: np.ndarray) -> np.ndarray:
    """(H,W) uint8, 0 and 255 -> (1,1,H,W) float32, 0 and 1."""
    return (mask[None, None] > 0).astype(np.float32)


def _pixels(tensor: np.ndarray) -> np.ndarray:
    """(1,3,H,W) -> (H,W,3)."""
    return tensor[0].transpose(1, 2, 0)
