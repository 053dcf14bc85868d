"""Changes of appearance: what each leaves alone, and that statistics arrive where they are sent."""

from __future__ import annotations

import pytest
import torch

from harmonyrt.training import appearance


@pytest.fixture
def pictures():
    """Two pictures (2,3,40,48), two others of another colour cast, and masks of the left half."""
    generator = torch.Generator().manual_seed(1)
    first = 0.25 + 0.3 * torch.rand(2, 3, 40, 48, generator=generator)
    cast = torch.tensor([0.3, 0.05, -0.1]).view(1, 3, 1, 1)
    second = 0.4 + cast + 0.15 * torch.rand(2, 3, 40, 48, generator=generator)
    mask = torch.zeros(2, 1, 40, 48)
    mask[..., :24] = 1
    return first, second, mask


def _moments(picture, mask):
    return appearance._moments(picture, mask)


def test_neutral_settings_change_nothing(pictures):
    picture, _, mask = pictures
    one, nothing = torch.ones(2), torch.zeros(2)
    jittered = appearance.colour_jitter(picture, mask, one, one, one, nothing)
    toned = appearance.tone(picture, nothing, torch.ones(2, 3), one, nothing, one)
    sharpened = appearance.sharpen(picture, one)
    for same in (jittered, toned, sharpened):
        assert torch.allclose(same, picture, atol=1e-5)


def test_lab_is_inverted_exactly(pictures):
    assert torch.allclose(appearance.from_lab(appearance.to_lab(pictures[0])), pictures[0], atol=1e-4)


def test_lab_of_white_and_grey_is_neutral():
    white, grey = torch.ones(1, 3, 1, 1), torch.full((1, 3, 1, 1), 0.5)
    assert appearance.to_lab(white)[0, 1:].abs().max() < 2e-3
    assert appearance.to_lab(grey)[0, 1:].abs().max() < 2e-3


def test_mean_and_spread_arrive_in_lab(pictures):
    picture, other, mask = pictures
    whole = torch.ones_like(mask)
    moved = appearance.transfer_mean_std(picture, mask, other, whole)
    mean, covariance = _moments(appearance.to_lab(moved), mask)
    other_mean, other_covariance = _moments(appearance.to_lab(other), whole)
    assert torch.allclose(mean, other_mean, atol=5e-3)
    assert torch.allclose(covariance.diagonal(dim1=1, dim2=2), other_covariance.diagonal(dim1=1, dim2=2), rtol=0.2)


def test_mean_and_covariance_arrive_in_rgb(pictures):
    picture, other, mask = pictures
    whole = torch.ones_like(mask)
    mean, covariance = _moments(appearance.transfer_covariance(picture, mask, other, whole), mask)
    other_mean, other_covariance = _moments(other, whole)
    assert torch.allclose(mean, other_mean, atol=1e-4)
    assert torch.allclose(covariance, other_covariance, atol=5e-4)


def test_quantiles_arrive_in_ycc(pictures):
    picture, other, mask = pictures
    moved = appearance.transfer_histogram(picture, mask, other, mask)
    levels = torch.tensor([0.1, 0.5, 0.9])
    luma, other_luma = appearance.grey(moved)[..., :24], appearance.grey(other)[..., :24]
    assert torch.allclose(luma.quantile(levels), other_luma.quantile(levels), atol=0.01)


def test_hue_turns_round_and_keeps_grey():
    grey = torch.full((1, 3, 4, 4), 0.4)
    red = torch.tensor([0.9, 0.1, 0.1]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    whole, one = torch.ones(1, 1, 4, 4), torch.ones(1)
    turn = lambda picture, hue: appearance.colour_jitter(picture, whole, one, one, one, torch.tensor([hue]))  # noqa: E731
    assert torch.allclose(turn(grey, 0.2), grey, atol=1e-5)
    assert torch.allclose(turn(red, 1.0), red, atol=1e-5)
    assert torch.allclose(turn(red, 1 / 3)[0, :, 0, 0], torch.tensor([0.1, 0.9, 0.1]), atol=1e-4)


def test_posterize_keeps_the_upper_bits():
    ramp = torch.arange(256).float().view(1, 1, 16, 16).expand(1, 3, 16, 16) / 255
    levels = (appearance.posterize(ramp, bits=6) * 255).round().unique()
    assert levels.tolist() == list(range(0, 256, 4))


def test_autocontrast_fills_the_range_of_the_foreground(pictures):
    picture, _, mask = pictures
    inside = appearance.autocontrast(picture, mask)[..., :24]
    assert inside.amin() == pytest.approx(0, abs=1e-6)
    assert inside.amax() == pytest.approx(1, abs=1e-6)


def test_a_foreground_of_one_colour_survives_every_transfer(pictures):
    _, other, mask = pictures
    flat = torch.full_like(other, 0.5)
    for transfer in (appearance.transfer_mean_std, appearance.transfer_covariance, appearance.transfer_histogram):
        assert torch.isfinite(transfer(flat, mask, other, mask)).all()
