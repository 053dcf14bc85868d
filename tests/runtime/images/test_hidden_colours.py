"""Colours that nobody sees have no effect on those that are seen, and keep their bytes."""

import warnings

import numpy as np
import pytest
from PIL import Image

from harmonyrt.common import HarmonyWarning
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.images.hidden_colours import seen

ODD = ((0, 0, 0), (255, 255, 255), (255, 0, 255))


@pytest.fixture(scope="module")
def harmonizer(static_bundle):
    return Harmonizer.open(static_bundle, backend="onnxruntime", threads=1)


@pytest.fixture
def clear(ellipse):
    """Where nothing is visible: the left third, foreground included."""
    hidden = np.zeros(ellipse.shape, bool)
    hidden[:, :66] = True
    return hidden


def layered(composite, clear, colour, bits=8):
    shown = composite.copy()
    shown[clear] = colour
    picture = np.dstack([shown, np.where(clear, 0, 255).astype(np.uint8)])
    return picture if bits == 8 else picture.astype(np.uint16) * 257


@pytest.mark.parametrize("bits", [8, 16])
def test_colours_under_alpha_0_change_nothing_that_is_seen(harmonizer, composite, ellipse, clear, bits):
    results = [harmonizer.harmonize(layered(composite, clear, colour, bits), ellipse) for colour in ODD]
    for colour, result in zip(ODD, results, strict=True):
        np.testing.assert_array_equal(result[~clear], results[0][~clear])
        np.testing.assert_array_equal(result[clear], layered(composite, clear, colour, bits)[clear])
    inside = (ellipse == 255) & ~clear
    assert np.abs(results[0][inside].astype(int) - layered(composite, clear, ODD[0], bits)[inside]).mean() > 5


@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 60), (150, 200)])
def test_half_transparent_colours_count_by_half_and_keep_their_detail(harmonizer, height, width):
    random = np.random.default_rng(0)
    picture = random.integers(90, 160, (height, width, 4), dtype=np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2, width // 4 : width // 2] = 255
    picture[..., 3] = 255
    opaque = harmonizer.harmonize(picture, mask)
    picture[: height // 3, :, 3] = 128
    result = harmonizer.harmonize(picture, mask)
    np.testing.assert_array_equal(result[mask == 0], picture[mask == 0])
    np.testing.assert_array_equal(result[..., 3], picture[..., 3])
    assert np.abs(result.astype(int) - opaque)[mask > 0, :3].mean() < 3


def test_every_kind_of_transparency_counts(harmonizer, composite, ellipse, clear):
    layers = layered(composite, clear, (255, 0, 255))
    keyed = Image.fromarray(np.ascontiguousarray(layers[..., :3]))
    keyed.info["transparency"] = (255, 0, 255)
    expected = np.asarray(harmonizer.harmonize(Image.fromarray(layers), ellipse))[..., :3]
    np.testing.assert_array_equal(np.asarray(harmonizer.harmonize(keyed, ellipse)), expected)
    grey = [Image.fromarray(layered(composite, clear, c)).convert("LA") for c in ODD[:2]]
    one, other = (np.asarray(harmonizer.harmonize(picture, ellipse))[~clear] for picture in grey)
    np.testing.assert_array_equal(one, other)


def test_a_cut_out_alone_is_told_so(harmonizer, composite, ellipse):
    with pytest.warns(HarmonyWarning, match="no background is visible.*paste it on its background"):
        harmonizer.harmonize(np.dstack([composite, ellipse]), ellipse)


def test_a_foreground_that_nobody_sees_is_told_so_and_comes_back(harmonizer, composite, ellipse):
    picture = np.dstack([composite, np.where(ellipse > 0, 0, 255).astype(np.uint8)])
    with pytest.warns(HarmonyWarning, match="foreground is transparent everywhere"):
        np.testing.assert_array_equal(harmonizer.harmonize(picture, ellipse), picture)


def test_an_opaque_alpha_changes_nothing(harmonizer, composite, ellipse):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opaque = harmonizer.harmonize(np.dstack([composite, np.full(ellipse.shape, 255, np.uint8)]), ellipse)
    np.testing.assert_array_equal(opaque[..., :3], harmonizer.harmonize(composite, ellipse))


def test_the_backdrop_is_the_visible_backgrounds_mean_colour():
    rgb = np.array([[[10, 20, 30], [20, 40, 60], [200, 0, 0], [255, 255, 255]]], np.uint8)
    mask, alpha = np.array([[0, 0, 255, 0]], np.uint8), np.array([[255, 255, 255, 0]], np.uint8)
    found = seen(rgb, rgb, mask, alpha)
    assert found.rgb.tolist() == [[[10, 20, 30], [20, 40, 60], [200, 0, 0], [15, 30, 45]]]
    assert found.own is found.rgb
    assert found.mask.tolist() == [[0, 0, 255, 0]]
