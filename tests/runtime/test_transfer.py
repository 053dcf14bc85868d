from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from harmonyrt.runtime.fit import fit
from harmonyrt.runtime.resample import resample
from harmonyrt.runtime.transfer import apply_maps, fit_maps, upsample_edit

SIDE = 64


def psnr(a, b, where):
    return 10 * np.log10(255**2 / np.mean((a[where].astype(float) - b[where]) ** 2))


@pytest.fixture(scope="module")
def picture():
    """400 x 600 with detail that a 64 px picture cannot hold."""
    random = np.random.default_rng(1)
    coarse = random.integers(60, 190, (12, 18, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((600, 400), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(smooth + random.integers(-25, 26, (400, 600, 1)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def mask():
    down, across = np.mgrid[0:400, 0:600]
    distance = np.hypot((down - 210) / 120, (across - 280) / 170)
    return (np.clip((1 - distance) * 40 + 0.5, 0, 1) * 255).astype(np.uint8)


def carried(picture, mask, change, pool=None):
    """Upsample what `change` does, as a network that makes no mistakes would have said it at 64 px."""
    fitted = fit(picture, mask, (SIDE, SIDE), binary_mask=True)
    target = change(picture.astype(np.float32) / 255)
    output = resample(target, SIDE, SIDE).transpose(2, 0, 1)
    return upsample_edit(picture, mask, fitted, output, pool), np.clip(target * 255, 0, 255)


HUE = np.array([[0.8, 0.15, 0.05], [0.1, 0.7, 0.2], [0.05, 0.1, 0.9]], np.float32)
CHANGES = {
    "gain": (lambda x: x * np.array([0.8, 0.9, 1.1], np.float32), 46),
    "shift": (lambda x: x + np.array([0.05, -0.1, 0.02], np.float32), 46),
    "gamma": (lambda x: x ** np.float32(1.3), 42),
    "hue": (lambda x: x @ HUE, 46),
    "light from one side": (lambda x: x * np.linspace(0.6, 1.1, 600, dtype=np.float32)[None, :, None], 40),
}


@pytest.mark.parametrize(("change", "least"), CHANGES.values(), ids=CHANGES)
def test_colour_changes_come_back_with_the_detail(picture, mask, change, least):
    found, target = carried(picture, mask, change)
    inside = mask == 255
    assert psnr(found, target, inside) > least
    blurred = resample(resample(target.astype(np.float32), SIDE, SIDE), 400, 600)
    assert psnr(found, target, inside) > psnr(blurred, target, inside) + 10


def test_the_background_is_the_composites_bytes(picture, mask):
    found, _ = carried(picture, mask, lambda x: x * np.float32(0.5))
    np.testing.assert_array_equal(found[mask == 0], picture[mask == 0])


def test_soft_masks_blend(picture, mask):
    found, target = carried(picture, mask, lambda x: x * np.float32(0.5))
    soft = (mask > 20) & (mask < 235)
    share = mask[soft][:, None] / 255
    expected = picture[soft] * (1 - share) + target[soft] * share
    assert np.abs(found[soft] - expected).max() < 12


def test_what_the_network_says_of_the_background_does_not_leak_in(picture, mask):
    fitted = fit(picture, mask, (SIDE, SIDE), binary_mask=True)
    output = fitted.image * np.float32(0.7)
    quiet, wild = output.copy(), output.copy()
    wild[:, fitted.mask == 0] = np.random.default_rng(0).random((3, int((fitted.mask == 0).sum())), np.float32)
    np.testing.assert_array_equal(
        upsample_edit(picture, mask, fitted, quiet), upsample_edit(picture, mask, fitted, wild)
    )


def test_no_change_is_no_change(picture, mask):
    found, _ = carried(picture, mask, lambda x: x)
    assert np.abs(found.astype(int) - picture).max() <= 1


def test_threads_change_nothing(picture, mask):
    with ThreadPoolExecutor(3) as pool:
        found, _ = carried(picture, mask, lambda x: x**2, pool)
    np.testing.assert_array_equal(found, carried(picture, mask, lambda x: x**2)[0])


def test_flat_and_clipped_places_stay_flat(mask):
    flat = np.full((400, 600, 3), 255, np.uint8)
    fitted = fit(flat, mask, (SIDE, SIDE), binary_mask=True)
    noisy = np.clip(0.8 + np.random.default_rng(0).normal(0, 0.02, (3, SIDE, SIDE)), 0, 1).astype(np.float32)
    found = upsample_edit(flat, mask, fitted, noisy)[mask == 255]
    assert np.abs(found.astype(int) - 204).max() <= 8  # the noise itself passes 20


def test_scales_are_limited(picture, mask):
    fitted = fit(picture, mask, (SIDE, SIDE), binary_mask=True)
    wild = (np.random.default_rng(0).random((3, SIDE, SIDE)) * 100 - 50).astype(np.float32)
    maps = fit_maps(fitted, wild)
    assert 0 <= maps.scale.min() <= maps.scale.max() <= 8  # the noise itself passes 20
    assert np.isfinite(apply_maps(picture, mask, maps)).all()


def test_a_network_that_says_the_picture_at_its_own_size_is_taken_at_its_word():
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    mask = np.full((SIDE, SIDE), 255, np.uint8)
    mask[:10] = 0
    output = random.random((3, SIDE, SIDE), np.float32)
    found = upsample_edit(small, mask, fit(small, mask, (SIDE, SIDE), True), output)
    expected = np.where(mask[..., None] > 0, np.floor(output.transpose(1, 2, 0) * 255 + 0.5), small)
    assert np.abs(found - expected).max() <= 1


def laplacian(picture):
    grey = picture.astype(float).mean(-1)
    return 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]


@pytest.mark.parametrize(("height", "width"), [(25, 25), (50, 50), (63, 64), (64, 63), (48, 64), (65, 65), (75, 75)])
def test_a_picture_of_about_the_engines_size_keeps_its_finest_detail(height, width):
    random = np.random.default_rng(0)
    small = np.clip(np.array((170, 150, 130)) + random.normal(0, 25, (height, width, 1)), 0, 255).astype(np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 255
    found, _ = carried(small, mask, lambda x: x * np.float32(0.8) + np.float32(0.05))
    inside = np.s_[height // 4 + 1 : 3 * height // 4 - 3, width // 4 + 1 : 3 * width // 4 - 3]
    before, after = laplacian(small)[inside], laplacian(found)[inside]
    assert 0.72 < (before * after).sum() / (before**2).sum() < 0.88  # the change itself takes a fifth
    expected = small.astype(float) * 0.8 + 0.05 * 255
    assert np.abs(found - expected)[mask == 255].mean() < 2


def test_a_foreground_of_one_pixel_works(picture):
    mask = np.zeros((400, 600), np.uint8)
    mask[123, 321] = 255
    found, target = carried(picture, mask, lambda x: x * np.float32(0.5))
    assert np.abs(found[123, 321] - target[123, 321]).max() < 20
    np.testing.assert_array_equal(found[mask == 0], picture[mask == 0])
