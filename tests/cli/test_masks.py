"""`harmonyrt harmonize` with masks that are not black and white, turned masks, cut-outs: understood, or spoken of."""

import json

import numpy as np
import pytest
from PIL import Image


def pixels(path):
    return np.asarray(Image.open(path))


@pytest.fixture
def harmonized(place, bundle, run):
    """Run the verb on composite.png with some mask, and give what it ended with and its picture."""

    def command(mask, *options, composite="composite.png"):
        ended = run("harmonize", composite, mask, "-o", "out.png", "--bundle", bundle, *options)
        return ended, pixels("out.png") if ended.code == 0 else None

    return command


@pytest.fixture
def expected(harmonized):
    return harmonized("mask.png")[1]


def test_labels_are_foreground_and_said(harmonized, expected):
    Image.fromarray((pixels("mask.png") > 0).astype(np.uint8) * 3).save("ids.png")
    ended, found = harmonized("ids.png")
    assert (found == expected).all()
    assert "note: ids.png holds the label 3: it is taken as the foreground" in ended.err
    assert "warning" not in ended.err


def test_one_label_can_be_chosen(harmonized, expected):
    ids = (pixels("mask.png") > 0).astype(np.uint8) * 90
    ids[40:] = 120
    Image.fromarray(ids).save("ids.png")
    ended, _ = harmonized("ids.png")
    assert "warning: ids.png has 120 as its highest value, far below white (255)" in ended.err
    ended, found = harmonized("ids.png", "--label", "90")
    assert (found == expected).all()
    assert "warning" not in ended.err
    assert "ids.png holds no label 7; it holds 0, 90 and 120" in harmonized("ids.png", "--label", "7")[0].error


def test_a_mask_that_is_no_more_than_grey_is_warned_of_once(harmonized):
    Image.fromarray(pixels("mask.png") // 2).save("grey.png")
    ended, _ = harmonized("grey.png")
    assert ended.err.count("far below white") == 1


def test_a_photo_turned_by_exif_turns_its_mask(harmonized, place):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open("composite.png").save("turned.png", exif=exif)
    Image.fromarray(np.ascontiguousarray(np.rot90(pixels("mask.png"), -1))).save("upright.png")
    _, right = harmonized("upright.png", composite="turned.png")
    ended, found = harmonized("mask.png", composite="turned.png")
    assert (found == right).all()
    assert "note: turned.png has the EXIF orientation 6 and mask.png has none: the mask was turned like it" in ended.err


def test_a_cut_out_alone_is_told_so(place, bundle, run):
    mask = pixels("mask.png")
    cut = np.dstack([pixels("composite.png") * (mask[..., None] > 0), mask])
    Image.fromarray(cut).save("cut.png")
    ended = run("harmonize", "cut.png", "--alpha-mask", "-o", "out.png", "--bundle", bundle)
    assert "warning: cut.png is a cut-out alone: all that is transparent has the colour (0, 0, 0)" in ended.err
    Image.fromarray(np.dstack([pixels("composite.png"), mask])).save("layered.png")
    ended = run("harmonize", "layered.png", "--alpha-mask", "-o", "out.png", "--bundle", bundle)
    assert "note: the colours under the transparent pixels of layered.png are taken as the background" in ended.err
    assert "warning" not in ended.err


def test_the_foreground_ratio_counts_pixels_above_one_half(place, bundle, run):
    soft = np.full((48, 64), 100, np.uint8)
    soft[:12] = 255
    soft[40:] = 0
    Image.fromarray(soft).save("soft.png")
    done = run("harmonize", "composite.png", "soft.png", "-o", "out.png", "--bundle", bundle, "--json")
    assert json.loads(done.out)["results"][0]["foreground_ratio"] == 0.25
