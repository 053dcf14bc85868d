from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from harmonyrt.runtime.resample import product, resample, taps

SIZES = [((97, 131), (64, 64)), ((300, 41), (64, 64)), ((20, 33), (64, 64)), ((64, 64), (64, 64)), ((1, 1), (64, 8))]


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_it_is_the_antialiased_bilinear_that_pillow_has(source, target):
    picture = np.random.default_rng(0).random((*source, 3), np.float32)
    found = resample(picture, *target)
    for channel in range(3):
        plane = Image.fromarray(picture[..., channel]).resize(target[::-1], Image.Resampling.BILINEAR)
        np.testing.assert_allclose(found[..., channel], np.asarray(plane), atol=2e-6)


def test_threads_change_nothing():
    picture = np.random.default_rng(0).integers(0, 256, (333, 517, 3), dtype=np.uint8)
    with ThreadPoolExecutor(3) as pool:
        np.testing.assert_array_equal(resample(picture, 64, 64, pool), resample(picture, 64, 64))


def test_a_constant_stays_what_it_is():
    np.testing.assert_allclose(resample(np.full((50, 70, 1), 200, np.uint8), 16, 24), 200, rtol=1e-6)


def test_growing_takes_two_neighbours_and_holds_the_border():
    line = taps(2, 8, 0, 8)
    np.testing.assert_allclose(line.weights @ [0, 1], [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1])


@pytest.mark.parametrize("shape", [(3, 5, 7), (700, 40, 200), (8, 100, 5000), (1, 1, 1), (9, 300000, 2)])
def test_a_product_in_pieces_is_the_product(shape):
    random = np.random.default_rng(0)
    m, k, n = shape
    left, right = random.random((m, k), np.float32), random.random((k, n), np.float32)
    out = np.empty((m, n), np.float32)
    np.testing.assert_allclose(product(left, right, out), left @ right, rtol=1e-4)
