"""The kinds of change that make a composite of a photo, with their ranges; ``appearance.py`` does the arithmetic.

Every kind takes photos (N,3,S,S), masks (N,1,S,S), other pictures with regions to take colours from, the plan and a
generator, and returns changed photos that are not clipped.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from harmonyrt.training import appearance
from harmonyrt.training.plan import CompositePlan

Others = tuple[Tensor, Tensor]
"""Pictures (N,3,S,S), one for each sample, and a region (N,1,S,S) of each."""


def _uniform(rng: np.random.Generator, low: float | np.ndarray, high: float | np.ndarray, *shape: int) -> Tensor:
    return torch.from_numpy(rng.uniform(low, high, shape).astype(np.float32))


def chosen_by_lot(rng: np.random.Generator, share: float, changed: Tensor, unchanged: Tensor) -> Tensor:
    chosen = torch.from_numpy(rng.random(len(changed)) < share).view(-1, 1, 1, 1)
    return torch.where(chosen, changed, unchanged)


FFHQH_SIDE = 1024
"""Pixels per side of the paper's pictures: sharpening with factor 4 there is far less on a picture scaled down."""


def _ffhqh(real: Tensor, mask: Tensor, others: Others, plan: CompositePlan, rng: np.random.Generator) -> Tensor:
    """The paper's section 3.2 with its ranges."""
    count = len(real)
    picture = appearance.colour_jitter(
        real,
        mask,
        brightness=_uniform(rng, 0.5, 1.5, count),
        contrast=_uniform(rng, 0.6, 1.4, count),
        saturation=_uniform(rng, 0.94, 1.06, count),
        hue=_uniform(rng, -0.05, 0.05, count),
    ).clamp(0, 1)
    picture = chosen_by_lot(rng, 0.5, appearance.posterize(picture, bits=6), picture)
    factor = torch.full((count,), 1 + 3 * real.shape[-1] / FFHQH_SIDE)
    picture = chosen_by_lot(rng, 0.5, appearance.sharpen(picture, factor), picture)
    return chosen_by_lot(rng, 0.5, appearance.autocontrast(picture, mask), picture)


def _transfer(real: Tensor, mask: Tensor, others: Others, plan: CompositePlan, rng: np.random.Generator) -> Tensor:
    """One of three transfers, mixed with the original: iHarmony4 has both mild and full ones."""
    picture = real.clone()
    ways = (appearance.transfer_mean_std, appearance.transfer_covariance, appearance.transfer_histogram)
    drawn = rng.choice(3, len(real), p=(0.45, 0.3, 0.25))
    for way, transfer in enumerate(ways):
        chosen = np.flatnonzero(drawn == way).tolist()
        if chosen:
            other, region = others
            picture[chosen] = transfer(real[chosen], mask[chosen], other[chosen], region[chosen])
    strength = _uniform(rng, 0.5, 1.0, len(real)).view(-1, 1, 1, 1)
    return real + (picture - real) * strength


def tone_of(
    count: int,
    strength: float | np.ndarray,
    rng: np.random.Generator,
    white_balance: float = 0.22,
    exposures: tuple[float, float] = (-1.4, 1.4),
) -> dict[str, Tensor]:
    """Random settings of :func:`appearance.tone`; `strength` is one for all, or one per sample (count,)."""
    strength = np.broadcast_to(strength, count)
    deviation = white_balance * strength[:, None]
    gains = torch.exp(torch.from_numpy(rng.normal(0, deviation, (count, 3)).astype(np.float32)))
    return {
        "exposure": _uniform(rng, exposures[0] * strength, exposures[1] * strength, count),
        "gains": gains / gains.mean(1, keepdim=True),
        "gamma": torch.exp(_uniform(rng, -0.4 * strength, 0.4 * strength, count)),
        "curve": _uniform(rng, -0.7 * strength, 0.7 * strength, count),
        "saturation": _uniform(rng, 1 - 0.5 * strength, 1 + 0.4 * strength, count),
    }


def _tone(real: Tensor, mask: Tensor, others: Others, plan: CompositePlan, rng: np.random.Generator) -> Tensor:
    """Another exposure, white balance, curve and saturation."""
    same = plan.tones[0] == plan.tones[1]
    strength = plan.tones[0] if same else rng.uniform(*plan.tones, len(real))
    return appearance.tone(real, **tone_of(len(real), strength, rng))


def _slight(real: Tensor, mask: Tensor, others: Others, plan: CompositePlan, rng: np.random.Generator) -> Tensor:
    return appearance.tone(real, **tone_of(len(real), 0.15, rng))


CHANGES: dict[str, Callable[[Tensor, Tensor, Others, CompositePlan, np.random.Generator], Tensor]] = {
    "ffhqh": _ffhqh,
    "transfer": _transfer,
    "tone": _tone,
    "slight": _slight,
}
"""By the names of a plan's kinds."""
