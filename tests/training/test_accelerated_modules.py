"""The faster modules compute what they replace."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from harmonyrt.models import PHNet, PHNetConfig
from harmonyrt.models.phnet import GatedSqueezeExcitation, SkipFusion
from harmonyrt.training.accelerated_modules import (
    Float32InstanceNorm,
    GatedFusion,
    Gates,
    SummedInstanceNorm,
    WinogradConv2d,
    accelerate,
)
from harmonyrt.training.accelerated_modules import keep_norms_in_float32 as keep_norms

SMALL = PHNetConfig(enc_sizes=(3, 8, 8, 16, 16, 32, 32), grid_count=(2, 2, 1), output="residual")
CHANGES = {"norms": keep_norms, "accelerated": accelerate}


def _difference(a, b):
    return ((a.float() - b.float()).norm() / b.float().norm()).item()


def _network():
    torch.manual_seed(1)
    network = PHNet(SMALL).requires_grad_(True).train()
    nn.init.normal_(network.decoder[-1][0].weight, std=0.1)  # the residual output begins at zero
    return network


def _sample():
    torch.manual_seed(2)
    return torch.rand(2, 3, 32, 32), (torch.rand(2, 1, 32, 32) > 0.5).float(), torch.rand(2, 3, 32, 32)


def _gradient(network):
    image, mask, real = _sample()
    (network(image, mask) - real).square().mean().backward()
    return torch.cat([p.grad.flatten() for _, p in sorted(network.named_parameters()) if p.grad is not None])


def _layer(kind):
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(12, 10, 3, padding=1) if kind == "transposed" else nn.Conv2d(12, 10, 3, padding=1)
    if kind == "no bias":
        layer.bias = None
    return layer


@pytest.mark.parametrize("kind", ["plain", "no bias", "transposed"])
@pytest.mark.parametrize("size", [(4, 6), (2, 2), (5, 6)])
def test_winograds_form_is_the_convolution(size, kind):
    layer = _layer(kind)
    x = torch.randn(2, 12, *size).to(torch.bfloat16).requires_grad_()
    upstream = torch.randn(2, 10, *size).to(torch.bfloat16)
    inputs = (x, *layer.parameters())
    expected = layer(x.float())
    expected_gradients = torch.autograd.grad(expected, inputs, upstream.float())
    with torch.autocast("cpu", torch.bfloat16):
        result = WinogradConv2d(layer)(x)
    gradients = torch.autograd.grad(result, inputs, upstream)
    assert _difference(result, expected) < 0.012
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        assert gradient.shape == wanted.shape
        assert _difference(gradient, wanted) < 0.012


@pytest.mark.parametrize("kind", ["plain", "transposed"])
def test_outside_autocast_the_convolution_is_pytorchs(kind):
    layer, x = _layer(kind), torch.randn(1, 12, 6, 6)
    assert torch.equal(WinogradConv2d(layer)(x), layer(x))


@pytest.mark.parametrize("size", [(4, 6), (5, 6)])
def test_gates_can_be_moved_into_the_kernel(size):
    torch.manual_seed(0)
    block, fusion = GatedSqueezeExcitation(16), SkipFusion(16)
    nn.init.uniform_(fusion.rconv.weight)  # all is positive, so that no ReLU changes its mind about a rounding
    x = torch.rand(3, 16, *size).to(torch.bfloat16).requires_grad_()
    extracted = torch.randn(3, 3, 8, 8, requires_grad=True)
    upstream = torch.rand(3, 16, *size).to(torch.bfloat16)
    inputs = (x, extracted, *block.parameters(), *fusion.parameters())
    expected = fusion(block(x.float(), extracted), x.float())
    expected_gradients = torch.autograd.grad(expected, inputs, upstream.float())
    gated = Gates(block.fc)(x.float(), extracted)
    with torch.autocast("cpu", torch.bfloat16):
        result = GatedFusion(fusion.rconv)(gated, x)
    gradients = torch.autograd.grad(result, inputs, upstream)
    assert _difference(result, expected) < 0.012
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        assert gradient.shape == wanted.shape
        assert _difference(gradient, wanted) < 0.03


@pytest.mark.parametrize("norm", [Float32InstanceNorm(5), SummedInstanceNorm(1e-5)])
def test_norms_are_instance_norms(norm):
    torch.manual_seed(0)
    x = (torch.randn(3, 5, 16, 12) * 2 + 1).requires_grad_()
    upstream = torch.randn(3, 5, 16, 12)
    expected, result = nn.InstanceNorm2d(5)(x), norm(x)
    assert torch.allclose(result, expected, atol=1e-5)
    ours, theirs = (torch.autograd.grad(y, x, upstream, retain_graph=True)[0] for y in (result, expected))
    assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_keeps_names_and_function(change):
    plain = _network()
    changed = copy.deepcopy(plain)
    CHANGES[change](changed)
    assert list(changed.state_dict()) == list(plain.state_dict())
    assert _difference(_gradient(changed), _gradient(plain)) < 1e-4


@pytest.mark.parametrize("norm", [Float32InstanceNorm(8), SummedInstanceNorm(1e-5)])
def test_norms_have_a_better_gradient_than_autocast_gives(norm):
    torch.manual_seed(0)
    x = (torch.randn(2, 8, 96, 96) + 2).to(torch.bfloat16).requires_grad_()
    upstream = (torch.randn(2, 8, 96, 96) + 1).to(torch.bfloat16)
    (exact,) = torch.autograd.grad(nn.InstanceNorm2d(8)(x.float()), x, upstream.float())

    def error(norm):
        with torch.autocast("cpu", torch.bfloat16):
            result = norm(x)
        return _difference(torch.autograd.grad(result, x, upstream.to(result.dtype))[0], exact)

    assert error(norm) < 0.6 * error(nn.InstanceNorm2d(8))


@pytest.mark.parametrize("name", CHANGES)
def test_the_papers_variant_is_computed_as_well(name):
    torch.manual_seed(1)
    network = PHNet(PHNetConfig(enc_sizes=SMALL.enc_sizes, variant="paper")).eval()
    image, mask, _ = _sample()
    with torch.no_grad():
        want = network(image, mask)
        CHANGES[name](network)
        torch.testing.assert_close(network(image, mask), want, rtol=1e-3, atol=1e-4)
