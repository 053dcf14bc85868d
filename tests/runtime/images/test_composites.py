"""What goes into `Harmonizer.harmonize` and what comes out: depths, colour spaces, and what travels with a picture."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from harmonyrt.common import HarmonyError, HarmonyNote
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.images.composites import read_picture
from harmonyrt.runtime.images.pictures import read_picture_file

HEIGHT, WIDTH = 100, 480


@pytest.fixture(scope="module")
def harmonizer(static_bundle):
    return Harmonizer.open(static_bundle, backend="onnxruntime", threads=1)


@pytest.fixture(scope="module")
def ramp():
    """A smooth grey ramp, 16 bits: the steps are a quarter of a level of 8 bits."""
    line = np.rint(np.linspace(16000, 16000 + 60 * (WIDTH - 1), WIDTH)).astype(np.uint16)
    return np.repeat(np.broadcast_to(line, (HEIGHT, WIDTH))[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def mask():
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:90, 20:460] = 255
    return mask


def steps_inside(pixels):
    return np.diff(pixels[50, 30:450].astype(int), axis=0)


def test_a_16_bit_array_comes_back_with_16_bits_and_smooth(harmonizer, ramp, mask):
    found = harmonizer.harmonize(ramp, mask)
    assert found.dtype == np.uint16
    assert (found[mask == 0] == ramp[mask == 0]).all()
    assert np.abs(found[50, 240].astype(int) - ramp[50, 240]).max() > 1000
    steps = steps_inside(found)
    assert steps.min() > 0
    assert steps.max() < 250  # 8 bits would have steps of 0 and 257


def test_a_16_bit_array_and_its_8_bit_copy_give_the_same_picture(harmonizer, ramp, mask):
    deep = harmonizer.harmonize(ramp, mask)
    plain = harmonizer.harmonize(np.rint(ramp / 257).astype(np.uint8), mask)
    assert np.abs(deep / 257 - plain).max() < 1.5


def test_a_16_bit_array_of_the_engines_size_stays_smooth(harmonizer, mask):
    line = np.rint(np.linspace(20000, 26000, 64)).astype(np.uint16)
    ramp = np.repeat(np.broadcast_to(line, (64, 64))[..., None], 3, axis=2)
    found = harmonizer.harmonize(ramp, np.full((64, 64), 255, np.uint8) * (np.arange(64) > 4).astype(np.uint8))
    assert np.diff(found[32, 6:].astype(int), axis=0).min() > 0
    assert (found[:, :5] == ramp[:, :5]).all()


@pytest.mark.parametrize("dtype", [">u2", "<u2", ">u1"])
def test_the_byte_order_changes_nothing(harmonizer, ramp, mask, dtype):
    given = ramp.astype(dtype) if dtype.endswith("2") else (ramp >> 8).astype(dtype)
    found = harmonizer.harmonize(given, mask)
    assert found.dtype == given.dtype
    assert (found == harmonizer.harmonize(given.astype(given.dtype.newbyteorder("=")), mask)).all()


@pytest.mark.parametrize("channels", [1, 4])
def test_16_bit_grey_and_alpha_in_python(harmonizer, ramp, mask, channels):
    if channels == 1:
        found = harmonizer.harmonize(Image.fromarray(ramp[..., 0]), mask)
        assert found.mode == "I;16"
        found = np.asarray(found)
        assert (found[mask == 0] == ramp[..., 0][mask == 0]).all()
        assert (steps_inside(found) >= 0).all()
    else:
        alpha = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, 1), dtype=np.uint16)
        found = harmonizer.harmonize(np.concatenate([ramp, alpha], axis=2), mask)
        assert (found[..., 3:] == alpha).all()


def test_a_16_bit_file_with_a_wide_profile_stays_smooth_and_neutral(static_bundle, ramp, mask, wide_profile, deep_png):
    with Harmonizer.open(static_bundle, backend="onnxruntime", threads=1) as harmonizer:
        picture = read_picture_file(deep_png(ramp, wide_profile))
        found = harmonizer.harmonize(picture, mask)
    assert found.profile == wide_profile
    assert (found.native[mask == 0] == ramp[mask == 0]).all()
    assert steps_inside(found.native).min() > 0
    assert np.abs(found.native.astype(int) - ramp).max() > 1000


def test_a_pil_picture_with_a_wide_profile_is_seen_as_it_looks(harmonizer, mask, wide_profile):
    random = np.random.default_rng(2)
    pixels = random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    picture.info["icc_profile"] = wide_profile
    found = harmonizer.harmonize(picture, mask)
    stream = io.BytesIO()
    picture.save(stream, "PNG", icc_profile=wide_profile)
    from_file = harmonizer.harmonize(read_picture_file(stream.getvalue()), mask)
    assert (np.asarray(found) == from_file.native).all()
    assert (np.asarray(found) != np.asarray(harmonizer.harmonize(pixels, mask))).any()


@pytest.mark.parametrize(("kind", "words"), [("one way", "not back"), ("broken", "does not fit")])
def test_a_profile_of_a_pil_picture_that_cannot_be_used_is_said_and_travels(
    harmonizer, mask, one_way_profile, kind, words
):
    picture = Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 60))
    picture.info["icc_profile"] = one_way_profile if kind == "one way" else b"no profile"
    with pytest.warns(HarmonyNote, match=words) as caught:
        found = harmonizer.harmonize(picture, mask)
    assert caught[0].filename == __file__
    assert found.info["icc_profile"] == picture.info["icc_profile"]


@pytest.mark.parametrize(("mode", "suffix"), [("RGB", "png"), ("L", "png"), ("RGBA", "png"), ("RGB", "tiff")])
def test_what_belongs_to_a_pil_picture_travels(harmonizer, mask, mode, suffix):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stream = io.BytesIO()
    options = {} if mode == "L" else {"icc_profile": profile}
    fill = (90, 90, 90, 255) if mode == "RGBA" else 90
    Image.new(mode, (WIDTH, HEIGHT), fill).save(stream, suffix, exif=exif, dpi=(300, 300), **options)
    found = harmonizer.harmonize(Image.open(stream), mask)
    assert found.info.get("icc_profile") == options.get("icc_profile")
    assert found.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert found.getexif()[0x010F] == "Maker"


@pytest.mark.parametrize(
    ("composite", "words"),
    [
        (np.zeros((4, 6, 3), np.int64), "values go from 0 to 0: give them as uint8"),
        (np.full((4, 6, 3), 700, np.int32), "scale them to 0..65535"),
        (np.full((4, 6, 3), -1, np.int32), "from -1 to -1"),
        (np.zeros((4, 6, 3), np.float64), "times 255, rounded, clipped"),
        (b"\x89PNG", "takes pixels, not files"),
        (io.BytesIO(), "takes pixels, not files"),
        (Image.new("F", (6, 4)), "cut them off at 255"),
        (Image.new("CMYK", (6, 4)), "profile"),
        (Image.new("P", (6, 4)), "RGBA"),
        ([[1, 2], [3, 4]], "array"),
    ],
)
def test_advice_does_no_harm(composite, words):
    with pytest.raises(HarmonyError, match=words) as caught:
        read_picture(composite)
    assert "\n" not in str(caught.value)


def test_batches_may_come_from_generators(harmonizer, ramp, mask):
    found = harmonizer.harmonize_batch((ramp for _ in range(3)), iter([mask] * 3))
    assert len(found) == 3
    assert (found[2] == harmonizer.harmonize(ramp, mask)).all()
    stacked = harmonizer.harmonize_batch(np.stack([ramp, ramp]), np.stack([mask, mask]))
    assert (stacked[1] == found[0]).all()


@pytest.mark.parametrize("one", [np.zeros((4, 6, 3), np.uint8), Image.new("RGB", (6, 4)), "folder"])
def test_a_single_picture_is_no_batch(harmonizer, one):
    with pytest.raises(HarmonyError, match=r"use harmonize\(\) for one"):
        harmonizer.harmonize_batch(one, [np.zeros((4, 6), np.uint8)])
