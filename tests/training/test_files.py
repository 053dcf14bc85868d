"""Photos and masks for training are read as the runtime reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import HarmonyWarning
from harmonyrt.training.dataset_statistics import statistics
from harmonyrt.training.files import read_mask_of, read_pair, read_photo
from harmonyrt.training.loading import PairedDataset
from harmonyrt.training.pictures import Album, find_pictures

ORIENTATION = 0x0112
QUARTER_TURN = 6  # stored rows become columns


def photo_of(width: int, height: int) -> Image.Image:
    ramp = np.linspace(0, 255, width * height * 3).reshape(height, width, 3)
    return Image.fromarray(ramp.astype(np.uint8))


def saved(path: Path, image: Image.Image, orientation: int = 1) -> Path:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path.parent.mkdir(exist_ok=True, parents=True)
    image.save(path, exif=exif)
    return path


def left_half(width: int, height: int, white: int = 255) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[:, : width // 2] = white
    return mask


def is_upper_half(mask: np.ndarray) -> bool:
    return bool((mask[:15] == 255).all() and (mask[17:] == 0).all())


@pytest.fixture
def phone(tmp_path):
    """A data root with one photo that a phone turned, 60 x 40 as stored, and a mask of its stored pixels."""
    saved(tmp_path / "phone/images/a.png", photo_of(60, 40), QUARTER_TURN)
    saved(tmp_path / "phone/masks/a.png", Image.fromarray(left_half(60, 40)))
    return tmp_path


def test_a_photo_that_a_phone_turned_is_upright_and_its_mask_with_it(phone):
    album = Album(find_pictures(phone))
    assert album.size(0) == (40, 60)
    mask = np.asarray(album.crop(0, (0, 0, 1, 1), 32, mask=True))
    assert is_upper_half(mask), "what is left as stored is up when upright"
    upright = np.asarray(album.crop(0, (0, 0, 1, 1), 32))
    assert upright[0, -1].mean() < upright[0, 0].mean(), "the stored first row is the upright one's last column"


def test_a_mask_that_was_turned_with_its_photo_is_not_turned_twice(phone):
    saved(phone / "phone/masks/a.png", Image.fromarray(left_half(60, 40)), QUARTER_TURN)
    mask = np.asarray(Album(find_pictures(phone)).crop(0, (0, 0, 1, 1), 32, mask=True))
    assert is_upper_half(mask)


@pytest.mark.parametrize(
    "stored",
    [
        left_half(60, 40, 1),
        left_half(60, 40).astype(np.uint16) * 257,
        np.dstack([np.zeros((40, 60, 3), np.uint8), left_half(60, 40)]),
    ],
    ids=["0 and 1", "16 bits", "alpha of a cut-out"],
)
def test_masks_mean_what_they_mean_to_the_runtime(tmp_path, stored):
    photo = Image.new("RGB", (60, 40))
    mask = read_mask_of(saved(tmp_path / "mask.png", Image.fromarray(stored)), read_photo_of(photo, tmp_path), tmp_path)
    assert np.array_equal(np.asarray(mask), left_half(60, 40))


def read_photo_of(image: Image.Image, folder: Path):
    return read_photo(saved(folder / "photo.png", image))


def test_a_soft_matte_of_16_bits_stays_soft(tmp_path):
    matte = np.full((40, 60), 0x4040, np.uint16)
    matte[0] = 0xFFFF
    mask = read_mask_of(
        saved(tmp_path / "mask.png", Image.fromarray(matte)), read_photo_of(photo_of(60, 40), tmp_path), tmp_path
    )
    assert set(np.unique(np.asarray(mask))) == {0x40, 0xFF}


def test_a_mask_of_another_shape_is_refused(phone):
    saved(phone / "phone/masks/a.png", Image.fromarray(left_half(50, 50)))
    with pytest.raises(
        HarmonyError, match=r"masks/a.png has 50x50 pixels and its photo .* 40x60: that is another shape"
    ):
        Album(find_pictures(phone)).load()


def test_a_mask_without_foreground_is_named(phone):
    saved(phone / "phone/masks/a.png", Image.fromarray(left_half(60, 40, 120)))
    with pytest.warns(HarmonyWarning, match=r"masks/a.png shows no foreground: nothing in it is above 120 of 255"):
        Album(find_pictures(phone)).load()


def test_a_pair_whose_real_photo_kept_its_orientation_stays_together(tmp_path):
    """As programs write datasets that open photos as they are stored."""
    composite = saved(tmp_path / "composite.png", photo_of(60, 40))
    mask = saved(tmp_path / "mask.png", Image.fromarray(left_half(60, 40)))
    real = saved(tmp_path / "real.png", photo_of(60, 40), QUARTER_TURN)
    made, levels, truth = read_pair(composite, mask, real)
    assert made.size == levels.size == truth.size == (60, 40)
    assert np.array_equal(np.asarray(made), np.asarray(truth))
    other = saved(tmp_path / "other.png", photo_of(50, 50))
    with pytest.raises(HarmonyError, match=r"other.png and its composite .* have different shapes"):
        read_pair(composite, mask, other)


def test_a_dataset_with_masks_of_0_and_1_has_foregrounds(tmp_path):
    saved(tmp_path / "composite_images/a_1_1.jpg", photo_of(60, 40))
    saved(tmp_path / "masks/a_1.png", Image.fromarray(left_half(60, 40, 1)))
    saved(tmp_path / "real_images/a.jpg", photo_of(60, 40))
    (tmp_path / "train.txt").write_text("composite_images/a_1_1.jpg\n")
    _, mask, _ = PairedDataset(tmp_path).sample(0, 32)
    assert (mask > 127).mean() == 0.5
    assert statistics(tmp_path)["foreground_ratio"]["mean"] == pytest.approx(0.5)
