"""Optimizers written here, against their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harmonyrt.models import PHNet, PHNetConfig
from harmonyrt.training.optimizers import Lion, Muon, build_optimizer, orthogonal


def test_lion_follows_its_definition():
    parameter = nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
    optimizer = Lion([parameter], lr=0.1, betas=(0.9, 0.99), weight_decay=0.5)
    weights, momentum = parameter.detach().clone(), torch.zeros(3)
    for gradient in (torch.tensor([1.0, -0.5, 0.0]), torch.tensor([-0.02, 0.3, -1.0])):
        parameter.grad = gradient.clone()
        optimizer.step()
        weights = weights - 0.1 * (torch.sign(0.9 * momentum + 0.1 * gradient) + 0.5 * weights)
        momentum = 0.99 * momentum + 0.01 * gradient
    assert torch.allclose(parameter, weights)


@pytest.mark.parametrize("shape", [(24, 200), (200, 24), (32, 64)])
def test_a_matrix_becomes_orthogonal(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape) * torch.logspace(0, -2, shape[1])  # singular values over two orders of magnitude
    left, values, right = torch.linalg.svd(orthogonal(1e-4 * matrix), full_matrices=False)
    assert 0.6 < values.min() <= values.max() < 1.3
    left_before, _, right_before = torch.linalg.svd(matrix, full_matrices=False)
    assert torch.linalg.vector_norm(left @ right - left_before @ right_before) < 0.1 * min(shape) ** 0.5


def test_orthogonal_is_finite_for_what_has_no_direction():
    assert torch.isfinite(orthogonal(torch.zeros(8, 30))).all()
    assert torch.isfinite(orthogonal(torch.ones(8, 30))).all()


def test_muon_takes_the_rest_as_adam():
    parameter, twin = (nn.Parameter(torch.tensor([1.0, -2.0, 3.0])) for _ in range(2))
    muon, adam = (
        Muon([parameter], lr=0.1, weight_decay=0.5),
        torch.optim.AdamW([twin], 0.1, (0.9, 0.99), weight_decay=0.5),
    )
    for gradient in (torch.tensor([1.0, -0.5, 0.0]), torch.tensor([-0.02, 0.3, -1.0])):
        for one, optimizer in ((parameter, muon), (twin, adam)):
            one.grad = gradient.clone()
            optimizer.step()
    assert torch.allclose(parameter, twin)


def test_muons_updates_are_as_long_as_adams():
    parameter = nn.Parameter(torch.zeros(64, 64, 3, 3))
    parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    Muon([parameter], lr=1e-3).step()
    assert 0.8 < parameter.square().mean().sqrt() / (1e-3 * 0.2) < 1.2


@pytest.mark.parametrize("name", ["adamw", "lion", "muon"])
def test_every_optimizer_fits_a_small_network(name):
    torch.manual_seed(0)
    network = PHNet(PHNetConfig(enc_sizes=(3, 8, 8, 8, 8, 16, 16), grid_count=(2, 2, 1), output="residual"))
    optimizer = build_optimizer(network, name, lr=1e-3)
    image, mask = torch.rand(2, 3, 32, 32), torch.zeros(2, 1, 32, 32)
    mask[..., 8:24, 8:24] = 1
    losses = []
    for _ in range(15):
        loss = (network(image, mask) - image * 0.7).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] * 0.8


def test_scales_biases_and_patch_scores_do_not_decay():
    network = PHNet(PHNetConfig(enc_sizes=(3, 8, 8, 8, 8, 16, 16), grid_count=(2, 2, 1)))
    decay = {
        id(p): g["weight_decay"] for g in build_optimizer(network, weight_decay=0.1).param_groups for p in g["params"]
    }
    decays = {name: decay[id(parameter)] for name, parameter in network.named_parameters()}
    assert len(decay) == len(decays)
    assert decays["encoder.0.0.weight"] == decays["SE_block.fc.0.weight"] == 0.1
    for free in ("encoder.0.0.bias", "normalizers.0.fg_var", "normalizers.0.grid_weights", "decoder.0.1.weight"):
        assert decays[free] == 0
