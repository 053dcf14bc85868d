"""What the values of a mask mean: the shared cases, and that every way in (file, array, PIL image) follows them."""

import io
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harmonyrt.common import HarmonyError, HarmonyNote, HarmonyWarning
from harmonyrt.runtime.images.mask_colours import VOID, levels_of_colours, luma
from harmonyrt.runtime.images.mask_files import read_mask_file
from harmonyrt.runtime.images.mask_levels import levels_of, table_for
from harmonyrt.runtime.images.masks import read_mask

CASES = json.loads((Path(__file__).parents[2] / "vectors" / "masks.json").read_text(encoding="utf-8"))["cases"]
HARD = np.zeros((24, 32), bool)
HARD[6:18, 8:24] = True
WHITE = HARD * np.uint8(255)


def picture_of(case):
    """Counts as a mask, values one after the other."""
    values = [np.full(count, int(value)) for value, count in case["counts"].items()]
    flat = np.concatenate(values).astype(np.uint8 if case["bits"] == 8 else np.uint16)
    return np.resize(flat, (len(flat) // 10, 10))


def png(pixels, **options):
    stream = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(stream, "PNG", **options)
    return stream.getvalue()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_shared_cases(case):
    counts = np.zeros(1 << case["bits"], np.int64)
    counts[[int(value) for value in case["counts"]]] = list(case["counts"].values())
    table, remarks = table_for(counts)
    assert {value: int(table[int(value)]) for value in case["table"]} == case["table"]
    assert [remark.kind for remark in remarks] == case["remarks"]
    doubtful = {"not white", "not black", "mixed"}
    assert all(remark.doubtful == (remark.kind in doubtful) or "no 0" in remark.text for remark in remarks)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_files_arrays_and_images_agree_bit_for_bit(case):
    values = picture_of(case)
    height, width = values.shape
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from_array = read_mask(values, width, height)
    documented = {"binary", "depth"} if values.max() <= 255 else {"binary"}  # of arrays, integers from 0 to 255
    assert len(caught) == len([kind for kind in case["remarks"] if kind not in documented])
    from_file = read_mask_file(png(values))
    assert len(from_file.notes) + len(from_file.warnings) == len(case["remarks"])
    np.testing.assert_array_equal(from_array, from_file.values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(read_mask(Image.fromarray(values), width, height), from_array)
        if case["bits"] == 8:
            np.testing.assert_array_equal(read_mask(values / np.float32(255), width, height), from_array)
            np.testing.assert_array_equal(read_mask(values.astype(np.int64), width, height), from_array)
            np.testing.assert_array_equal(read_mask(np.dstack([values] * 3), width, height), from_array)


def test_python_tells_notes_from_warnings_at_the_callers_line():
    with pytest.warns(HarmonyNote, match="label 3: it is taken as the foreground") as caught:
        read_mask(HARD * np.uint8(3), 32, 24)
    assert caught[0].filename == __file__
    with pytest.warns(HarmonyWarning, match="has 90 as its highest value, far below white .255.: .* 35 %") as caught:
        read_mask(HARD * np.uint8(90), 32, 24)
    assert not issubclass(caught[0].category, HarmonyNote)


def test_the_alpha_of_a_cut_out_holds_no_labels():
    faint, remarks = levels_of(HARD * np.uint8(3), labels=False)
    assert faint.max() == 3
    assert [remark.kind for remark in remarks] == ["not white"]


def coloured(**colours):
    """24 x 32 x 3: black, `a` in the left half of HARD, `b` in the right one, `ring` around."""
    picture = np.zeros((24, 32, 3), np.uint8)
    picture[6:18, 8:16], picture[6:18, 16:24] = colours["a"], colours["b"]
    if "ring" in colours:
        picture[5:19, 7:25][~HARD[5:19, 7:25]] = colours["ring"]
    return picture


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 255), (128, 0, 0), (0, 40, 0), (90, 200, 30)])
def test_one_colour_on_black_is_white(colour):
    levels, remarks = levels_of_colours(coloured(a=colour, b=colour))
    np.testing.assert_array_equal(levels, WHITE)
    assert [remark.kind for remark in remarks] == ["labels"]


@pytest.mark.parametrize("suffix", ["PNG", "JPEG"])
def test_one_soft_colour_stays_soft(suffix):
    ramp = np.clip(np.hypot(*np.mgrid[-40:40, -60:60]) * -8 + 300, 0, 255)
    stream = io.BytesIO()
    Image.fromarray((ramp[..., None] * [0.5, 0.1, 0.0]).astype(np.uint8)).save(stream, suffix, quality=95)
    mask = read_mask_file(stream.getvalue())
    assert np.abs(mask.values.astype(int) - ramp).mean() < 6
    assert "one colour" in mask.notes[0]


def test_a_colour_for_each_label_and_the_border_of_voc():
    levels, _ = levels_of_colours(coloured(a=(128, 0, 0), b=(0, 128, 0)))
    np.testing.assert_array_equal(levels, WHITE)
    levels, remarks = levels_of_colours(coloured(a=(128, 0, 0), b=(0, 128, 0), ring=VOID))
    np.testing.assert_array_equal(levels, WHITE)
    assert "except (224, 224, 192)" in remarks[0].text


def test_labels_in_one_channel():
    red = np.zeros((24, 32, 3), np.uint8)
    red[..., 0] = HARD * np.uint8(7)
    np.testing.assert_array_equal(levels_of_colours(red)[0], WHITE)


def test_a_photo_is_no_mask():
    photo = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    levels, remarks = levels_of_colours(photo)
    np.testing.assert_array_equal(levels, luma(photo))
    assert remarks[0].doubtful
    assert "many colours" in remarks[0].text


def palette(indices, colours):
    image = Image.fromarray(indices.astype(np.uint8), "P")
    table = np.zeros((256, 3), np.uint8)
    for index, colour in colours.items():
        table[index] = colour
    image.putpalette(table.ravel().tolist())
    return image


TWO = np.where(HARD, 1, 0) * np.where(np.arange(32) < 16, 1, 2)
PALETTES = {
    "VOC": {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0)},
    "no black": {0: (68, 1, 84), 1: (33, 145, 140), 2: (253, 231, 37)},
    "grey": {0: (0, 0, 0), 1: (1, 1, 1), 2: (2, 2, 2)},
}


@pytest.mark.parametrize("colours", PALETTES.values(), ids=PALETTES)
def test_palettes_of_labels(colours):
    image = palette(TWO, colours)
    mask = read_mask_file(png(image))
    np.testing.assert_array_equal(mask.values, WHITE)
    assert "taken as the foreground" in mask.notes[0]
    with pytest.warns(HarmonyNote):
        np.testing.assert_array_equal(read_mask(image, 32, 24), WHITE)
    one = read_mask_file(png(image), label=2)
    np.testing.assert_array_equal(one.values, (TWO == 2) * np.uint8(255))
    assert not one.notes


@pytest.mark.parametrize("values", [TWO.astype(np.uint8), TWO.astype(np.int64) * 40000, TWO.astype(np.float32)])
def test_labels_are_chosen_by_their_value(values):
    first, second = (values.max() // 2).item(), values.max().item()
    np.testing.assert_array_equal(read_mask(values, 32, 24, label=int(second)), (TWO == 2) * np.uint8(255))
    np.testing.assert_array_equal(read_mask(values, 32, 24, label=[int(first), int(second)]), WHITE)
    with pytest.raises(HarmonyError, match=r"no label 9; it holds 0"):
        read_mask(values, 32, 24, label=9)


def test_a_label_of_a_coloured_mask_is_refused():
    with pytest.raises(HarmonyError, match=r"in\.png is coloured and has no label numbers; give"):
        read_mask_file(png(coloured(a=(255, 0, 0), b=(0, 255, 0))), name="in.png", label=1)
