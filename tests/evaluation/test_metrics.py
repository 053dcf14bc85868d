"""Metrics against the released ones, and their conventions."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harmonyrt.evaluation import metrics


@pytest.fixture(scope="module")
def blended(golden_losses):
    """Per sample: blended prediction and real picture on the 0-255 scale (H,W,3), and the mask (H,W)."""
    real = golden_losses["real"].astype(np.float64)
    mask = golden_losses["mask"].astype(np.float64)
    pictures = 255 * golden_losses["pred"].astype(np.float64) * mask + real * (1 - mask)
    return [(pictures[n].transpose(1, 2, 0), real[n].transpose(1, 2, 0), mask[n, 0]) for n in range(len(real))]


@pytest.mark.parametrize("sample", [0, 1])
def test_metrics_equal_the_released_ones(golden_losses, blended, sample):
    expected = json.loads(str(golden_losses["metrics"]))[str(sample)]
    picture, real, mask = blended[sample]
    assert metrics.mse(picture, real) == pytest.approx(expected["mse"], rel=1e-5)
    assert metrics.fmse(picture, real, mask) == pytest.approx(expected["fmse"], rel=1e-5)
    assert metrics.psnr(picture, real, peak=None) == pytest.approx(expected["psnr"], abs=1e-4)
    assert metrics.fpsnr(picture, real, mask, peak=None) == pytest.approx(expected["fpsnr"], abs=1e-4)


def test_our_psnr_is_above_the_released_convention_by_the_peak(blended):
    picture, real, _ = blended[0]
    difference = metrics.psnr(picture, real) - metrics.psnr(picture, real, peak=None)
    assert difference == pytest.approx(20 * np.log10(255 / real.max()))


def test_a_blended_picture_has_no_background_error(blended):
    picture, real, mask = blended[0]
    assert metrics.bmse(picture, real, mask) == 0


def test_foreground_error_does_not_depend_on_the_amount_of_background():
    small, large = np.zeros((10, 10, 3)), np.zeros((20, 20, 3))
    mask_small, mask_large = np.zeros((10, 10)), np.zeros((20, 20))
    for picture, mask in ((small, mask_small), (large, mask_large)):
        picture[:5, :5], mask[:5, :5] = 8, 1
    assert metrics.fmse(small, small * 0, mask_small) == pytest.approx(64)
    assert metrics.fmse(large, large * 0, mask_large) == pytest.approx(64)


def test_masks_of_every_usual_type_mean_the_same():
    mask = np.array([[0, 1], [1, 1]])
    masks = (mask.astype(bool), mask.astype(np.float32), (mask * 255).astype(np.uint8), mask[..., None].astype(float))
    assert {metrics.foreground_ratio(one) for one in masks} == {0.75}


def test_an_empty_mask_has_foreground_error_zero():
    assert metrics.fmse(np.ones((4, 4, 3)), np.zeros((4, 4, 3)), np.zeros((4, 4))) == 0


def test_equal_pictures_have_a_finite_psnr():
    assert metrics.psnr(np.zeros((2, 2, 3)), np.zeros((2, 2, 3))) == pytest.approx(108.13, abs=0.01)


def test_uint8_pictures_do_not_wrap_around():
    assert metrics.mse(np.uint8([[[0]]]), np.uint8([[[200]]])) == 40000


def test_pictures_of_different_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 2, 3\) and \(2, 3, 3\)"):
        metrics.mse(np.zeros((2, 2, 3)), np.zeros((2, 3, 3)))


@pytest.mark.parametrize(
    ("ratio", "name"), [(0.0, "0-5%"), (0.0499, "0-5%"), (0.05, "5-15%"), (0.15, "15-100%"), (1.0, "15-100%")]
)
def test_bins_are_the_papers(ratio, name):
    assert metrics.bin_name(ratio) == name


def test_averages_are_of_pictures_within_each_bin():
    scores = [metrics.Score(r, mse=m, fmse=m, psnr=30, fpsnr=20) for r, m in ((0.01, 1), (0.02, 3), (0.5, 10))]
    bins = metrics.by_ratio(scores)
    assert list(bins) == ["0-5%", "5-15%", "15-100%"]
    assert [bins[name]["pictures"] for name in bins] == [2, 0, 1]
    assert bins["0-5%"]["mse"] == 2
    assert metrics.average(scores)["mse"] == pytest.approx(14 / 3)
