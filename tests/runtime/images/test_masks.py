import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images.composites import read_picture
from harmonyrt.runtime.images.masks import HarmonyWarning, check_mask, read_mask

HALF = np.zeros((4, 6), bool)
HALF[:, 3:] = True
LEVELS = HALF.astype(np.uint8) * 255

SAME_MASK = {
    "bool": HALF,
    "uint8 of 0 and 255": LEVELS,
    "uint8 of 0 and 1": HALF.astype(np.uint8),
    "int64 of 0 and 1": HALF.astype(np.int64),
    "uint16": HALF.astype(np.uint16) * 65535,
    "float64": HALF.astype(np.float64),
    "float16": HALF.astype(np.float16),
    "one channel": LEVELS[..., None],
    "three channels": np.repeat(LEVELS[..., None], 3, 2),
    "PIL 1": Image.fromarray(HALF),
    "PIL L": Image.fromarray(LEVELS),
    "PIL RGB": Image.fromarray(LEVELS).convert("RGB"),
    "PIL RGBA, opaque": Image.fromarray(LEVELS).convert("RGBA"),
    "PIL P": Image.fromarray(LEVELS).convert("P"),
    "PIL I;16": Image.fromarray(HALF.astype(np.uint16) * 65535),
}


@pytest.mark.parametrize("mask", SAME_MASK.values(), ids=SAME_MASK)
def test_every_form_of_a_mask_reads_the_same(mask):
    np.testing.assert_array_equal(read_mask(mask, 6, 4), LEVELS)


def test_soft_masks_keep_their_levels():
    soft = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
    np.testing.assert_array_equal(read_mask(soft, 6, 4), np.floor(soft * 255 + 0.5))
    levels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    np.testing.assert_array_equal(read_mask(Image.fromarray(levels), 6, 4), levels)


def test_the_alpha_of_a_cut_out_is_its_mask():
    cut_out = Image.new("RGBA", (6, 4), (9, 200, 30, 0))
    cut_out.paste((255, 0, 0, 255), (3, 0, 6, 4))
    np.testing.assert_array_equal(read_mask(cut_out, 6, 4), LEVELS)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.full((4, 6), np.nan), "NaN"),
        (np.full((4, 6), np.inf), "infinite"),
        (np.full((4, 6), 1.5), "1.5"),
        (np.full((4, 6), -1), "-1"),
        (np.full((4, 6), 300), "300"),
        (np.zeros((4, 6), complex), "complex"),
        (np.zeros((4, 6), object), "object"),
        (np.zeros(24), "shape"),
        (np.zeros((4, 6, 2)), "shape"),
        (np.zeros((0, 6)), "6x0"),
        ([[0, 1]], "list"),
        (None, "NoneType"),
        (Image.new("CMYK", (6, 4)), "CMYK"),
    ],
)
def test_an_impossible_mask_is_one_sentence(mask, words):
    with pytest.raises(HarmonyError, match=words) as caught:
        read_mask(mask, 6, 4)
    assert "\n" not in str(caught.value)
    assert "give" in str(caught.value) or "convert" in str(caught.value)


def test_another_size_is_refused_and_fit_mask_is_offered():
    with pytest.raises(HarmonyError, match=r"6x4 and the composite 12x8.*--fit-mask"):
        read_mask(LEVELS, 12, 8)
    fitted = read_mask(LEVELS, 12, 8, fit_mask=True)
    assert fitted.shape == (8, 12)
    assert fitted[:, :4].max() == 0
    assert fitted[:, 8:].min() == 255


@pytest.mark.parametrize(
    ("composite", "words"),
    [
        (np.zeros((4, 6, 3), np.float32), "float32"),
        (np.zeros((4, 6), np.uint8), "shape"),
        (np.zeros((1, 4, 6, 3), np.uint8), "shape"),
        (np.zeros((0, 6, 3), np.uint8), "empty"),
        ("picture.png", "str"),
        (Image.new("CMYK", (6, 4)), "CMYK"),
        (Image.new("P", (6, 4)), "mode P"),
        (np.zeros((4, 6, 3), np.int32), r"values go from 0 to 0: give them as uint8"),
        (Path("picture.png"), "takes pixels, not files"),
        (Image.new("I", (6, 4)), "cut them off at 255"),
    ],
)
def test_an_impossible_composite_is_one_sentence(composite, words):
    with pytest.raises(HarmonyError, match=words) as caught:
        read_picture(composite)
    assert "\n" not in str(caught.value)


def test_a_picture_over_the_limit_is_refused_before_it_is_decoded():
    huge = np.lib.stride_tricks.as_strided(np.zeros(3, np.uint8), (30_000, 30_000, 3), (0, 0, 1))
    with pytest.raises(HarmonyError, match=r"900 megapixels.*limit is 200.*--max-megapixels"):
        read_picture(huge)
    with pytest.raises(HarmonyError, match="limit is 1e-05"):
        read_picture(np.zeros((4, 6, 3), np.uint8), megapixel_limit=1e-5)
    read_picture(np.zeros((4, 6, 3), np.uint8), megapixel_limit=None)


def test_a_damaged_file_is_one_sentence(tmp_path):
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(HarmonyError, match="damaged or cut short"):
        read_picture(Image.open(path))
    with pytest.raises(HarmonyError, match="damaged or cut short"):
        read_mask(Image.open(path), 64, 64)


def test_an_empty_mask_is_said_and_stops_the_work():
    with pytest.warns(HarmonyWarning, match="empty"):
        assert not check_mask(np.zeros((4, 6), np.uint8))


def test_a_full_mask_is_said():
    with pytest.warns(HarmonyWarning, match="no background to learn from"):
        assert check_mask(np.full((4, 6), 255, np.uint8))


def test_an_inverted_looking_mask_is_said():
    mask = np.full((20, 20), 255, np.uint8)
    mask[5:12, 5:12] = 0
    with pytest.warns(HarmonyWarning, match="inverted"):
        assert check_mask(mask)


@pytest.mark.parametrize(("rows", "columns"), [(slice(5, 12), slice(5, 12)), (slice(0, 13), slice(0, 20))])
def test_ordinary_masks_are_not_complained_about(rows, columns):
    mask = np.zeros((20, 20), np.uint8)
    mask[rows, columns] = 255
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_mask(mask)


@pytest.mark.parametrize("dtype", [">u2", "<u2", ">i2", ">i4", ">f4", ">f8", ">u1"])
def test_the_byte_order_of_a_mask_changes_nothing(dtype):
    high = {"u2": 65535, "f4": 1, "f8": 1}.get(dtype[1:], 255)
    assert (read_mask((HALF * high).astype(dtype), 6, 4) == HALF * np.uint8(255)).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_may_be_off_by_rounding(dtype):
    levels = np.where(HALF, 1 + 1e-7, -1e-7)
    levels[0, 5], levels[0, 0] = 1.0008, -0.0008
    assert (read_mask(levels.astype(dtype), 6, 4) == HALF * np.uint8(255)).all()


def test_pil_masks_of_integers_and_floats_are_read():
    assert (read_mask(Image.fromarray(HALF.astype(np.int32) * 65535), 6, 4) == HALF * np.uint8(255)).all()
    assert (read_mask(Image.fromarray(HALF.astype(np.float32)), 6, 4) == HALF * np.uint8(255)).all()


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (HALF * 1.1, r"clip\(0, 1\)"),
        (HALF * 255.0, "divide by 255"),
        (HALF.astype(np.int32) * 40000, "16 bits as uint16"),
        (Path("mask.png"), "read_mask_file"),
        (b"mask", "read_mask_file"),
        ([[0, 1]], "NumPy array"),
    ],
)
def test_the_advice_about_a_mask_does_no_harm(mask, words):
    with pytest.raises(HarmonyError, match=words):
        read_mask(mask, 6, 4)
