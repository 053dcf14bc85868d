"""Means and standard deviations of masks and patches, as sums and products: no loop over patches.

A grid of g x g patches is two 0/1 membership matrices R (g, H) and C (g, W); the sums of all patches of x are R x C^T.
The partition is the published one: patches of H//g rows and W//g columns, the last ones take the remainder.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")  # a tensor or several


def in_float32(function: Callable[..., Result]) -> Callable[..., Result]:
    """Keep a statistic in float32 under autocast: a small region amplifies rounding of its mean by thousands."""

    @functools.wraps(function)
    def wrapper(self, *tensors: Tensor) -> Result:
        device = tensors[0].device.type
        if not torch.is_autocast_enabled(device):
            return function(self, *tensors)
        with torch.autocast(device, enabled=False):
            return function(self, *(tensor.float() for tensor in tensors))

    return wrapper


def membership(length: int, cells: int, like: Tensor) -> Tensor:
    """0/1 matrix (cells, length): which of `length` rows belongs to which of `cells` patches.

    With more cells than rows, every row belongs to the last cell and the others are empty, as published.
    """
    first_rows = torch.arange(cells, device=like.device) * (length // cells)
    passed = (torch.arange(length, device=like.device) >= first_rows[:, None]).to(like.dtype)
    return torch.cat([passed[:-1] - passed[1:], passed[-1:]])


class PatchGrid:
    """A grid of patches over pictures of one size: sums of patches, and patch values spread back over their pixels."""

    def __init__(self, picture: Tensor, cells: int) -> None:
        self.rows = membership(picture.shape[-2], cells, picture)  # (g, H)
        self.columns = membership(picture.shape[-1], cells, picture)  # (g, W)
        self.pixels = self.rows.sum(1)[:, None] * self.columns.sum(1)[None, :]  # (g, g)

    def sum(self, x: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,C,g,g)."""
        return self.rows @ (x @ self.columns.T)

    def spread(self, values: Tensor) -> Tensor:
        """(B,C,g,g) -> (B,C,H,W): every pixel receives the value of its patch."""
        return (self.rows.T @ values) @ self.columns

    def mean_and_variance(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and biased variance of patches (paper, Eq. 2 and 4), each (B,C,g,g); 0 for a patch without pixels."""
        pixels = self.pixels.clamp(min=1)
        mean = self.sum(x) / pixels
        deviation = x - self.spread(mean)
        return mean, self.sum(deviation * deviation) / pixels

    def mean_and_std(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and unbiased standard deviation of every patch, each (B,C,g,g); 0 for a patch without variance."""
        mean = self.sum(x) / self.pixels.clamp(min=1)
        deviation = x - self.spread(mean)
        return mean, torch.sqrt(self.sum(deviation * deviation) / (self.pixels - 1).clamp(min=1))


def picture_sum(x: Tensor) -> Tensor:
    """(B,C,H,W) -> (B,C,1,1), by rows first: engines that add number after number lose four digits on a megapixel."""
    return x.sum(3, keepdim=True).sum(2, keepdim=True)


def masked_mean_and_std(x: Tensor, mask: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Statistics of x (B,C,H,W) under a mask (B,1,H,W), each (B,C,1,1).

    Biased; eps joins the count and the variance; the mask is squared in the variance (docs/phnet.md, "PN").
    """
    count = picture_sum(mask) + eps
    mean = picture_sum(x * mask) / count
    deviation = (x - mean) * mask
    return mean, torch.sqrt(picture_sum(deviation * deviation) / count + eps)


def global_mean_and_std(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased standard deviation over all pixels, each (B,C,1,1)."""
    pixels = x.shape[-2] * x.shape[-1]
    mean = picture_sum(x) / pixels
    deviation = x - mean
    return mean, torch.sqrt(picture_sum(deviation * deviation) / (pixels - 1))


def biased_mean_and_std(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and biased deviation over all pixels (paper, Eq. 2 and 3), each (B,C,1,1); eps joins the variance.

    The sums are products, as those of patches: OpenVINO joins sums of rows and columns to one of all pixels and adds
    number after number, which was off by 2e-4 on 256 x 256 pixels.
    """
    whole = PatchGrid(x, 1)
    mean = whole.sum(x) / whole.pixels
    deviation = x - mean
    return mean, torch.sqrt(whole.sum(deviation * deviation) / whole.pixels + eps)


def pooling(length: int, cells: int, like: Tensor) -> Tensor:
    """Matrix (cells, length) of adaptive average pooling: cell i is the mean of floor(i L/n) to ceil((i + 1) L/n)."""
    cell = torch.arange(cells, device=like.device)[:, None]
    row = torch.arange(length, device=like.device)[None, :]
    first = cell * length // cells
    end = ((cell + 1) * length + cells - 1) // cells
    inside = ((row >= first) & (row < end)).to(like.dtype)
    return inside / (end - first).to(like.dtype)
