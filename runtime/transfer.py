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
from collections.abc import Callable

import numpy as np

from harmonyrt.runtime.colour_maps import ColourMaps, bounding_box, fit_maps
from harmonyrt.runtime.controls import PLAIN, Controls
from harmonyrt.runtime.fit import Fitted, fit_image
from harmonyrt.runtime.pools import Pool, in_threads
from harmonyrt.runtime.resample import Taps, column_blocks, product, taps

_STRIP = 256  # rows of a tile at full size
_TILE = 64  # columns of a tile
_MIX = 16  # pixels that one row of the colour product holds


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
    scale: np.ndarray = maps.scale.reshape(grid_height, -1)
    shift: np.ndarray = maps.shift.reshape(grid_height, -1)
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
