"""Metrics against the released ones, and their conventions."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harmonyrt.common import HarmonyError
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


@pytest.fixture(scope="module")
def soft():
    """Two pictures and a mask with soft edges."""
    rng = np.random.default_rng(1)
    picture, real = (rng.integers(0, 256, (16, 20, 3)).astype(np.uint8) for _ in range(2))
    return picture, real, rng.random((16, 20))


def test_soft_masks_follow_equations_16_and_17(soft):
    picture, real, mask = soft
    total16 = total17 = 0.0
    for j in range(16):
        for k in range(20):
            for i in range(3):
                error = float(picture[j, k, i]) - float(real[j, k, i])
                total16 += mask[j, k] * error**2
                total17 += (mask[j, k] * error) ** 2
    assert metrics.soft_fmse(picture, real, mask) == pytest.approx(total16 / (3 * mask.sum()))
    assert metrics.soft_fmse(picture, real, mask, power=2) == pytest.approx(total17 / (3 * mask.sum()))


def test_both_equations_agree_on_binary_masks(soft):
    picture, real, mask = soft
    hard = mask > 0.5
    found = {round(metrics.soft_fmse(picture, real, hard, power), 6) for power in (1, 2)}
    assert found == {round(metrics.fmse(picture, real, hard), 6)}


def test_the_three_peaks(soft):
    picture, real, _ = soft
    error = metrics.mse(picture, real)
    for peak, height in ((255.0, 255), (None, real.max()), ("range", int(picture.max()) - int(picture.min()))):
        assert metrics.psnr(picture, real, peak) == pytest.approx(10 * np.log10(float(height) ** 2 / error))


def test_a_score_is_what_the_functions_give_one_by_one(soft):
    picture, real, mask = soft
    mask = np.round(mask * 255).astype(np.uint8)
    found = metrics.score(picture, real, mask, peak=None)
    assert found.mse == pytest.approx(metrics.mse(picture, real))
    assert found.fmse == pytest.approx(metrics.fmse(picture, real, mask))
    assert found.bmse == pytest.approx(metrics.bmse(picture, real, mask))
    assert found.fmse_eq16 == pytest.approx(metrics.soft_fmse(picture, real, mask))
    assert found.fmse_eq17 == pytest.approx(metrics.soft_fmse(picture, real, mask, 2))
    assert found.psnr == found.psnr_max == pytest.approx(metrics.psnr(picture, real, None))
    assert found.fpsnr == pytest.approx(metrics.fpsnr(picture, real, mask, None))
    assert found.psnr_255 == pytest.approx(metrics.psnr(picture, real))
    assert found.psnr_range == pytest.approx(metrics.psnr(picture, real, "range"))
    assert found.ssim is None


def test_ssim_is_the_original_authors(soft):
    pytest.importorskip("skimage", reason="SSIM: pip install 'harmonyrt[evaluation]'")
    picture, real, mask = soft
    assert metrics.ssim(real, real) == pytest.approx(1)
    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2
    values = []
    for c in range(3):
        for y in range(16 - 10):
            for x in range(20 - 10):
                a, b = (one[y : y + 11, x : x + 11, c].astype(float) for one in (picture, real))
                mean_a, mean_b = (window * a).sum(), (window * b).sum()
                var_a, var_b = (window * a * a).sum() - mean_a**2, (window * b * b).sum() - mean_b**2
                both = (window * a * b).sum() - mean_a * mean_b
                c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
                above = (2 * mean_a * mean_b + c1) * (2 * both + c2)
                values.append(above / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)))
    assert metrics.ssim(picture, real) == pytest.approx(np.mean(values), abs=1e-6)
    assert metrics.score(picture, real, mask, with_ssim=True).ssim == metrics.ssim(picture, real)


def test_ssim_of_a_tiny_picture_is_refused():
    pytest.importorskip("skimage", reason="SSIM: pip install 'harmonyrt[evaluation]'")
    with pytest.raises(HarmonyError, match="found 4x4"):
        metrics.ssim(np.zeros((4, 4, 3)), np.zeros((4, 4, 3)))
