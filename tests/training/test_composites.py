"""Composites: a photo, its mask, and a foreground that was changed."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace

import pytest
import torch

from harmonyrt.common import HarmonyError
from harmonyrt.training.composites import Composer
from harmonyrt.training.pictures import Album, find_pictures
from harmonyrt.training.plan import SAME_PLAN, TEST_PLAN, CompositePlan, read_plan


@pytest.fixture(scope="module")
def album(small_data):
    return Album(find_pictures(small_data))


def _fmse(batch):
    error = ((batch.composite - batch.real) * 255).square() * batch.mask
    return error.sum((1, 2, 3)) / (3 * batch.mask.sum((1, 2, 3)).clamp(min=1))


def test_a_batch_depends_on_its_seed_alone(album):
    first, again, other = (Composer(album, CompositePlan()).batch(48, 8, [3, step]) for step in (1, 1, 2))
    assert torch.equal(first.composite, again.composite)
    assert torch.equal(first.mask, again.mask)
    assert not torch.equal(first.composite, other.composite)


def test_a_batch_holds_pictures_in_8_bits(album):
    batch = Composer(album, CompositePlan()).batch(48, 16, [0])
    assert batch.composite.shape == batch.real.shape == (16, 3, 48, 48)
    assert batch.mask.shape == (16, 1, 48, 48)
    for picture in (batch.composite, batch.real):
        assert torch.isfinite(picture).all()
        assert torch.allclose(picture * 255, (picture * 255).round(), atol=1e-3)


@pytest.mark.parametrize("kind", ["ffhqh", "transfer", "tone", "slight"])
def test_every_kind_changes_the_foreground_and_nothing_else(album, kind):
    plan = replace(CompositePlan(), kinds={kind: 1.0}, hard_edges=1.0)
    batch = Composer(album, plan).batch(48, 16, [1])
    assert torch.equal(batch.composite * (1 - batch.mask), batch.real * (1 - batch.mask))
    assert (_fmse(batch) > 0.5).float().mean() > 0.8
    assert _fmse(batch).max() < plan.max_fmse * 1.1


def test_slight_changes_are_smaller_than_tone_changes(album):
    slight, tone = (
        _fmse(Composer(album, replace(CompositePlan(), kinds={kind: 1.0})).batch(48, 24, [1])).mean()
        for kind in ("slight", "tone")
    )
    assert slight * 4 < tone


def test_regrading_changes_the_whole_photo_in_its_share_of_samples(album):
    masked = [n for n, picture in enumerate(album.pictures) if picture.mask is not None]
    as_they_are, regraded = (
        Composer(album, replace(SAME_PLAN, regraded=share)).batch(48, 16, [2], (masked * 16)[:16]).real
        for share in (0.0, 0.5)
    )
    changed = (as_they_are - regraded).abs().mean((1, 2, 3)) > 0.002
    assert 2 <= changed.sum() <= 14


def test_the_plan_of_unchanged_pictures_changes_nothing(album):
    masked = [n for n, picture in enumerate(album.pictures) if picture.mask is not None]
    batch = Composer(album, SAME_PLAN).batch(48, 8, [0], masked[:8])
    assert torch.equal(batch.composite, batch.real)


def test_the_test_plan_changes_every_picture(album):
    masked = [n for n, picture in enumerate(album.pictures) if picture.mask is not None]
    batch = Composer(album, TEST_PLAN).batch(64, len(masked), [7], masked)
    assert _fmse(batch).min() > 20
    assert set(batch.mask.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("mask", ["own", "inverted", "foreign", "superpixels"])
def test_every_kind_of_mask_covers_part_of_the_picture(album, mask):
    plan = replace(CompositePlan(), masks={mask: 1.0, "superpixels": 1e-9}, photos=0.0)
    covered = Composer(album, plan).batch(48, 16, [2]).mask.mean((1, 2, 3))
    assert covered.min() > 0.005
    assert covered.max() < 0.98


def test_photos_without_masks_borrow_one(album):
    batch = Composer(album, replace(CompositePlan(), photos=1.0)).batch(48, 12, [4])
    assert (batch.mask.mean((1, 2, 3)) > 0.005).all()


def test_a_plan_is_read_from_json(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"kinds": {"tone": 1}, "regrading": [0, 0.5]}))
    assert read_plan(path) == CompositePlan(kinds={"tone": 1}, regrading=(0, 0.5))
    path.write_text(json.dumps({"seed": 3, "plan": asdict(TEST_PLAN)}))  # as a run's config.json has it
    assert read_plan(path) == TEST_PLAN


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "plan.json"),
        ("[1]", "kinds"),
        ('{"crop": 0.5}', "crops"),
        ('{"crops": 1.5}', "1.5"),
        ('{"crops": true}', "True"),
        ('{"photos": NaN}', "nan"),
        ('{"kinds": {"blur": 1}}', "ffhqh"),
        ('{"kinds": {"tone": -1}}', "-1"),
        ('{"masks": {"own": 0}}', "masks"),
        ('{"masks": ["own"]}', "own"),
        ('{"regrading": 0.5}', "regrading"),
        ('{"regrading": [0.8, 0.1]}', "0.8"),
        ('{"regrading": [0.1]}', "regrading"),
        ('{"min_fmse": 5000}', "5000"),
    ],
)
def test_a_plan_that_cannot_be_is_one_sentence(tmp_path, content, named):
    path = tmp_path / "plan.json"
    path.write_text(content)
    with pytest.raises(HarmonyError, match=re.escape(named)) as caught:
        read_plan(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_photos_are_drawn_only_when_the_plan_has_a_mask_for_them(album):
    whole = Composer(album, CompositePlan(masks={"own": 1.0}, photos=1.0))
    assert whole.photos == [n for n in Composer(album, CompositePlan()).photos if album.masks(n)]
    whole.batch(48, 8, [5])
    bare = Album([picture for picture in album.pictures if not picture.masks])
    assert len(bare)
    with pytest.raises(HarmonyError, match="superpixels"):
        Composer(bare, CompositePlan(masks={"own": 1.0})).batch(48, 2, [6])
