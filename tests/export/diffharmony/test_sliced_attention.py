"""Attention in slices gives what attention gives, and holds fewer scores."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from harmonyrt.export.diffharmony import sliced_attention, specialise
from harmonyrt.export.diffharmony.random_weights import random_diffharmony
from harmonyrt.models import diffharmony as dh

TOKENS = 40


@pytest.fixture
def products(monkeypatch):
    """How many queries each product of a sliced attention has, where a slice may hold the scores of 16 queries."""
    monkeypatch.setattr(sliced_attention, "LARGEST_SCORES", 4 * 2 * 16 * TOKENS)
    seen, whole = [], F.scaled_dot_product_attention

    def recorded(query, key, value):
        seen.append(query.shape[2])
        return whole(query, key, value)

    monkeypatch.setattr(F, "scaled_dot_product_attention", recorded)
    return seen


def tensors() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(1, 2, TOKENS, 8, generator=generator) for _ in range(3))


def test_slices_give_the_same(products):
    query, key, value = tensors()
    found = sliced_attention.attend(query, key, value)
    assert products == [14, 14, 12]
    torch.testing.assert_close(found, F.scaled_dot_product_attention(query, key, value))


def test_what_fits_is_not_sliced(products):
    query, key, value = tensors()
    sliced_attention.attend(query[:, :, :16], key, value)
    assert products == [16]


def test_sizes_of_use():
    """8 heads at 512 pixels are computed at once; at 1024 pixels, in as many slices as 8.6 GB have GiB."""
    for side, slices in ((512, 1), (1024, 8)):
        tokens = (side // 8) ** 2
        assert -(-sliced_attention.BYTES * 8 * tokens**2 // sliced_attention.LARGEST_SCORES) == slices


def test_a_step_with_slices_is_the_step(products):
    model = random_diffharmony("tiny")
    rows, _ = specialise.programs(dh.SamplerConfig(), [1])
    generator = torch.Generator().manual_seed(1)
    latents, condition, noise = (torch.randn(1, c, 8, 8, generator=generator) for c in (4, 5, 4))
    _, predicted = specialise.DenoisingStep(model.unet, model.text, rows)(latents, condition, noise, torch.tensor([0]))
    sliced = len(products)
    unet_input = torch.cat([latents * rows[0].input_scale, condition], 1)
    expected = model.unet(unet_input, torch.tensor(rows[0].timestep), model.text)
    assert sliced > len(products) - sliced, "the plain network, which has cross-attentions too, is not sliced"
    torch.testing.assert_close(predicted, expected, atol=2e-5, rtol=1e-4)
