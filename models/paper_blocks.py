"""PN and PFE as the paper prints them (Efremyan et al., arXiv 2402.17561, Eq. 2 to 12).

The released network has others (:mod:`harmonyrt.models.phnet`). Where the text leaves a choice, docs/phnet.md, "The
paper's variant", names the reading that is taken here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from harmonyrt.models.patch_statistics import PatchGrid, biased_mean_and_std, in_float32, picture_sum, pooling

EPS = 1e-7  # joins every variance: the paper has none, and an empty mask would divide by 0
PFE_GRID = 5  # 25 patches (paper, 4.3)


def transferred(picture: Tensor, mask: Tensor, alpha: Tensor, beta: Tensor, weights: Tensor, gammas: Tensor) -> Tensor:
    """Eq. 2 to 12: the foreground with the statistics of the background, locally and globally, over the background.

    Args:
        picture: (B,C,H,W).
        mask: (B,1,H,W), 1 = foreground.
        alpha: (g,g), scores of the patches' means (Eq. 6).
        beta: (g,g), scores of the patches' variances (Eq. 7); a sum below 0 counts as 0.
        weights: w0 of the local, w1 of the global transfer, and the constant w2 (Eq. 10), (3,).
        gammas: of the local transfer, of the background itself, and a constant (Eq. 11), (3,).

    Returns:
        N(F, B, M), (B,C,H,W).
    """
    foreground, background = picture * mask, picture * (1 - mask)
    mean_fg, std_fg = biased_mean_and_std(foreground, EPS)
    mean_bg, std_bg = biased_mean_and_std(background, EPS)
    mean_patch, variance_patch = PatchGrid(picture, alpha.shape[0]).mean_and_variance(background)
    mean_local = picture_sum(alpha * mean_patch)
    std_local = torch.sqrt((picture_sum(beta * variance_patch) / beta.numel()).clamp(min=0) + EPS)

    # Eq. 8 and 5 in Eq. 10, and Eq. 9 in Eq. 11: each an affine map once the statistics are known.
    w0, w1, w2 = weights[0], weights[1], weights[2]
    scale = (w0 * std_local + w1 * std_bg) / std_fg
    foreground_out = (foreground - mean_fg) * scale + (w0 * mean_local + w1 * mean_bg + w2)
    g0, g1, g2 = gammas[0], gammas[1], gammas[2]
    background_out = (background - mean_bg) * (g0 * std_local / std_bg) + g0 * mean_local + g1 * background + g2
    return foreground_out * mask + background_out * (1 - mask)


class PaperPatchNormalizer(nn.Module):
    """PN block (paper, 4.1) with one score per patch and three factors for each region, shared by the channels."""

    def __init__(self, grid: int, init_weights: tuple[float, float]) -> None:
        """`grid` patches per side; `init_weights` are those of the global and of the local transfer, w1 and w0."""
        super().__init__()
        self.alpha = nn.Parameter(torch.full((grid, grid), 1 / grid**2))
        self.beta = nn.Parameter(torch.ones(grid, grid))
        self.weights = nn.Parameter(torch.tensor([init_weights[1], init_weights[0], 0.0]))
        self.gammas = nn.Parameter(torch.tensor([0.5, 0.5, 0.0]))

    @in_float32
    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """features (B,C,H,W), mask (B,1,H,W) -> (B,C,H,W)."""
        return transferred(features, mask, self.alpha, self.beta, self.weights, self.gammas)


class PaperFeatureExtractor(nn.Module):
    """PFE (paper, 4.2): PN of the composite with w0 and w1 alone trained, pooled to a vector of `channels` values."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([0.5, 0.5]))
        rows = next(n for n in range(math.isqrt(channels), 0, -1) if channels % n == 0)
        self.cells = (rows, channels // rows)

    @in_float32
    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """image (B,3,H,W), mask (B,1,H,W) -> (B,channels)."""
        alpha = torch.full((PFE_GRID, PFE_GRID), 1 / PFE_GRID**2, device=image.device, dtype=image.dtype)
        weights = torch.cat([self.weights, self.weights.new_zeros(1)])
        kept = image.new_tensor([0.0, 1.0, 0.0])
        grey = transferred(image, mask, alpha, torch.ones_like(alpha), weights, kept).mean(1)
        rows, columns = (
            pooling(length, cells, grey) for length, cells in zip(grey.shape[-2:], self.cells, strict=True)
        )
        return (rows @ grey @ columns.T).flatten(1)
