"""What the command line keeps of a picture, and what it says of what it does not keep."""

import struct

import numpy as np
import pytest
from PIL import Image

from harmonyrt.runtime.images.pictures import read_picture_file

INSIDE = np.s_[10:30, 20:50]


@pytest.fixture
def deep(place):
    """A 16-bit picture of 300 dots per inch as deep.tif, and its pixels."""
    tifffile = pytest.importorskip("tifffile")
    pixels = np.random.default_rng(1).integers(9000, 60000, (48, 64, 3), dtype=np.uint16)
    tifffile.imwrite("deep.tif", pixels, photometric="rgb", resolution=(300, 300), resolutionunit=2)
    return pixels


@pytest.mark.parametrize("output", ["out.png", "out.tif"])
def test_16_bits_and_resolution_are_kept(deep, bundle, run, output):
    ended = run("harmonize", "deep.tif", "mask.png", "-o", output, "--bundle", bundle)
    assert ended.code == 0
    assert "note:" not in ended.err
    picture = read_picture_file(output)
    assert picture.bits == 16
    assert picture.dpi == pytest.approx((300, 300), abs=0.1)
    outside = np.ones((48, 64), bool)
    outside[INSIDE] = False
    assert (picture.native[outside] == deep[outside]).all()
    change = deep[INSIDE] - picture.native[INSIDE].astype(float)
    assert np.abs(change / deep[INSIDE] - 0.1).max() < 0.02  # the bundle's network darkens by a tenth


def test_depth_that_a_format_cannot_hold_is_noted(deep, bundle, run):
    ended = run("harmonize", "deep.tif", "mask.png", "-o", "out.jpg", "--bundle", bundle)
    assert ended.code == 0
    assert "note: out.jpg holds 8 of the picture's 16 bits" in ended.err


def test_a_preview_is_refused_and_the_next_picture_is_done(folders, bundle, run):
    Image.open("composite.png").save("composites/b.tif", tiffinfo={254: 1})
    (folders / "composites" / "b.png").unlink()
    ended = run("harmonize", "composites", "masks", "-o", "out", "--bundle", bundle)
    assert ended.code == 2
    assert "b.tif is a preview" in ended.err
    assert sorted(path.name for path in (folders / "out").iterdir()) == ["a.png", "c.png"]


def test_a_fourth_channel_without_a_name_is_noted(place, bundle, run):
    tifffile = pytest.importorskip("tifffile")
    pixels = np.random.default_rng(1).integers(0, 65536, (48, 64, 4), dtype=np.uint16)
    tifffile.imwrite("four.tif", pixels, photometric="rgb", extrasamples=["unspecified"])
    ended = run("harmonize", "four.tif", "mask.png", "-o", "out.tif", "--bundle", bundle)
    assert ended.code == 0
    assert "note: four.tif has a channel beyond its colours" in ended.err


def test_a_named_space_of_a_png_travels(place, bundle, run):
    content = (place / "composite.png").read_bytes()
    gamma = struct.pack(">I4sII", 4, b"gAMA", 100000, 0x31E8965F)
    (place / "linear.png").write_bytes(content[:33] + gamma + content[33:])
    ended = run("harmonize", "linear.png", "mask.png", "-o", "out.png", "--bundle", bundle)
    assert ended.code == 0
    with Image.open("out.png") as image:
        assert image.info["icc_profile"]
