"""Masks and edges as they occur in practice: masks off by some pixels, strips of unrelated content at the edge."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harmonyrt.training.filters import blurred, grown, rolled

NOMINAL_SIDE = 128
"""Pixels by which masks are off are given for pictures of this side, and grow with the picture."""
LEAST_MASK = 60
"""Pixels that a shrunk mask must keep."""


def off_by(masks: Tensor, pixels: Tensor) -> Tensor:
    """Masks grown (or, where negative, shrunk) by `pixels` (N,); one that would vanish stays as it is."""
    changed = grown(masks, pixels)
    return torch.where(changed.sum((1, 2, 3), keepdim=True) > LEAST_MASK, changed, masks)


def given_masks(masks: Tensor, rng: np.random.Generator, share: float, most: int = 4, blurs: float = 0.3) -> Tensor:
    """What a user's mask of the object would be: a `share` of them off by up to `most` pixels (of 128), some blurred.

    Args:
        masks: the objects' own, (N,1,S,S).
        rng: decides all.
        share: of masks that are off; of those, four in five by one pixel or more.
        most: pixels at :data:`NOMINAL_SIDE`.
        blurs: share of the masks that are off which are blurred as well.
    """
    count = len(masks)
    off = rng.random(count) < share
    pixels = rng.integers(0, most + 1, count) * rng.choice((-1, 1), count) * off
    scaled = np.sign(pixels) * np.maximum(np.abs(pixels) * masks.shape[-1] / NOMINAL_SIDE, pixels != 0)
    sigma = rng.uniform(0.6, 1.6, count) * (rng.random(count) < blurs) * off
    return blurred(off_by(masks, torch.from_numpy(scaled)), torch.from_numpy(sigma.astype(np.float32)))


def stripped(
    composite: Tensor, real: Tensor, masks: Tensor, rng: np.random.Generator, odds: Tensor
) -> tuple[Tensor, Tensor]:
    """Composite and truth with a strip along the edge replaced, so that nothing is continuous across it.

    Half of the strips show another place of the same picture, a quarter are blurred, a quarter are of one colour.

    Args:
        composite: (N,3,S,S).
        real: (N,3,S,S), the truth.
        masks: the objects' own.
        rng: decides all.
        odds: (N,) of each sample to have a strip.
    """
    count, side = len(masks), masks.shape[-1]

    def drawn(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).view(-1, 1, 1, 1)

    outer, inner = rng.integers(1, 6, count), rng.integers(0, 3, count) * (rng.random(count) < 0.4)
    hard = (masks > 0.5).float()
    ring = grown(hard, torch.from_numpy(outer)) - grown(hard, torch.from_numpy(-inner))
    ring = blurred(ring, drawn(0.8 * (rng.random(count) < 0.3)).flatten()).clamp(0, 1)
    ring = ring * drawn(rng.random(count) < odds.numpy())
    across, down = (
        torch.from_numpy(rng.integers(side // 10, side // 2, count) * rng.choice((-1, 1), count)) for _ in range(2)
    )
    sigma, grey = drawn(rng.uniform(2, 6, count)).flatten(), drawn(rng.uniform(0.2, 0.8, count))
    colour = torch.where(drawn(rng.random(count)) < 0.5, grey, composite.mean((2, 3), keepdim=True))
    what, from_truth = drawn(rng.random(count)), drawn(rng.random(count)) < 0.5
    results = []
    for picture in (composite, real):
        elsewhere = rolled(torch.where(from_truth, real, picture), across, down)
        strip = torch.where(what < 0.5, elsewhere, torch.where(what < 0.75, blurred(picture, sigma), colour))
        results.append(picture + (strip - picture) * ring)
    return results[0], results[1]
