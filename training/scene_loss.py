"""The loss for composites in layers: errors where the truth is known, per pixel and of the whole object."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from harmonyrt.models import PHNet
from harmonyrt.training.losses import blend

LEAST_PIXELS = 40
FLOOR = (2 / 255) ** 2
"""Mean square below which changes are invisible."""
SPOILT = 2
"""How many times more the logarithm counts what lies past the composite's own error. Eight made the network timid."""
MEAN = 5.0
"""Weight of the squared error of the object's mean colour."""
LIGHTS = 0.1
"""Weight of the error of the colour head's two estimates of light, which are known where composites are made."""


def scene_loss(output: Tensor, composite: Tensor, real: Tensor, mask: Tensor, agreed: Tensor) -> Tensor:
    """Error of the blended picture under `agreed`, per pixel.

    As ``foreground_loss``, with three differences: it counts only where the truth is known (the given mask may be off),
    a term of the object's mean colour asks for the right light before the right pixels, and spoilt pictures count less.

    Args:
        output: the network's, not blended, (B,3,H,W).
        composite: (B,3,H,W).
        real: the truth.
        mask: as given to the network, (B,1,H,W).
        agreed: (B,1,H,W), 1 where the truth is known.
    """
    pixels = 3 * agreed.sum((1, 2, 3)).clamp(min=LEAST_PIXELS)
    error = (blend(output, composite, mask) - real) * agreed
    squared = error.square().sum((1, 2, 3)) / pixels
    absolute = error.abs().sum((1, 2, 3)) / pixels
    before = ((composite - real) * agreed).square().sum((1, 2, 3)) / pixels
    mean = (error.sum((2, 3)) * 3 / pixels[:, None]).square().mean(1)
    logarithm = torch.log(squared + FLOOR)
    spoilt = torch.relu(logarithm - torch.log(before + FLOOR))
    return (10 * squared + absolute + MEAN * mean + 0.02 * (logarithm + SPOILT * spoilt)).mean()


def head_loss(network: PHNet, part: tuple[Tensor, ...]) -> Tensor:
    """The loss of a PHNet's colour head alone: its map's picture, and its estimates of light.

    Args:
        network: with a colour head.
        part: composite, mask, real, agreed, and the lights (B,6) of object and scene (``Batch.lights``).
    """
    composite, mask, real, agreed, lights = part
    head = network.colour_head
    assert head is not None
    coefficients, of_object, of_scene = head.estimates(composite, mask)
    output = composite + head.change(composite, coefficients)
    estimated = torch.cat([of_object, of_scene], 1).float()
    return scene_loss(output, composite, real, mask, agreed) + LIGHTS * 2 * functional.smooth_l1_loss(estimated, lights)
