import numpy as np
import pytest

from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.fit import binary, engine_size, fit


def test_a_picture_is_squashed_to_an_engine_of_one_size(static_bundle, composite, ellipse):
    size = engine_size(open_bundle(static_bundle).manifest, *ellipse.shape)
    fitted = fit(composite, ellipse, size, binary_mask=True)
    assert size == (64, 64)
    assert fitted.image.shape == (3, 64, 64)
    assert fitted.image.dtype == np.float32
    np.testing.assert_allclose(fitted.image.mean((1, 2)) * 255, composite.mean((0, 1)), atol=1)
    assert set(np.unique(fitted.network_mask)) == {0, 1}
    np.testing.assert_allclose(fitted.mask.mean() * 255, ellipse.mean(), atol=1)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((64, 64), (64, 64)), ((1000, 1000), (64, 64)), ((100, 400), (32, 128)), ((1, 5000), (32, 256))],
)
def test_a_dynamic_engine_keeps_the_aspect_ratio(dynamic_bundle, shape, size):
    assert engine_size(open_bundle(dynamic_bundle).manifest, *shape) == size


def test_masks_stay_soft_where_the_network_takes_soft_ones(composite, ellipse):
    fitted = fit(composite, ellipse, (64, 64), binary_mask=False)
    np.testing.assert_array_equal(fitted.network_mask, fitted.mask)


def test_coverage_of_one_half_is_foreground():
    coverage = np.zeros((8, 8), np.float32)
    coverage[4, 4], coverage[4, 5] = 0.5, 0.49
    assert binary(coverage).sum() == 1


@pytest.mark.parametrize("place", [(0, 0), (3, 5), (7, 7)])
def test_a_tiny_foreground_reaches_every_level_of_the_mask_pyramid(place):
    coverage = np.zeros((8, 8), np.float32)
    coverage[place] = 0.01
    mask = binary(coverage)
    assert mask[place] == 1
    assert mask[::2, ::2].any()
    assert mask[::4, ::4].any()
    assert mask.sum() <= 16
