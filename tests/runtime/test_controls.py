"""Strength, keep and match: what they promise, at every size, depth and colour space."""

import warnings

import numpy as np
import pytest
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.controls import checked_controls
from harmonyrt.runtime.images.encode import write_picture_file
from harmonyrt.runtime.images.luminance import SRGB, light_of
from harmonyrt.runtime.images.named_spaces import adobe_rgb
from harmonyrt.runtime.images.pictures import read_picture_file

WEIGHTS = np.array([0.2126, 0.7152, 0.0722])


@pytest.fixture(scope="module")
def harmonizer(static_bundle):
    return Harmonizer.open(static_bundle, backend="onnxruntime", threads=1)


@pytest.fixture(scope="module")
def small(composite, ellipse):
    """Of the engine's size, whose network's picture is taken as it is."""
    return np.ascontiguousarray(composite[40:104, 60:124]), np.ascontiguousarray(ellipse[40:104, 60:124])


def brightness(levels, weights=WEIGHTS):
    """Luminance of sRGB levels, as the level of the grey that has it."""
    linear = SRGB.linear(levels.reshape(-1, 3) / 255) @ weights
    return SRGB.stored(np.repeat(linear[:, None], 3, axis=1))[:, 0] * 255


@pytest.mark.parametrize("value", [-0.001, 1.5001, float("nan"), float("inf"), "1", None, True])
def test_a_strength_that_cannot_be_is_one_sentence(harmonizer, composite, ellipse, value):
    with pytest.raises(HarmonyError, match=r"strength is .*; give 0 \(no change\) to 1\.5"):
        harmonizer.harmonize(composite, ellipse, strength=value)


def test_another_thing_to_keep_is_one_sentence(harmonizer, composite, ellipse):
    with pytest.raises(HarmonyError, match="keep is 'colour'; give 'luminance' or 'hue'"):
        harmonizer.harmonize(composite, ellipse, keep="colour")


@pytest.mark.parametrize("strength", [0, 1, 1.5, np.float32(0.5)])
def test_numbers_of_every_kind_are_strengths(strength):
    assert checked_controls(strength, None).strength == strength


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [3, 4])
def test_strength_0_is_the_composite_and_1_the_answer(harmonizer, composite, ellipse, bits, channels):
    picture = np.dstack([composite, np.full(ellipse.shape, 200, np.uint8)])[..., :channels]
    if bits == 16:
        picture = picture.astype(np.uint16) * 257 - (picture > 9)
    np.testing.assert_array_equal(harmonizer.harmonize(picture, ellipse, strength=0), picture)
    np.testing.assert_array_equal(
        harmonizer.harmonize(picture, ellipse, strength=1), harmonizer.harmonize(picture, ellipse)
    )


def test_strength_0_leaves_a_file_byte_by_byte(harmonizer, deep_png, composite, ellipse, wide_profile, tmp_path):
    path = deep_png(composite.astype(np.uint16) * 255 + 7, wide_profile)
    result = harmonizer.harmonize(read_picture_file(path), ellipse, strength=0)
    write_picture_file(result, tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("which", ["maps", "network"])
def test_strength_scales_the_change_where_nothing_is_clipped(harmonizer, composite, ellipse, small, which):
    picture, mask = (composite, ellipse) if which == "maps" else small
    whole = harmonizer.harmonize(picture, mask).astype(float)
    unclipped = ((whole > 1) & (whole < 254)).all(axis=2)
    for strength in (0.25, 0.5, 1.5):
        expected = picture + strength * (whole - picture)
        inside = unclipped & ((expected > 0) & (expected < 255)).all(axis=2)
        found = harmonizer.harmonize(picture, mask, strength=strength)
        assert np.abs(found - expected)[inside].max() <= 0.5 + 0.5 * strength + 0.01
        np.testing.assert_array_equal(found[mask == 0], picture[mask == 0])


def test_strength_scales_what_was_clipped_from_before_the_clipping(harmonizer, composite, ellipse):
    """At a colour which the answer clips at 255, half the change is half of the way beyond it."""
    maps = harmonizer.harmonize(composite.astype(np.uint16) * 128, ellipse).astype(float)  # half as bright: no clipping
    assert maps.max() < 65535
    whole = harmonizer.harmonize(composite, ellipse)
    half = harmonizer.harmonize(composite, ellipse, strength=0.5)
    clipped = (whole == 255) & (ellipse == 255)[..., None]
    towards = (composite.astype(float) + 255) / 2
    assert clipped.sum() > 20
    assert (half[clipped] >= np.floor(towards[clipped])).all()
    assert (half[clipped] > towards[clipped] + 1).any()


@pytest.mark.parametrize("strength", [1, 0.5, 1.5])
@pytest.mark.parametrize("which", ["maps", "network"])
def test_keeping_luminance_changes_only_the_chroma(harmonizer, composite, ellipse, small, which, strength):
    picture, mask = (composite, ellipse) if which == "maps" else small
    found = harmonizer.harmonize(picture, mask, keep="luminance", strength=strength)
    inside = mask == 255
    # Rounding moves each channel by half a level; the grey of equal luminance by no more, but in dark places.
    assert np.abs(brightness(found[inside]) - brightness(picture[inside])).max() <= 0.75
    assert np.abs(found[inside].astype(int) - picture[inside]).mean() > 2
    np.testing.assert_array_equal(found[mask == 0], picture[mask == 0])


@pytest.mark.parametrize("which", ["maps", "network"])
def test_keeping_hue_changes_only_the_luminance(harmonizer, composite, ellipse, small, which):
    picture, mask = (composite, ellipse) if which == "maps" else small
    found = harmonizer.harmonize(picture, mask, keep="hue")
    answer = harmonizer.harmonize(picture, mask)
    inside = (mask == 255) & (picture.min(axis=2) > 20)
    assert np.abs(brightness(found[inside]) - brightness(answer[inside])).max() <= 1.5  # both are rounded
    before, after = (SRGB.linear(p[inside] / 255.0) for p in (picture, found))
    chroma = [light - (light @ WEIGHTS)[:, None] for light in (before, after)]
    lengths = [np.linalg.norm(c, axis=1) for c in chroma]
    plain = (lengths[0] > 0.1) & (lengths[1] > 0.1)
    assert plain.sum() > 100
    cosine = (chroma[0] * chroma[1]).sum(axis=1)[plain] / (lengths[0] * lengths[1])[plain]
    assert cosine.min() > 0.995
    free = plain & (found[inside].max(axis=1) < 254)  # where the result stays inside the space, saturation stays too
    assert free.sum() > 50
    before, after = (light[free] / light[free].sum(axis=1, keepdims=True) for light in (before, after))
    assert np.abs(before - after).max() < 0.02


@pytest.mark.parametrize("keep", ["luminance", "hue"])
def test_keep_works_in_the_pictures_own_space(harmonizer, composite, ellipse, keep):
    picture = Image.fromarray(composite)
    picture.info["icc_profile"] = adobe_rgb()
    found, answer = (np.asarray(harmonizer.harmonize(picture, ellipse, keep=k)) for k in (keep, None))
    light = light_of(adobe_rgb())
    assert abs(light.weights[1] - 0.627) < 0.01
    inside = ellipse == 255
    other = composite if keep == "luminance" else answer
    levels = [
        light.stored((light.linear(p[inside] / 255.0) @ np.array(light.weights))[:, None].repeat(3, 1))
        for p in (found, other)
    ]
    assert np.abs(levels[0] - levels[1]).max() * 255 <= (0.75 if keep == "luminance" else 1.5)  # the answer is rounded


def test_keep_refuses_a_profile_of_tables(one_way_profile):
    with pytest.raises(HarmonyError, match=r"profile is a table; convert it to sRGB first"):
        light_of(one_way_profile)


def test_grey_pictures_have_no_chroma_to_change(harmonizer, composite, ellipse):
    grey = Image.fromarray(np.ascontiguousarray(composite[..., 1]))
    np.testing.assert_array_equal(np.asarray(harmonizer.harmonize(grey, ellipse, keep="luminance")), np.asarray(grey))
    found, answer = (np.asarray(harmonizer.harmonize(grey, ellipse, keep=k)).astype(int) for k in ("hue", None))
    assert np.abs(found - answer).max() <= 1


def test_the_network_sees_the_matched_part_only(harmonizer, composite, ellipse):
    match = np.zeros(ellipse.shape, np.uint8)
    match[:40, :60] = 255
    other = composite.copy()
    hidden = (ellipse == 0) & (match == 0)
    other[hidden] = 255 - other[hidden]
    one, two = (harmonizer.harmonize(picture, ellipse, match=match) for picture in (composite, other))
    np.testing.assert_array_equal(one[~hidden], two[~hidden])
    np.testing.assert_array_equal(one[ellipse == 0], composite[ellipse == 0])
    seen = composite.copy()
    seen[match > 0] = 255 - seen[match > 0]
    assert (harmonizer.harmonize(seen, ellipse, match=match)[ellipse > 0] != one[ellipse > 0]).any()


def test_matching_everything_is_no_choice(harmonizer, composite, ellipse):
    whole = np.full(ellipse.shape, 255, np.uint8)
    np.testing.assert_array_equal(
        harmonizer.harmonize(composite, ellipse, match=whole), harmonizer.harmonize(composite, ellipse)
    )


@pytest.mark.parametrize(
    ("match", "sentence"),
    [
        (lambda mask: np.zeros_like(mask), "match mask is empty; paint the part"),
        (lambda mask: mask, "match mask covers no visible background"),
        (lambda mask: mask[:20], "match mask is 200x20 and the composite 200x150"),
        (lambda mask: "match.png", "match mask is a str"),
    ],
)
def test_a_match_mask_that_cannot_be_used_is_one_sentence(harmonizer, composite, ellipse, match, sentence):
    with pytest.raises(HarmonyError, match=sentence):
        harmonizer.harmonize(composite, ellipse, match=match(ellipse))


def test_a_matched_part_that_is_transparent_is_none(harmonizer, composite, ellipse):
    match = np.zeros(ellipse.shape, np.uint8)
    match[:30, :30] = 255
    picture = np.dstack([composite, 255 - match])
    with pytest.raises(HarmonyError, match="covers no visible background"):
        harmonizer.harmonize(picture, ellipse, match=match)


def test_a_small_matched_part_is_no_cut_out(harmonizer, composite):
    mask = np.full(composite.shape[:2], 255, np.uint8)
    mask[:6] = 0
    match = 255 - mask
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        harmonizer.harmonize(composite, mask, match=match)
    assert not [w for w in caught if "cut-out" in str(w.message)]


def test_a_batch_has_the_same_controls(harmonizer, composite, ellipse):
    options = {"strength": 0.7, "keep": "hue", "match": 255 - ellipse}
    one = harmonizer.harmonize(composite, ellipse, **options)
    for found in harmonizer.harmonize_batch([composite, composite], [ellipse, ellipse], **options):
        np.testing.assert_array_equal(found, one)


def laid_over(composite, layer):
    share = layer[..., 3:].astype(float) / np.iinfo(layer.dtype).max
    return composite * (1 - share) + layer[..., :3] * share


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("which", ["maps", "network"])
def test_the_layer_over_the_composite_is_the_result(harmonizer, composite, ellipse, small, which, bits):
    picture, mask = (composite, ellipse) if which == "maps" else small
    picture = np.clip(picture, 60, 180)  # whose change stays inside the range
    scale = 1 if bits == 8 else 257
    picture = picture.astype(np.uint8 if bits == 8 else np.uint16) * scale
    result = harmonizer.harmonize_detailed(picture, mask)
    layer = result.layer()
    assert layer.beyond == 0
    assert layer.picture.dtype == picture.dtype
    np.testing.assert_array_equal(layer.picture[..., 3], mask.astype(picture.dtype) * scale)
    assert np.abs(np.rint(laid_over(picture, layer.picture)) - result.picture).max() <= scale
    assert not layer.picture[mask == 0].any()
    np.testing.assert_array_equal(result.picture, harmonizer.harmonize(picture, mask))


def test_a_layer_says_where_it_cannot_follow(harmonizer, composite, ellipse):
    result = harmonizer.harmonize_detailed(composite, ellipse, strength=1.5)
    layer = result.layer()
    off = np.abs(np.rint(laid_over(composite, layer.picture)) - result.picture).max(axis=2) > 1
    assert abs(int(off.sum()) - layer.beyond) <= 3
    assert not off[ellipse == 255].any()


def test_layers_keep_type_profile_and_transparency(harmonizer, composite, ellipse, wide_profile):
    picture = Image.fromarray(np.dstack([composite, np.full(ellipse.shape, 128, np.uint8)]))
    picture.info = {"icc_profile": wide_profile, "dpi": (300, 300)}
    layer = harmonizer.harmonize_detailed(picture, ellipse).layer().picture
    assert layer.mode == "RGBA"
    assert layer.info == picture.info
    alpha = np.asarray(layer)[..., 3]
    assert np.abs(alpha - ellipse * (128 / 255)).max() <= 0.51
    grey = harmonizer.harmonize_detailed(picture.convert("L"), ellipse).layer().picture
    assert grey.mode == "LA"


def test_an_empty_mask_has_an_empty_layer_and_a_lut_of_nothing(harmonizer, composite, ellipse):
    with pytest.warns(match="empty"):
        result = harmonizer.harmonize_detailed(composite, np.zeros_like(ellipse))
    assert not result.layer().picture.any()
    lut = result.lut(5)
    assert lut.mean == 0
    np.testing.assert_allclose(lut.table[1, 2, 3], [0.25, 0.5, 0.75])
