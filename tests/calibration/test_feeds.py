"""Composites from files go through the runtime's own reading and fitting."""

import numpy as np
import pytest
from PIL import Image

from harmonyrt.calibration.feeds import feeds_from_files
from harmonyrt.common import HarmonyError


@pytest.fixture
def pair(tmp_path):
    def write(mask: np.ndarray):
        pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "composite.png")
        Image.fromarray(mask).save(tmp_path / "mask.png")
        return tmp_path / "composite.png", tmp_path / "mask.png"

    return write


def test_pictures_arrive_in_the_engines_size(pair):
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 20:40] = 255
    (feed,) = feeds_from_files([pair(mask)], (32, 48))
    assert (feed["image"].shape, feed["mask"].shape) == ((1, 3, 32, 48), (1, 1, 32, 48))
    assert feed["image"].dtype == feed["mask"].dtype == np.float32
    assert 0 <= feed["image"].min() < feed["image"].max() <= 1
    assert set(np.unique(feed["mask"])) == {0.0, 1.0}


def test_a_mask_of_another_size_or_without_foreground_is_named(pair):
    with pytest.raises(HarmonyError, match=r"mask\.png: .*"):
        feeds_from_files([pair(np.full((20, 20), 255, np.uint8))], (32, 32))
    with pytest.raises(HarmonyError, match=r"mask\.png is empty"):
        feeds_from_files([pair(np.zeros((40, 60), np.uint8))], (32, 32))
