"""Composites from files as network inputs, read and fitted exactly as the runtime does it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from harmonyrt.calibration.observe import Feed
from harmonyrt.common import HarmonyError
from harmonyrt.runtime.fit import fit
from harmonyrt.runtime.images.mask_files import read_mask_file
from harmonyrt.runtime.images.masks import read_mask
from harmonyrt.runtime.images.pictures import read_picture_file


def feeds_from_files(pairs: Iterable[tuple[Path, Path]], size: tuple[int, int], binary_mask: bool = True) -> list[Feed]:
    """Read composites and their masks, and fit them to an engine's size as the runtime does.

    Args:
        pairs: (composite, mask) files of equal size in pixels.
        size: [height, width] of the engine.
        binary_mask: whether the network was trained on 0/1 masks.

    Returns:
        ``{"image": (1,3,H,W), "mask": (1,1,H,W)}`` each, float32 in [0, 1].

    Raises:
        HarmonyError: a file that cannot be read, or a mask that is empty or not of its composite's size.
    """
    feeds = []
    for composite, mask in pairs:
        picture = read_picture_file(composite).rgb
        try:
            levels = read_mask(read_mask_file(mask).values, picture.shape[1], picture.shape[0])
        except HarmonyError as error:
            raise HarmonyError(f"{mask}: {error}") from None
        if not levels.any():
            raise HarmonyError(f"{mask} is empty: no foreground to learn ranges from; leave this pair out")
        fitted = fit(picture, levels, size, binary_mask)
        feeds.append({"image": np.ascontiguousarray(fitted.image[None]), "mask": fitted.network_mask[None, None]})
    return feeds
