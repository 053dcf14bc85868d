"""Blurs, growing and shrinking of batches, each sample by its own amount. All take and return (N,C,H,W)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def blurred(pictures: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur; `sigma` (N,) in pixels, 0 leaves a sample as it is."""
    widest = float(sigma.max())
    if widest <= 0:
        return pictures
    reach = max(1, math.ceil(2.5 * widest))
    places = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (places / sigma.clamp(min=1e-3)[:, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    count, channels, height, width = pictures.shape
    kernel = kernel.repeat_interleave(channels, 0)
    padded = functional.pad(pictures, (reach, reach, reach, reach), mode="replicate")
    flat = padded.view(1, count * channels, height + 2 * reach, width + 2 * reach)
    for weight in (kernel[:, None, None, :], kernel[:, None, :, None]):
        flat = functional.conv2d(flat, weight, groups=count * channels)
    return flat.view(count, channels, height, width)


def grown(masks: Tensor, by: Tensor) -> Tensor:
    """Each mask grown by `by` (N,) whole pixels in every direction, or shrunk where that is negative."""
    by = by.round().long().view(-1, 1, 1, 1)
    result, larger, smaller = masks, masks, masks
    for step in range(1, int(by.abs().max()) + 1):
        larger = functional.max_pool2d(larger, 3, 1, 1)
        smaller = -functional.max_pool2d(-smaller, 3, 1, 1)
        result = torch.where(by == step, larger, torch.where(by == -step, smaller, result))
    return result


def rolled(pictures: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Each picture moved by whole pixels, what leaves on one side coming in on the other; offsets (N,)."""
    pairs = zip(pictures, down.tolist(), across.tolist(), strict=True)
    return torch.stack([torch.roll(picture, (int(y), int(x)), (1, 2)) for picture, y, x in pairs])


def filled(pictures: Tensor, holes: Tensor) -> Tensor:
    """Pictures (N,3,H,W) whose holes (N,1,H,W; 1 = missing) are filled from around them, ever coarser inwards.

    Push-pull (Gortler et al. 1996): known pixels are averaged down a pyramid, and what is missing comes back up.
    """
    known = 1 - holes
    levels = [(pictures * known, known)]
    while min(levels[-1][0].shape[-2:]) > 2:
        finer = levels[-1]
        levels.append(
            (functional.avg_pool2d(finer[0], 2, ceil_mode=True), functional.avg_pool2d(finer[1], 2, ceil_mode=True))
        )
    colours, weights = levels[-1]
    current = colours / weights.clamp(min=1e-4)
    for colours, weights in levels[-2::-1]:
        coarse = functional.interpolate(current, size=colours.shape[-2:], mode="bilinear", align_corners=False)
        trust = (weights * 4).clamp(0, 1)
        current = coarse * (1 - trust) + colours / weights.clamp(min=1e-4) * trust
    return pictures * known + current * holes
