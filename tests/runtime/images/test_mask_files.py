"""A photo that EXIF turns next to a mask that nothing turns, and the other way round."""

import io

import numpy as np
import pytest
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images.mask_files import matched_mask, read_mask_file
from harmonyrt.runtime.images.masks import fitted_mask, read_mask
from harmonyrt.runtime.images.pictures import read_picture_file

RANDOM = np.random.default_rng(3)
STORED = RANDOM.integers(0, 256, (30, 44, 3), dtype=np.uint8)
MASK = np.zeros((30, 44), np.uint8)
MASK[4:11, 6:29] = 255


def png(pixels, orientation=None):
    stream, exif = io.BytesIO(), Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(stream, "PNG", exif=exif)
    return stream.getvalue()


def both(photo, mask):
    picture = read_picture_file(photo, name="photo.png")
    return matched_mask(read_mask_file(mask, name="mask.png"), picture, "mask.png", "photo.png")


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("factor", [1, 2])
def test_a_mask_of_the_stored_pixels_is_turned_like_its_photo(orientation, factor):
    small = np.ascontiguousarray(MASK[::factor, ::factor])
    expected = read_mask_file(png(small, orientation)).values
    found = both(png(STORED, orientation), png(small))
    np.testing.assert_array_equal(found.values, expected)
    said = f"photo.png has the EXIF orientation {orientation} and mask.png has none: the mask was turned like it"
    assert found.notes == (said,)


def tiff(pixels, orientation):
    """Of 8 bits by Pillow, which turns it by itself; of 16 by tifffile."""
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    if pixels.dtype == np.uint8:
        Image.fromarray(pixels).save(stream, "TIFF", exif=exif)
    else:
        tifffile = pytest.importorskip("tifffile")
        tifffile.imwrite(stream, pixels, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    return stream.getvalue()


@pytest.mark.parametrize("orientation", [3, 5, 6, 7, 8])
@pytest.mark.parametrize("factor", [1, 257])
def test_tiffs_are_turned_as_other_photos_are(orientation, factor):
    photo = tiff(STORED.astype(np.uint8 if factor == 1 else np.uint16) * factor, orientation)
    expected = read_picture_file(png(STORED, orientation))
    picture = read_picture_file(photo, name="photo.png")
    np.testing.assert_array_equal(picture.native, expected.native.astype(picture.native.dtype) * factor)
    assert picture.orientation == orientation
    mask = both(photo, png(MASK))
    if orientation >= 5:
        np.testing.assert_array_equal(mask.values, read_mask_file(png(MASK, orientation)).values)
    assert f"photo.png has the EXIF orientation {orientation} and mask.png has none" in mask.notes[0]


def test_a_tiff_mask_that_kept_an_orientation_is_taken_as_stored():
    found = both(png(STORED), tiff(MASK, 6))
    np.testing.assert_array_equal(found.values, MASK)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_that_kept_an_orientation_which_its_photo_lost_is_taken_as_stored(orientation):
    found = both(png(STORED), png(MASK, orientation))
    np.testing.assert_array_equal(found.values, MASK)
    assert "mask.png has the EXIF orientation" in found.notes[0]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_equal_orientations_need_no_word(orientation):
    found = both(png(STORED, orientation), png(MASK, orientation))
    assert found.notes == ()
    assert found.values.shape == read_picture_file(png(STORED, orientation)).rgb.shape[:2]


@pytest.mark.parametrize("orientation", [6, 8])
def test_a_mask_of_the_upright_photo_stays(orientation):
    upright = np.ascontiguousarray(np.rot90(MASK))
    found = both(png(STORED, orientation), png(upright))
    np.testing.assert_array_equal(found.values, upright)
    assert found.notes == ()


@pytest.mark.parametrize(("stored", "orientation"), [(STORED, 3), (STORED, 2), (STORED[:, :30], 6)])
def test_what_the_size_cannot_tell_is_said(stored, orientation):
    mask = np.ascontiguousarray(MASK[:, : stored.shape[1]])
    found = both(png(np.ascontiguousarray(stored), orientation), png(mask))
    np.testing.assert_array_equal(found.values, mask)
    assert "if the result is misplaced, turn the mask alike" in found.notes[0]


def test_exchanged_sides_are_never_squashed():
    for fit_mask in (False, True):
        with pytest.raises(HarmonyError, match=r"44x30 and the composite 30x44.*one of them was turned"):
            read_mask(MASK, 30, 44, fit_mask)
    with pytest.raises(HarmonyError, match="one of them was turned"):
        fitted_mask(MASK, 300, 440, True)
    assert fitted_mask(MASK, 45, 40, True).shape == (40, 45)
