"""Training losses. Pictures are (B,3,H,W) and masks (B,1,H,W) in [0, 1]; `output` is the network's, not blended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

A_MIN = 100
"""Pixels: a smaller foreground is normalised as if it had this many (paper, Eq. 14)."""
WEIGHTS = (0.2, 0.01, 0.01)
"""Of the PSNR, FN-MSE and gradient terms (paper, Eq. 15, and the released code)."""
SPOILT = 8
"""How many times more the logarithm of :func:`foreground_loss` counts what lies past the composite's own error."""


def blend(output: Tensor, composite: Tensor, mask: Tensor) -> Tensor:
    """The harmonized picture: the network's output under the mask, the composite elsewhere."""
    return output * mask + composite * (1 - mask)


@dataclass(frozen=True)
class BatchStatistics:
    """How a loss takes a mean or a maximum over the batch: here of the samples that it is given, which are all.

    Where processes share a batch (:mod:`harmonyrt.training.processes`), another one takes those of all parts.
    """

    def mean(self, values: Tensor) -> Tensor:
        return values.mean()

    def largest(self, values: Tensor) -> Tensor:
        return values.amax()


WHOLE = BatchStatistics()


def psnr_loss(output: Tensor, real: Tensor, batch: BatchStatistics = WHOLE) -> Tensor:
    """100 / PSNR of the whole batch with peak 1 (released code)."""
    return 100 / (1e-7 - 10 * torch.log10(batch.mean((output - real).square())))


def paper_psnr_loss(output: Tensor, real: Tensor, batch: BatchStatistics = WHOLE) -> Tensor:
    """Eq. 13: 100 / log10(max(I) / ||error||_2), the norm taken as root mean square so that size does not matter.

    With the sum over pixels, as printed, the logarithm is negative for any picture of usual size.
    """
    return 100 / (1e-7 + torch.log10(batch.largest(real) / batch.mean((output - real).square()).sqrt()))


def fn_mse(output: Tensor, real: Tensor, mask: Tensor, min_area: float = A_MIN) -> Tensor:
    """Foreground-normalised squared error of each sample, (B,): whole picture, over 3 x the mask's area."""
    area = mask.sum((1, 2, 3)).clamp(min=min_area)
    return (output - real).square().sum((1, 2, 3)) / (3 * area)


def _gradients(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Forward differences in x and y; the last column and row have difference 0."""
    dx, dy = torch.zeros_like(picture), torch.zeros_like(picture)
    dx[..., :-1] = picture[..., 1:] - picture[..., :-1]
    dy[..., :-1, :] = picture[..., 1:, :] - picture[..., :-1, :]
    return dx, dy


def gradient_loss(output: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    """Mean over x and y of the L1 distance of gradients, on masked pictures (released code)."""
    pairs = zip(_gradients(output * mask), _gradients(real * mask), strict=True)
    return torch.stack([(a - b).abs().mean() for a, b in pairs]).mean()


def paper_gradient_loss(output: Tensor, real: Tensor) -> Tensor:
    """The paper's words: MSE of gradients."""
    pairs = zip(_gradients(output), _gradients(real), strict=True)
    return torch.stack([(a - b).square().mean() for a, b in pairs]).mean()


def released_loss(
    output: Tensor, composite: Tensor, real: Tensor, mask: Tensor, batch: BatchStatistics = WHOLE
) -> Tensor:
    """0.2 PSNR + 0.01 FN-MSE + 0.01 gradient, on the output before blending, as the released code trains."""
    psnr, area, gradient = WEIGHTS
    return (
        psnr * psnr_loss(output, real, batch)
        + area * fn_mse(output, real, mask).mean()
        + gradient * gradient_loss(output, real, mask)
    )


def paper_loss(output: Tensor, composite: Tensor, real: Tensor, mask: Tensor, batch: BatchStatistics = WHOLE) -> Tensor:
    """Eq. 15 with Eq. 13 (but for its norm) and 14, on the blended picture (the paper's network blends)."""
    psnr, area, gradient = WEIGHTS
    harmonized = blend(output, composite, mask)
    return (
        psnr * paper_psnr_loss(harmonized, real, batch)
        + area * fn_mse(harmonized, real, mask).mean()
        + gradient * paper_gradient_loss(harmonized, real)
    )


def foreground_loss(
    output: Tensor, composite: Tensor, real: Tensor, mask: Tensor, batch: BatchStatistics = WHOLE
) -> Tensor:
    """The loss of the shipped weights' last runs: error of the blended picture, per foreground pixel.

    Three views of one error. The squared one is the fMSE that is reported, and is dominated by the pictures that are
    furthest off; the absolute one weighs pictures more evenly; the logarithm is a PSNR per picture, and counts nine
    times if a picture came out worse than it went in. Its floor, an error of 2/255, is where changes become
    invisible.
    """
    pixels = 3 * mask.sum((1, 2, 3)).clamp(min=mask.shape[-1] * mask.shape[-2] * A_MIN / 256**2)
    error = blend(output, composite, mask) - real
    squared = error.square().sum((1, 2, 3)) / pixels
    absolute = error.abs().sum((1, 2, 3)) / pixels
    before = (composite - real).square().sum((1, 2, 3)) / pixels
    floor = (2 / 255) ** 2
    logarithm = torch.log(squared + floor)
    spoilt = torch.relu(logarithm - torch.log(before + floor))
    return (10 * squared + absolute + 0.02 * (logarithm + SPOILT * spoilt)).mean()


Loss = Callable[..., Tensor]
LOSSES: dict[str, Loss] = {"foreground": foreground_loss, "released": released_loss, "paper": paper_loss}
"""By name: ``loss(output, composite, real, mask, batch) -> scalar``."""
