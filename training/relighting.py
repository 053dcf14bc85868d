"""Does a change follow the scene? The object stays as it is, and the scene around it is relit.

1 means that the object's brightness (or its colour, for warm and cool) changes by as much as the scene's was; 0 that
the network does not look at the scene.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from harmonyrt.training.layers import Layers, in_8_bits

GAMMA = 2.2
LIGHTS = {
    "+1 EV": (2.0, 2.0, 2.0),
    "-1 EV": (0.5, 0.5, 0.5),
    "-2 EV": (0.25, 0.25, 0.25),
    "warm": (1.3, 1.0, 0.7),
    "cool": (0.75, 1.0, 1.35),
}
"""Gains of red, green and blue in linear light."""
LEAST_PIXELS = 40


def relit(pictures: Tensor, gains: tuple[float, float, float]) -> Tensor:
    """Pictures (N,3,H,W) in another light: linear gains, clipped at white."""
    linear = pictures.clamp(0, 1) ** GAMMA * torch.tensor(gains).view(1, 3, 1, 1)
    return linear.clamp(0, 1) ** (1 / GAMMA)


def following(layers: Layers, answer: Callable[[Tensor, Tensor], Tensor]) -> dict[str, float]:
    """Median share of the scene's change that the objects follow, by light.

    Args:
        layers: real objects over their scenes.
        answer: harmonized pictures of composites and masks.
    """
    mask = (layers.alpha > 0.5).float()
    inside = (layers.alpha > 0.9).float()
    enough = inside.sum((1, 2, 3)) > LEAST_PIXELS

    def colours(scene: Tensor) -> Tensor:
        picture = answer(in_8_bits(layers.over(layers.layer, scene)), mask)
        linear = picture.clamp(0, 1) ** GAMMA * inside
        return (linear.sum((2, 3)) / inside.sum((2, 3)).clamp(min=1))[enough].clamp(min=1e-4)

    before = colours(layers.scene)
    shares = {}
    for name, gains in LIGHTS.items():
        after = colours(relit(layers.scene, gains))
        if gains[0] == gains[2]:
            moved, wanted = torch.log2(after.mean(1) / before.mean(1)), math.log2(gains[0])
        else:
            moved = torch.log2(after[:, 0] / after[:, 2]) - torch.log2(before[:, 0] / before[:, 2])
            wanted = math.log2(gains[0] / gains[2])
        shares[name] = round(float((moved / wanted).median()), 3) if bool(enough.any()) else math.nan
    return shares
