"""One picture of a call: fitted to the network before it runs, brought back to its own size and kind afterwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from harmonyrt.runtime.controls import PLAIN, Controls
from harmonyrt.runtime.harmonized import Harmonized
from harmonyrt.runtime.images import hidden_colours
from harmonyrt.runtime.images.composites import Picture, read_picture
from harmonyrt.runtime.images.hidden_colours import Seen
from harmonyrt.runtime.images.luminance import light_of
from harmonyrt.runtime.images.masks import Label, check_mask, check_seen, read_mask
from harmonyrt.runtime.images.matching import read_match
from harmonyrt.runtime.network import Network, Prepared
from harmonyrt.runtime.pools import Pool
from harmonyrt.runtime.transfer import upsample_edit, upsample_edit_own

PoolFor = Callable[[np.ndarray], Pool]
"""The threads for a picture with this mask; None for one that is too small for them."""


@dataclass(frozen=True)
class Job:
    """One picture of a call; `prepared` is None when there is nothing to do, `seen` when nothing is transparent."""

    picture: Picture
    mask: np.ndarray
    prepared: Prepared | None
    seen: Seen | None = None
    controls: Controls = PLAIN


@dataclass(frozen=True)
class Request:
    """What a call asks for, the same for all of its pictures."""

    fit_mask: bool
    label: Label | None
    options: Any
    controls: Controls
    match: Any = None


def prepared_job(
    composite: Any, mask: Any, request: Request, network: Network, megapixel_limit: float | None, pool_for: PoolFor
) -> Job:
    """Read a composite and its mask, and fit them to the network, unless there is nothing to harmonize.

    Raises:
        HarmonyError: a composite, mask or match that cannot be used.
    """
    picture = read_picture(composite, megapixel_limit)
    height, width, _ = picture.rgb.shape
    levels = read_mask(mask, width, height, request.fit_mask, request.label)
    controls = request.controls
    if controls.keep is not None:
        controls = dataclasses.replace(controls, light=light_of(picture.profile))
    match = None if request.match is None else read_match(request.match, levels, picture.alpha, request.fit_mask)
    if not check_mask(levels) or controls.strength == 0:
        return Job(picture, levels, None)
    pool = pool_for(levels)
    opaque = picture.alpha is None or int(picture.alpha.min()) == 255
    if opaque and (match is None or int(match.min()) == 255):
        return Job(picture, levels, network.prepare(picture.rgb, levels, pool), None, controls)
    alpha = np.full_like(levels, 255) if picture.alpha is None else picture.alpha
    seen = hidden_colours.seen(picture.rgb, picture.own, levels, alpha, match)
    if not check_seen(seen):
        return Job(picture, levels, None)
    return Job(picture, seen.mask, network.prepare(seen.rgb, seen.mask, pool), seen, controls)


def finished(job: Job, output: np.ndarray | None, pool_for: PoolFor) -> Harmonized:
    """The picture with the network's answer to it; the composite where there is none."""
    own, mask, prepared = job.picture.own, job.mask, job.prepared
    if prepared is None or output is None:
        return Harmonized(job.picture.restore(own.copy()), job.picture, mask, own, own.copy)
    result = _upsampled(job, prepared, output, mask, pool_for(mask))

    def colours() -> np.ndarray:
        whole = np.where(mask > 0, np.uint8(255), np.uint8(0))
        return _upsampled(job, prepared, output, whole, None)  # this Harmonizer may be closed by then

    return Harmonized(job.picture.restore(result), job.picture, mask, result, colours)


def _upsampled(job: Job, prepared: Prepared, output: np.ndarray, mask: np.ndarray, pool: Pool) -> np.ndarray:
    picture, seen = job.picture, job.seen
    if picture.from_srgb is None:
        return upsample_edit(picture.own, mask, prepared.fitted, output, pool, seen is None, job.controls)
    own = None if seen is None else seen.own
    return upsample_edit_own(picture.own, picture.from_srgb, mask, prepared.fitted, output, pool, own, job.controls)
