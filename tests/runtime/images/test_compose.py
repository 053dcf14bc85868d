"""A cut-out on a background: placed, scaled, clipped, in the background's colours and depth."""

import numpy as np
import pytest
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images.colours import from_srgb, to_srgb
from harmonyrt.runtime.images.compose import compose, mask_picture
from harmonyrt.runtime.images.named_spaces import adobe_rgb
from harmonyrt.runtime.images.pictures import PictureFile


def picture(native, alpha=None, profile=None):
    """A picture file of these pixels; `rgb` as reading makes it."""
    shown = native if native.dtype == np.uint8 else (native // 257).astype(np.uint8)
    if native.ndim == 2:
        shown = np.repeat(shown[..., None], 3, axis=2)
    elif profile is not None:
        shown = to_srgb(shown, profile)
    return PictureFile(rgb=shown, native=native, alpha=alpha, profile=profile)


@pytest.fixture
def background():
    return picture(np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8))


@pytest.fixture
def cutout():
    """20 x 30: red, with a soft left column, over green that is transparent."""
    colours = np.zeros((20, 30, 3), np.uint8)
    colours[...] = (10, 250, 20)
    colours[4:16, 6:24] = (200, 30, 40)
    alpha = np.zeros((20, 30), np.uint8)
    alpha[4:16, 6:24] = 255
    alpha[4:16, 6] = 128
    return picture(colours, alpha)


def test_it_goes_where_it_was_asked_to(cutout, background):
    done = compose(cutout, background, at=(11, 7))
    composite, mask = done.composite.native, done.mask.values
    np.testing.assert_array_equal(mask[7:27, 11:41], cutout.alpha)
    assert mask.sum() == cutout.alpha.sum()
    assert (composite[mask == 255] == (200, 30, 40)).all()
    np.testing.assert_array_equal(composite[mask == 0], background.native[mask == 0])
    soft = mask == 128
    expected = np.array([200, 30, 40]) * (128 / 255) + background.native[soft] * (1 - 128 / 255)
    assert np.abs(composite[soft] - expected).max() <= 0.51
    assert done.composite.rgb is done.composite.native
    np.testing.assert_array_equal(mask_picture(done.mask).native, mask)


@pytest.mark.parametrize("at", [(-10, -5), (70, 50), (-3, 52), (70, -8)])
def test_what_sticks_out_is_cut_off(cutout, background, at):
    done = compose(cutout, background, at=at)
    expected = np.zeros((160, 180), np.uint8)
    expected[50 + at[1] : 70 + at[1], 50 + at[0] : 80 + at[0]] = cutout.alpha
    np.testing.assert_array_equal(done.mask.values, expected[50:110, 50:130])


@pytest.mark.parametrize("at", [(80, 0), (0, 60), (-30, 0), (0, -20), (500, 500)])
def test_outside_is_one_sentence(cutout, background, at):
    with pytest.raises(HarmonyError, match=r"cut-out of 30x20 at .* lies outside the background of 80x60; give a"):
        compose(cutout, background, at=at)


def test_transparent_pixels_alone_are_one_sentence(cutout, background):
    with pytest.raises(HarmonyError, match="nothing of the cut-out is visible there"):
        compose(cutout, background, at=(-26, 0))


def test_a_picture_without_alpha_is_no_cut_out(background):
    with pytest.raises(HarmonyError, match="the cut-out has no alpha channel"):
        compose(background, background)


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), 1e6])
def test_a_scale_that_cannot_be_is_one_sentence(cutout, background, scale):
    with pytest.raises(HarmonyError, match=r"the scale is|more than 200 megapixels"):
        compose(cutout, background, scale=scale)


@pytest.mark.parametrize("scale", [0.31, 0.5, 1.7, 3])
def test_scaling_keeps_the_amount_and_has_no_fringe(cutout, background, scale):
    white = picture(np.full((100, 120, 3), 255, np.uint8))
    done = compose(cutout, white, at=(5, 5), scale=scale)
    mask = done.mask.values
    assert mask.sum() / 255 == pytest.approx(cutout.alpha.sum() / 255 * scale**2, rel=0.12)
    touched = mask > 0
    share = mask[touched][:, None] / 255
    expected = (200, 30, 40) * share + 255 * (1 - share)  # nothing of the green, and no dark border
    assert np.abs(done.composite.native[touched] - expected).max() <= 1.5


def test_scaling_down_is_antialiased(background):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    done = compose(picture(stripes, np.full((64, 64), 255, np.uint8)), background, scale=0.25)
    inner = done.composite.native[2:14, 2:14].astype(int)
    assert np.abs(inner - 127.5).max() < 12


def test_premultiplied_colours_are_undone(cutout, background):
    plain = compose(cutout, background, at=(3, 3))
    times = np.rint(cutout.native * (cutout.alpha[..., None] / 255)).astype(np.uint8)
    again = compose(picture(times, cutout.alpha), background, at=(3, 3), premultiplied=True)
    assert np.abs(again.composite.native.astype(int) - plain.composite.native).max() <= 1
    dark = compose(picture(times, cutout.alpha), background, at=(3, 3))
    soft = plain.mask.values == 128
    assert (dark.composite.native[soft][:, 0] < plain.composite.native[soft][:, 0] - 20).all()


def test_colours_go_to_the_backgrounds_space(cutout):
    profile = adobe_rgb()
    there = picture(np.full((60, 80, 3), 90, np.uint8), profile=profile)
    done = compose(cutout, there, at=(4, 4))
    expected = from_srgb(np.full((1, 1, 3), (200, 30, 40), np.uint8), profile)[0, 0]
    inside = done.mask.values == 255
    assert np.abs(done.composite.native[inside].astype(int) - expected).max() <= 1
    assert np.abs(done.composite.rgb[inside].astype(int) - (200, 30, 40)).max() <= 2
    assert done.composite.profile == profile
    back = compose(picture(done.composite.native, done.mask.values, profile), picture(np.zeros((60, 80, 3), np.uint8)))
    assert np.abs(back.composite.native[inside].astype(int) - (200, 30, 40)).max() <= 2


def test_equal_spaces_are_not_converted(cutout):
    profile = adobe_rgb()
    mine = picture(cutout.native, cutout.alpha, profile)
    done = compose(mine, picture(np.full((60, 80, 3), 90, np.uint8), profile=profile))
    assert (done.composite.native[done.mask.values == 255] == (200, 30, 40)).all()


def test_depth_is_the_backgrounds(cutout, background):
    deep = picture(background.native.astype(np.uint16) * 257 - (background.native > 0))
    done = compose(cutout, deep, at=(2, 2))
    assert done.composite.native.dtype == np.uint16
    mask = done.mask.values
    np.testing.assert_array_equal(done.composite.native[mask == 0], deep.native[mask == 0])
    assert (done.composite.native[mask == 255] == np.array([200, 30, 40]) * 257).all()
    less = compose(
        picture(cutout.native.astype(np.uint16) * 257, cutout.alpha.astype(np.uint16) * 257), background, at=(2, 2)
    )
    assert less.notes == ("the composite has the background's 8 bits, of the cut-out's 16",)
    np.testing.assert_array_equal(less.composite.native, compose(cutout, background, at=(2, 2)).composite.native)


def test_on_grey_it_becomes_grey_and_grey_on_colour_stays_grey(cutout, background):
    done = compose(cutout, picture(np.full((60, 80), 90, np.uint8)), at=(2, 2))
    luma = 0.299 * 200 + 0.587 * 30 + 0.114 * 40
    assert np.abs(done.composite.native[done.mask.values == 255] - luma).max() <= 1
    assert "becomes grey" in done.notes[0]
    grey = picture(np.full((9, 9), 77, np.uint8), np.full((9, 9), 255, np.uint8))
    assert (compose(grey, background).composite.native[:9, :9] == 77).all()


def test_a_transparent_background_stays_so_where_nothing_lies(cutout):
    native = np.full((60, 80, 3), 90, np.uint8)
    done = compose(cutout, picture(native, np.full((60, 80), 100, np.uint8)), at=(2, 2))
    mask, alpha = done.mask.values, done.composite.alpha
    assert (alpha[mask == 0] == 100).all()
    assert (alpha[mask == 255] == 255).all()
    size = (80, 60)
    over = Image.new("RGBA", size, (90, 90, 90, 100))
    layer = Image.new("RGBA", size)
    layer.paste(Image.fromarray(np.dstack([cutout.native, cutout.alpha])), (2, 2))
    expected = np.asarray(Image.alpha_composite(over, layer)).astype(int)
    assert np.abs(expected - np.dstack([done.composite.native, alpha]))[mask > 0].max() <= 1
