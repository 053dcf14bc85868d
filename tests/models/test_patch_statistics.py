"""Patch statistics equal a plain loop over patches, remainder in the last patch."""

import pytest
import torch

from harmonyrt.models.patch_statistics import PatchGrid, global_mean_and_std, masked_mean_and_std


def patches_by_loop(x, g):
    height, width = x.shape[-2:]
    dy, dx = height // g, width // g
    for r in range(g):
        for c in range(g):
            bottom = height if r == g - 1 else (r + 1) * dy
            right = width if c == g - 1 else (c + 1) * dx
            yield r, c, x[..., r * dy : bottom, c * dx : right]


@pytest.mark.parametrize(("height", "width", "cells"), [(12, 12, 3), (17, 23, 5), (13, 9, 4), (3, 3, 5)])
def test_patch_mean_std_and_spread(height, width, cells):
    x = torch.rand(2, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    grid = PatchGrid(x, cells)
    sums, (mean, std) = grid.sum(x), grid.mean_and_std(x)
    spread = grid.spread(mean)
    for (r, c, patch), (_, _, spread_patch) in zip(
        patches_by_loop(x, cells), patches_by_loop(spread, cells), strict=True
    ):
        torch.testing.assert_close(sums[..., r, c], patch.sum((-2, -1)))
        if patch[0, 0].numel() > 1:
            torch.testing.assert_close(mean[..., r, c], patch.mean((-2, -1)))
            torch.testing.assert_close(std[..., r, c], patch.flatten(-2).std(-1))
            torch.testing.assert_close(spread_patch, mean[..., r, c, None, None].expand_as(spread_patch))
        elif patch[0, 0].numel() == 0:
            assert (mean[..., r, c] == 0).all()
            assert (std[..., r, c] == 0).all()


def test_masked_statistics_square_a_soft_mask_in_the_variance():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 2, 6, 5, dtype=torch.float64, generator=generator)
    m = torch.rand(1, 1, 6, 5, dtype=torch.float64, generator=generator)
    mean, std = masked_mean_and_std(x, m, 1e-7)
    n = m.sum()
    for c in range(2):
        mu = (x[0, c] * m[0, 0]).sum() / (n + 1e-7)
        sigma = ((((x[0, c] - mu) * m[0, 0]) ** 2).sum() / (n + 1e-7) + 1e-7).sqrt()
        torch.testing.assert_close(mean[0, c, 0, 0], mu)
        torch.testing.assert_close(std[0, c, 0, 0], sigma)


def test_the_global_deviation_is_that_of_all_pixels():
    x = torch.rand(2, 3, 9, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean, std = global_mean_and_std(x)
    torch.testing.assert_close(mean[..., 0, 0], x.mean((2, 3)))
    torch.testing.assert_close(std[..., 0, 0], x.flatten(2).std(-1))
