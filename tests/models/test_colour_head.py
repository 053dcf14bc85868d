"""The colour head: one map for the object, from what object and scene look like."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from harmonyrt.models import IHARMONY4, PHNet, load_phnet
from harmonyrt.models.colour_head import ColourHead, areas
from harmonyrt.training.shipping import ship


@pytest.fixture
def head():
    torch.manual_seed(0)
    made = ColourHead().eval()
    torch.nn.init.normal_(made.map.weight, std=0.05)
    return made


def _picture(side: int, wide: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    rows, columns = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, wide or side), indexing="ij")
    image = torch.stack([rows, columns, (rows + columns) / 2])[None]
    mask = (((rows - 0.5) ** 2 + (columns - 0.4) ** 2) < 0.06).float()[None, None]
    return image, mask


@pytest.mark.parametrize("length", [8, 64, 72, 100, 256])
def test_cells_share_out_all_pixels(length):
    shares = areas(length, 64, torch.zeros(1))
    assert torch.allclose(shares.sum(1), torch.ones(64), atol=1e-5)
    assert torch.allclose(shares.sum(0), torch.full((length,), 64 / length), atol=1e-5)


def test_a_new_head_changes_nothing():
    image, mask = _picture(64)
    assert torch.equal(ColourHead().eval()(image, mask), torch.zeros_like(image))


def test_the_map_is_one_for_the_whole_object(head):
    image, mask = _picture(64)
    coefficients = head.estimates(image, mask)[0]
    change = head.change(image, coefficients)
    flat = torch.full_like(image, 0.3)
    assert head.change(flat, coefficients).std((2, 3)).max() < 1e-6  # equal colours change equally
    matrix = coefficients[0, :12].view(3, 4)
    pixel = image[0, :, 5, 9]
    expected = matrix @ torch.cat([pixel, torch.ones(1)]) + coefficients[0, 12:] * 4 * pixel * (1 - pixel)
    assert torch.allclose(change[0, :, 5, 9], expected, atol=1e-6)


def test_the_answer_hardly_depends_on_the_size(head):
    small, large = (head.estimates(*_picture(side))[0] for side in (96, 256))
    assert (small - large).abs().max() < 0.05 * large.abs().max()


def test_the_scene_counts(head):
    image, mask = _picture(96)
    darker = image * mask + image * 0.4 * (1 - mask)
    assert (head.estimates(image, mask)[0] - head.estimates(darker, mask)[0]).abs().max() > 1e-3


@pytest.mark.parametrize("covered", [0.0, 1.0])
def test_empty_and_full_masks_give_finite_maps(head, covered):
    image, _ = _picture(64)
    assert torch.isfinite(head(image, torch.full((1, 1, 64, 64), covered))).all()


@pytest.mark.parametrize("output", ["residual", "sigmoid"])
def test_a_network_with_a_head_survives_its_file(tmp_path, output):
    torch.manual_seed(1)
    network = PHNet(dataclasses.replace(IHARMONY4, output=output, colour_head=True)).eval()
    torch.nn.init.normal_(network.colour_head.map.weight, std=0.05)
    path = ship(network.state_dict(), network.config, tmp_path / "w.safetensors")
    again = load_phnet(path)
    assert again.config.colour_head
    image, mask = _picture(64)
    assert torch.allclose(network(image, mask), again(image, mask), atol=2e-2)


def test_a_silent_head_leaves_the_network_as_it_was():
    torch.manual_seed(2)
    plain = PHNet(dataclasses.replace(IHARMONY4, output="residual")).eval()
    joined = PHNet(dataclasses.replace(plain.config, colour_head=True)).eval()
    joined.load_state_dict(plain.state_dict(), strict=False)
    image, mask = _picture(64)
    assert torch.equal(plain(image, mask), joined(image, mask))


def test_released_forms_have_no_head():
    assert PHNet(IHARMONY4).colour_head is None
    assert not any(name.startswith("colour_head") for name in PHNet(IHARMONY4).state_dict())


def test_gradients_of_a_flat_picture_are_finite():
    """The extractor's patches have no variance there, and a gradient through them would be infinite."""
    torch.manual_seed(3)
    network = PHNet(dataclasses.replace(IHARMONY4, output="residual", colour_head=True)).train()
    _, mask = _picture(64)
    network(torch.full((1, 3, 64, 64), 0.4), mask).square().mean().backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert network.colour_head.map.bias.grad.abs().max() > 0
