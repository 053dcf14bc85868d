"""Composites in layers: the scene keeps nothing of the true object, and one object meets several scenes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from harmonyrt.common import HarmonyError
from harmonyrt.training.composites import Composer
from harmonyrt.training.filters import blurred, filled, grown, rolled
from harmonyrt.training.layers import taken_apart, without_object
from harmonyrt.training.pictures import Album, find_pictures
from harmonyrt.training.plan import CompositePlan

LAYERED = CompositePlan(kinds={"tone": 1.0}, photos=0.0, crops=0.0, moved=0.6, in_place=0.4, regraded=0.0)


@pytest.fixture(scope="module")
def album(small_data):
    return Album(find_pictures(small_data))


def _red_discs(count: int = 6, side: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Red discs with an anti-aliased fringe on grounds without red, and hard masks, as a photo and its mask are."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    away = ((rows - 30.0) ** 2 + (columns - 27.0) ** 2).sqrt()
    soft = (11.5 - away).clamp(0, 1).expand(count, 1, side, side)
    ground = torch.tensor([0.0, 0.5, 0.4]).view(1, 3, 1, 1) * torch.linspace(0.6, 1, side)
    photo = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1) * soft + ground * (1 - soft)
    return photo, (soft > 0.5).float()


def test_nothing_of_the_object_is_left_in_its_scene():
    photo, mask = _red_discs()
    scene = without_object(photo, mask, np.random.default_rng(0))
    assert photo[:, 0].max() == 1  # the object is there to be removed
    assert scene[:, 0].max() < 0.02


def test_no_pixel_outside_the_alpha_shows_the_true_colour():
    photo, mask = _red_discs(24)
    layers = taken_apart(photo, mask, np.random.default_rng(1), moved=0.5, in_place=0.5)
    assert {"moved", "in place"} <= set(layers.ways)
    changed = torch.zeros_like(layers.layer)
    changed[:, 2] = 1.0  # the object turned blue
    composite = layers.over(changed, layers.scene)
    assert composite[:, 0].max() < 0.02  # nowhere, fringe included, is any red of the true object
    assert layers.over(layers.layer, layers.scene)[:, 0].amax((1, 2)).min() > 0.9


def test_the_fringe_of_a_plain_composite_shows_the_answer_as_the_layered_one_does_not():
    photo, mask = _red_discs(8)
    plain = photo + (torch.tensor([0.0, 0, 1]).view(1, 3, 1, 1) - photo) * mask
    assert plain[:, 0].max() > 0.2


def test_moved_objects_stay_mostly_inside_and_elsewhere():
    photo, mask = _red_discs(16)
    layers = taken_apart(photo, mask, np.random.default_rng(2), moved=1.0, in_place=0.0)
    moved = [n for n, way in enumerate(layers.ways) if way == "moved"]
    assert len(moved) >= 12
    area = layers.alpha.sum((1, 2, 3)) / mask.sum((1, 2, 3))
    assert area[moved].min() > 0.2
    assert area[moved].max() < 2.2
    overlap = (layers.alpha * mask).sum((1, 2, 3)) / layers.alpha.sum((1, 2, 3))
    assert overlap[moved].mean() < 0.8


def test_large_and_tiny_objects_are_left_where_they_are():
    photo, _ = _red_discs(2)
    large, tiny = torch.ones(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    tiny[..., 10:12, 10:12] = 1
    layers = taken_apart(photo, torch.cat([large, tiny]), np.random.default_rng(0), moved=1.0, in_place=0.0)
    assert layers.ways == ["plain", "plain"]
    assert torch.equal(layers.scene, photo)


def test_one_object_meets_several_scenes_in_one_look(album):
    plan = replace(LAYERED, scenes=3, independent=1.0, regraded=1.0, regrading=(0.8, 1.2), max_fmse=1e6, hard_edges=0.0)
    batch = Composer(album, plan).batch(48, 12, [3])
    assert all(kind.startswith("look") for kind in batch.kinds)
    inside = batch.mask > 0.995
    for first in range(0, 12, 3):
        assert torch.equal(batch.mask[first], batch.mask[first + 1])
        where = inside[first].expand(3, -1, -1)
        if not where.any():
            continue
        a, b = batch.composite[first], batch.composite[first + 1]
        assert (a - b)[where].abs().max() < 0.01  # the same look of the object
        assert (a - b)[~where].abs().mean() > 0.01  # over another light
        assert (batch.real[first] - batch.real[first + 1])[where].abs().mean() > 0.01  # and so another answer


def test_old_plans_draw_what_they_drew(album):
    """Fixed composites are comparable only as long as the same seed draws the same change."""
    batch = Composer(album, CompositePlan()).batch(48, 8, [3, 1])
    assert batch.agreed is None
    assert not any("," in kind for kind in batch.kinds)


def test_spoilt_edges_give_masks_that_are_off_and_say_where_the_truth_is_known(album):
    plan = replace(LAYERED, spoilt_edges=1.0)
    batch = Composer(album, plan).batch(64, 24, [5])
    exact = Composer(album, replace(plan, spoilt_edges=0.0)).batch(64, 24, [5])
    off = (batch.mask - exact.mask).abs().mean((1, 2, 3)) > 1e-4
    assert 8 <= off.sum() <= 23
    assert batch.agreed is not None
    assert torch.equal(batch.agreed, ((batch.mask > 0.5) & (exact.mask > 0.5)).float())


def test_layered_batches_repeat_and_are_in_8_bits(album):
    plan = replace(LAYERED, scenes=2, independent=0.5, regraded=0.5, spoilt_edges=0.5)
    first, again = (Composer(album, plan).batch(48, 10, [9, 4]) for _ in range(2))
    assert len(first.kinds) == len(first.composite) == 10
    for name in ("composite", "mask", "real"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert torch.allclose(first.composite * 255, (first.composite * 255).round(), atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"moved": 0.7, "in_place": 0.4}, "moved"),
        ({"moved": 0.5, "scenes": 0}, "scenes"),
        ({"scenes": 2}, "layers"),
        ({"white_balance": -1.0}, "white_balance"),
        ({"tones": (2.0, 1.0)}, "tones"),
    ],
)
def test_plans_that_cannot_be_are_refused(changes, named):
    with pytest.raises(HarmonyError, match=named):
        CompositePlan(**changes)


def test_filters_act_on_each_sample_by_its_own_amount():
    picture = torch.zeros(3, 1, 21, 21)
    picture[..., 8:13, 8:13] = 1
    sizes = grown(picture, torch.tensor([2, 0, -1])).sum((1, 2, 3))
    assert sizes.tolist() == [81, 25, 9]
    soft = blurred(picture, torch.tensor([0.0, 0.0, 2.0]))
    assert torch.allclose(soft[0], picture[0], atol=1e-6)
    assert soft[2].max() < 0.9
    assert torch.allclose(soft.sum((1, 2, 3)), torch.full((3,), 25.0), atol=0.1)
    moved = rolled(picture, torch.tensor([1, 0, 0]), torch.tensor([0, 2, 0]))
    assert torch.equal(moved[0], torch.roll(picture[0], 1, 2))
    assert torch.equal(moved[1], torch.roll(picture[1], 2, 1))


def test_holes_are_filled_from_around_them():
    ramp = torch.linspace(0, 1, 32).expand(1, 3, 32, 32).clone()
    hole = torch.zeros(1, 1, 32, 32)
    hole[..., 10:20, 12:18] = 1
    damaged = ramp * (1 - hole) + 7.0 * hole
    result = filled(damaged, hole)
    assert torch.equal(result * (1 - hole), ramp * (1 - hole))
    assert (result - ramp).abs().max() < 0.2
