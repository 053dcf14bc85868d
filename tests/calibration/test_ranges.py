"""Four ways to choose a range."""

import numpy as np
import pytest

from harmonyrt.calibration.observe import BINS, Histogram
from harmonyrt.calibration.ranges import METHODS, method_named
from harmonyrt.common import HarmonyError


def histogram(values: np.ndarray) -> Histogram:
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    return Histogram(values.shape, low, high, np.histogram(values, BINS, (low, high))[0])


@pytest.fixture
def outlier() -> Histogram:
    """A bell, and one value far out."""
    return histogram(np.append(np.random.default_rng(0).standard_normal(100_000), 60.0))


def test_minmax_takes_all(outlier):
    assert METHODS["minmax"](outlier) == (outlier.low, 60.0)


@pytest.mark.parametrize("method", ["percentile", "entropy", "mse"])
def test_the_others_clip_an_outlier(outlier, method):
    low, high = METHODS[method](outlier)
    assert low < -2
    assert 2 < high < 55


@pytest.mark.parametrize("method", METHODS)
def test_what_is_never_negative_keeps_a_range_from_zero(method):
    low, high = METHODS[method](histogram(np.abs(np.random.default_rng(0).standard_normal(50_000))))
    assert low == 0
    assert 1 < high < 6


@pytest.mark.parametrize("method", METHODS)
def test_a_tensor_of_zeros_has_an_empty_range(method):
    assert METHODS[method](Histogram((4,), 0.0, 0.0, np.eye(1, BINS, dtype=np.int64)[0])) == pytest.approx((0, 0))


def test_mse_keeps_even_values_whole():
    """Equal shares everywhere: clipping costs more than a coarser step saves."""
    low, high = METHODS["mse"](histogram(np.linspace(-1, 1, 100_000)))
    assert (low, high) == pytest.approx((-1, 1), abs=0.02)


def test_an_unknown_method_is_refused():
    with pytest.raises(HarmonyError, match="method 'median' is not known; use one of minmax, percentile, entropy, mse"):
        method_named("median")
