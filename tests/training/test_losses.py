"""Losses against the released ones, and what the paper's and ours are meant to do."""

from __future__ import annotations

import pytest
import torch

from harmonyrt.training import losses


@pytest.fixture(scope="module")
def released(golden_losses):
    real = torch.from_numpy(golden_losses["real"]).double() / 255
    return {
        "output": torch.from_numpy(golden_losses["pred"]).double(),
        "real": real,
        "mask": torch.from_numpy(golden_losses["mask"]).double(),
        "expected": golden_losses,
    }


def test_fn_mse_equals_the_released_one(released):
    got = losses.fn_mse(released["output"], released["real"], released["mask"])
    assert got.numpy() == pytest.approx(released["expected"]["fnmse"], rel=1e-5)


def test_gradient_loss_equals_the_released_one(released):
    got = losses.gradient_loss(released["output"], released["real"], released["mask"])
    assert float(got) == pytest.approx(float(released["expected"]["gradient"]), rel=1e-5)


def test_psnr_loss_equals_the_released_one(released):
    got = losses.psnr_loss(released["output"], released["real"])
    assert float(got) == pytest.approx(float(released["expected"]["psnr_loss"]), rel=1e-5)


def test_released_loss_equals_the_released_sum(released):
    got = losses.released_loss(released["output"], released["real"], released["real"], released["mask"])
    assert float(got) == pytest.approx(float(released["expected"]["total"]), rel=1e-5)


@pytest.fixture
def scene():
    """real, mask and a composite that is 0.2 too bright under the mask."""
    generator = torch.Generator().manual_seed(0)
    real = torch.rand(2, 3, 32, 32, generator=generator) * 0.6 + 0.1
    mask = torch.zeros(2, 1, 32, 32)
    mask[:, :, 8:24, 4:20] = 1
    return real, mask, real + 0.2 * mask


@pytest.mark.parametrize("name", losses.LOSSES)
def test_every_loss_falls_as_the_output_nears_the_real_picture(scene, name):
    real, mask, composite = scene
    values = [float(losses.LOSSES[name](real + offset, composite, real, mask)) for offset in (0.2, 0.1, 0.02)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1]


@pytest.mark.parametrize("name", losses.LOSSES)
def test_every_loss_has_a_finite_gradient_at_the_answer(scene, name):
    real, mask, composite = scene
    output = real.clone().requires_grad_()
    losses.LOSSES[name](output + 1e-4, composite, real, mask).backward()
    assert torch.isfinite(output.grad).all()


def test_foreground_loss_does_not_look_outside_the_mask(scene):
    real, mask, composite = scene
    noise = torch.rand_like(real) * (1 - mask)
    inside = losses.foreground_loss(real, composite, real, mask)
    assert float(losses.foreground_loss(real + noise, composite, real, mask)) == pytest.approx(float(inside))


def test_foreground_loss_counts_a_spoilt_picture_more(scene):
    """The same error costs more where the composite was right than where it was further off."""
    real, mask, _ = scene
    output = real + 0.1 * mask
    right, wrong = real.clone(), real + 0.2 * mask
    spoilt = losses.foreground_loss(output, right, real, mask) - losses.foreground_loss(output, wrong, real, mask)
    expected = 0.16 * torch.log(torch.tensor((0.1**2 + (2 / 255) ** 2) / (2 / 255) ** 2))
    assert float(spoilt) == pytest.approx(float(expected), rel=0.01)


def test_fn_mse_floors_tiny_areas():
    real, mask = torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    mask[..., 0, 0] = 1
    assert float(losses.fn_mse(real + mask, real, mask)) == pytest.approx(3 / (3 * 100))


def test_blend_keeps_the_composite_outside_the_mask(scene):
    real, mask, composite = scene
    assert torch.equal(losses.blend(torch.zeros_like(real), composite, mask), composite * (1 - mask))
