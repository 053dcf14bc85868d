"""Objects outlined in COCO's format, as masks for training."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.training.composites import Composer
from harmonyrt.training.outlines import SHIPPED, read_outlines
from harmonyrt.training.pictures import Album, find_pictures
from harmonyrt.training.plan import CompositePlan


def write(path: Path, name: str, *objects, width: int = 100, height: int = 50, **more) -> Path:
    annotations = [{"id": n, "image_id": 1, "segmentation": parts, **more} for n, parts in enumerate(objects)]
    images = [{"id": 1, "file_name": name, "width": width, "height": height}]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def test_a_rectangle_covers_its_pixels_at_any_size(tmp_path):
    path = write(tmp_path / "o.json", "a.jpg", [[20, 10, 60, 10, 60, 40, 20, 40]])
    (outline,) = read_outlines(path)["a.jpg"]
    for scale in (1, 3):
        mask = np.asarray(outline.mask((100 * scale, 50 * scale)), np.float64) / 255
        assert mask.sum() == pytest.approx(40 * 30 * scale**2, rel=0.02)
        rows, columns = np.nonzero(mask > 0.5)
        assert (columns.min(), columns.max() + 1) == pytest.approx((20 * scale, 60 * scale), abs=1)
        assert (rows.min(), rows.max() + 1) == pytest.approx((10 * scale, 40 * scale), abs=1)


def test_an_object_in_two_parts_is_one_mask(tmp_path):
    path = write(tmp_path / "o.json", "a.jpg", [[0, 0, 10, 0, 10, 10, 0, 10], [50, 0, 60, 0, 60, 10, 50, 10]])
    (outline,) = read_outlines(path)["a.jpg"]
    mask = np.asarray(outline.mask((100, 50)))
    assert mask[5, 5] == mask[5, 55] == 255
    assert mask[5, 30] == 0


def test_crowds_and_run_lengths_are_passed_over(tmp_path):
    crowd = write(tmp_path / "crowd.json", "a.jpg", [[0, 0, 10, 0, 10, 10]], iscrowd=1)
    assert read_outlines(crowd) == {}
    assert read_outlines(write(tmp_path / "rle.json", "a.jpg", {"counts": [5, 3], "size": [50, 100]})) == {}


@pytest.mark.parametrize("objects", [[[[1, 2, 3]]], [[[1, 2, 3, 4]]], [[["x", 2, 3, 4, 5, 6]]], [[]]])
def test_what_is_no_polygon_is_refused_by_name(tmp_path, objects):
    with pytest.raises(HarmonyError, match=r"o\.json is not a COCO annotation file"):
        read_outlines(write(tmp_path / "o.json", "a.jpg", *objects))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": [], "annotations": [{}]}'])
def test_another_file_is_refused_by_name(tmp_path, text):
    (tmp_path / "o.json").write_text(text)
    with pytest.raises(HarmonyError, match=r"o\.json is not a COCO annotation file"):
        read_outlines(tmp_path / "o.json")


def test_outlines_are_masks_of_training_pictures_only(small_data, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(small_data, root)
    pictures = find_pictures(root)
    images = [{"id": n, "file_name": p.name, "width": 8, "height": 8} for n, p in enumerate(pictures)]
    square = [[2, 2, 6, 2, 6, 6, 2, 6]]
    annotations = [{"id": n, "image_id": n, "segmentation": square} for n in range(len(pictures))]
    (root / "outlines.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    album = Album(find_pictures(root))
    for index, picture in enumerate(album.pictures):
        assert len(picture.outlines) == (picture.split == "train")
        assert album.masks(index) == len(picture.outlines) + (picture.mask is not None)
    photo = next(n for n, p in enumerate(album.pictures) if p.mask is None)
    composer = Composer(album, replace(CompositePlan(), masks={"own": 1.0}, crops=0.0, regraded=0.0))
    batch = composer.batch(64, 2, [1], indices=[photo, photo])
    expected = np.zeros((64, 64), bool)
    expected[16:48, 16:48] = True
    assert (np.asarray(batch.mask[:, 0] > 0.5) == expected).mean() > 0.97


def test_the_shipped_outlines_are_whole_and_belong_to_no_held_out_picture():
    shipped = read_outlines(SHIPPED)
    held_out = {
        line.strip()
        for split in ("val", "test")
        for line in (SHIPPED.parent / "splits" / f"{split}.txt").read_text().splitlines()
    }
    assert len(shipped) > 300
    assert not held_out & shipped.keys()
    for outlines in shipped.values():
        for outline in outlines:
            assert 0.005 < np.asarray(outline.mask((128, 128))).mean() / 255 < 0.85
