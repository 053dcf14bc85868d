"""The paper's variant: each equation against a slow reading of the printed text, in NumPy with plain loops."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from harmonyrt.common import HarmonyError, HarmonyWarning
from harmonyrt.models import FFHQH, PAPER, PAPER_10M, PHNet, PHNetConfig, load_phnet
from harmonyrt.models.paper_blocks import EPS, PFE_GRID, PaperFeatureExtractor, PaperPatchNormalizer
from harmonyrt.models.patch_statistics import PatchGrid, biased_mean_and_std, pooling
from harmonyrt.training.shipping import configuration_name, ship

NARROW = (3, 8, 8, 16, 16, 32, 32)
TABLE_1 = {"none": {"extractor": False}, "D6": {"grid_count": (5,)}, "D56": {"grid_count": (4, 5)},
           "D456": {}, "D3456": {"grid_count": (2, 3, 4, 5)}, "no PN": {"grid_count": ()}}  # fmt: skip


def patches(plane: np.ndarray, g: int) -> list[np.ndarray]:
    """p(I, i) of one channel, row by row; the last row and column of patches take the remainder."""
    height, width = plane.shape
    rows = [r * (height // g) for r in range(g)] + [height]
    columns = [c * (width // g) for c in range(g)] + [width]
    return [plane[rows[r] : rows[r + 1], columns[c] : columns[c + 1]] for r in range(g) for c in range(g)]


def mean(plane: np.ndarray) -> float:
    """Eq. 2, of an image or of a patch."""
    return sum(float(x) for x in plane.ravel()) / plane.size


def variance(plane: np.ndarray) -> float:
    """Eq. 3 and 4, squared."""
    mu = mean(plane)
    return sum((float(x) - mu) ** 2 for x in plane.ravel()) / plane.size


def equations(picture, mask, alpha, beta, w, gamma):
    """Eq. 2 to 12 of one picture (C,H,W) and mask (H,W); float64."""
    g = len(alpha)
    scores = list(zip(alpha.ravel(), beta.ravel(), strict=True))
    out = np.empty_like(picture)
    for c, plane in enumerate(picture):
        foreground, background = plane * mask, plane * (1 - mask)
        mu_f, sigma_f = mean(foreground), math.sqrt(variance(foreground) + EPS)
        mu_b, sigma_b = mean(background), math.sqrt(variance(background) + EPS)
        mu_loc = sum(a * mean(p) for (a, _), p in zip(scores, patches(background, g), strict=True))  # Eq. 6
        spread = sum(b * variance(p) for (_, b), p in zip(scores, patches(background, g), strict=True)) / g**2
        sigma_loc = math.sqrt(max(spread, 0) + EPS)  # Eq. 7
        f_glob = (foreground - mu_f) * sigma_b / sigma_f + mu_b  # Eq. 5
        f_loc = (foreground - mu_f) * sigma_loc / sigma_f + mu_loc  # Eq. 8
        b_loc = (background - mu_b) * sigma_loc / sigma_b + mu_loc  # Eq. 9
        f = w[0] * f_loc + w[1] * f_glob + w[2]  # Eq. 10
        b = gamma[0] * b_loc + gamma[1] * background + gamma[2]  # Eq. 11
        out[c] = f * mask + b * (1 - mask)  # Eq. 12
    return out


def drawn(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("g", [1, 3, 5])
def test_statistics_are_equations_2_to_4(g):
    x = drawn(1, 2, 13, 17)
    got_mean, got_std = biased_mean_and_std(x, 0.0)
    patch_mean, patch_variance = PatchGrid(x, g).mean_and_variance(x)
    for c in range(2):
        plane = x[0, c].numpy()
        assert got_mean[0, c].item() == pytest.approx(mean(plane))
        assert got_std[0, c].item() == pytest.approx(math.sqrt(variance(plane)))
        want = patches(plane, g)
        np.testing.assert_allclose(patch_mean[0, c].flatten(), [mean(p) for p in want])
        np.testing.assert_allclose(patch_variance[0, c].flatten(), [variance(p) for p in want])


# Each case leaves only the terms of its equations in the output.
EQUATIONS = {
    "5: global transfer": ((0, 1, 0), (0, 0, 0)),
    "6, 7, 8: local transfer": ((1, 0, 0), (0, 0, 0)),
    "9: background, local": ((0, 0, 0), (1, 0, 0)),
    "10: weighted sum": ((0.3, 0.6, -0.2), (0, 0, 0)),
    "11: background, weighted sum": ((0, 0, 0), (0.4, 0.7, 0.1)),
    "12: both": ((0.3, 0.6, -0.2), (0.4, 0.7, 0.1)),
}


@pytest.mark.parametrize("mask_kind", ["hard", "soft", "empty", "full"])
@pytest.mark.parametrize("case", EQUATIONS)
def test_pn_is_the_printed_equation(case, mask_kind):
    x = drawn(1, 3, 14, 11) * 3
    soft = drawn(1, 1, 14, 11, seed=1)
    mask = {"hard": (soft > 0.6).double(), "soft": soft, "empty": soft * 0, "full": soft * 0 + 1}[mask_kind]
    block = PaperPatchNormalizer(3, (0.5, 0.5)).double().requires_grad_(False)
    w, gamma = EQUATIONS[case]
    block.alpha.copy_(drawn(3, 3, seed=2) - 0.2)
    block.beta.copy_(drawn(3, 3, seed=3))
    block.weights.copy_(torch.tensor(w))
    block.gammas.copy_(torch.tensor(gamma))
    want = equations(x[0].numpy(), mask[0, 0].numpy(), block.alpha.numpy(), block.beta.numpy(), w, gamma)
    np.testing.assert_allclose(block(x, mask)[0].numpy(), want, rtol=1e-6, atol=1e-8)


def test_scores_of_variances_that_add_up_to_less_than_nothing_count_as_nothing():
    block = PaperPatchNormalizer(2, (0.5, 0.5))
    torch.nn.init.constant_(block.beta, -1.0)
    x = drawn(1, 2, 8, 8).float().requires_grad_()
    out = block(x, (x[:, :1] > 0.5).float())
    out.square().sum().backward()
    assert torch.isfinite(out).all()
    assert torch.isfinite(x.grad).all()


def test_pfe_is_a_block_of_25_patches_with_two_trained_numbers_pooled_to_a_vector():
    channels = 32
    pfe = PaperFeatureExtractor(channels).double()
    assert [(name, p.numel()) for name, p in pfe.named_parameters()] == [("weights", 2)]
    with torch.no_grad():
        pfe.weights.copy_(torch.tensor([0.7, 0.2]))
    image, mask = drawn(1, 3, 21, 26), (drawn(1, 1, 21, 26, seed=1) > 0.5).double()
    alpha, beta = np.full((5, 5), 1 / 25), np.ones((5, 5))
    assert PFE_GRID**2 == 25
    changed = equations(image[0].numpy(), mask[0, 0].numpy(), alpha, beta, (0.7, 0.2, 0), (0, 1, 0))
    want = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(changed).mean(0)[None], (4, 8)).flatten()
    np.testing.assert_allclose(pfe(image, mask)[0].detach(), want, rtol=1e-6)


@pytest.mark.parametrize(("length", "cells"), [(64, 16), (70, 16), (24, 32), (37, 5)])
def test_pooling_is_torchs_adaptive_average(length, cells):
    x = drawn(1, 1, length)
    want = torch.nn.functional.adaptive_avg_pool1d(x, cells)[0, 0]
    torch.testing.assert_close(pooling(length, cells, x) @ x[0, 0], want)


def test_the_vector_reweights_channels_one_by_one():
    network = PHNet(PHNetConfig(enc_sizes=NARROW, variant="paper")).eval()
    x, vector = drawn(1, 32, 4, 4).float(), torch.linspace(-1, 1, 32)[None]
    gates = network.SE_block(x, vector) / x
    want = network.SE_block.fc(x.mean((2, 3))) + torch.sigmoid(vector)
    torch.testing.assert_close(gates, want[:, :, None, None].expand_as(gates))


def test_pn_follows_the_transposed_convolutions_of_the_last_three_layers():
    network = PHNet(dataclasses.replace(PAPER_10M, enc_sizes=NARROW)).eval()
    seen = []
    for normalizer in network.normalizers:
        normalizer.register_forward_hook(lambda module, given, _: seen.append((len(module.alpha) ** 2, given)))
    image, mask = torch.rand(1, 3, 32, 48), (torch.rand(1, 1, 32, 48) > 0.5).float()
    network(image, mask)
    assert [patches for patches, _ in seen] == [9, 16, 25]
    assert [tuple(features.shape[1:]) for _, (features, _) in seen] == [(8, 16, 24), (8, 16, 24), (3, 32, 48)]
    half = mask[:, :, ::2, ::2]
    for (_, (_, given)), want in zip(seen, (half, half, mask), strict=True):
        assert torch.equal(given, want)
    kinds = [[type(module).__name__ for module in block] for block in network.decoder]
    assert kinds == [["ConvTranspose2d", "BatchNorm2d", "LeakyReLU"]] * 3 + [["ConvTranspose2d"]] * 3


def test_its_size_is_the_papers():
    with torch.device("meta"):
        counts = [sum(p.numel() for p in PHNet(config).parameters()) for config in (PAPER, PAPER_10M)]
    assert [round(count / 1e6, 1) for count in counts] == [39.9, 10.0]


@pytest.mark.parametrize("setup", TABLE_1)
@pytest.mark.parametrize("output", ["sigmoid", "residual"])
def test_every_setup_of_table_1_trains_saves_and_loads(setup, output, tmp_path):
    torch.manual_seed(0)
    config = PHNetConfig(enc_sizes=NARROW, variant="paper", output=output, **TABLE_1[setup])
    network = PHNet(config)
    image, mask = torch.rand(2, 3, 32, 32), (torch.rand(2, 1, 32, 32) > 0.5).float()
    output_before = network(image, mask)
    if output == "residual":
        assert torch.equal(output_before, image)
    (output_before - 0.5 * image).square().mean().backward()
    learns = [p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in network.parameters()]
    assert all(learns)
    saved = ship(network.state_dict(), config, tmp_path / "w.safetensors")
    loaded = load_phnet(saved)
    assert loaded.config == config
    torch.testing.assert_close(loaded(image, mask), network.eval()(image, mask), rtol=2e-2, atol=2e-3)


def test_a_bare_state_dict_is_recognised(tmp_path):
    for name, changes in TABLE_1.items():
        config = PHNetConfig(enc_sizes=NARROW, variant="paper", **changes)
        path = tmp_path / f"{name}.pth"
        torch.save(PHNet(config).state_dict(), path)
        with pytest.warns(HarmonyWarning, match="does not say|no feature extractor"):
            assert load_phnet(path).config == config


def test_what_the_variant_does_not_have_is_refused():
    with pytest.raises(HarmonyError, match="variant 'printed' is not known"):
        PHNetConfig(variant="printed")
    with pytest.raises(HarmonyError, match="no patch_shrinkage"):
        PHNetConfig(variant="paper", patch_shrinkage=0.1)
    with pytest.raises(HarmonyError, match="normalizes 7 layers"):
        PHNetConfig(variant="paper", grid_count=(2,) * 7)


def test_the_released_network_is_said_as_before():
    """Runs resume only if this text is the same."""
    assert "variant" not in repr(FFHQH)
    assert FFHQH.grid_count == (4, 3, 2, 1)
    assert PAPER.grid_count == (3, 4, 5)
    assert [configuration_name(config) for config in (FFHQH, PAPER, PAPER_10M)] == ["ffhqh", "paper", "paper-10m"]
