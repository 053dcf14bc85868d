"""`harmonyrt evaluate` on a dataset of one pair."""

import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def dataset(place):
    """One pair whose answer the hand-made bundle knows: the real photo is 0.9 times the composite, inside the mask."""
    for folder in ("composite_images", "masks", "real_images"):
        (place / folder).mkdir()
    composite = np.full((32, 32, 3), 200, np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 255
    real = np.where(mask[..., None] > 0, np.uint8(180), composite)
    for folder, name, pixels in (
        ("composite_images", "a_1_1", composite),
        ("masks", "a_1", mask),
        ("real_images", "a", real),
    ):
        Image.fromarray(pixels).save(place / folder / f"{name}.png")
    (place / "x_test.txt").write_text("a_1_1.png\n")
    return place


def test_report(run, bundle, dataset):
    ended = run("evaluate", dataset, "--bundle", bundle, "--size", "32", "--json")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert report["composite"]["fmse"] == pytest.approx(400)
    assert report["fmse_ratio"] < 0.02
    assert report["worse"] == 0
    assert "15-100%" in run("evaluate", dataset, "--bundle", bundle, "--size", "32").out


def test_split_that_is_not_there(run, bundle, dataset):
    ended = run("evaluate", dataset, "--bundle", bundle, "--split", "val")
    assert ended.code == 2
    assert "val.txt" in ended.error


def test_pictures_are_read_as_by_every_other_verb(run, bundle, dataset):
    common = ("evaluate", dataset, "--bundle", bundle, "--size", "0", "--json")
    expected = json.loads(run(*common).out)
    mask, exif = dataset / "masks" / "a_1.png", Image.Exif()
    Image.fromarray((np.asarray(Image.open(mask)) > 0).astype(np.uint8) * 3).save(mask)
    exif[0x0112] = 6
    for name in ("composite_images/a_1_1", "real_images/a"):
        upright = np.asarray(Image.open(dataset / f"{name}.png"))
        Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(dataset / f"{name}.png", exif=exif)
    ended = run(*common)
    assert json.loads(ended.out) == expected
    assert "note: " in ended.err
    assert "holds the label 3" in ended.err
