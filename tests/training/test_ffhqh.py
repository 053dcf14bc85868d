"""FFHQH as the paper makes it: its augmentation, its masks, its split."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from harmonyrt.common import HarmonyError
from harmonyrt.training import ffhqh
from harmonyrt.training.dataset_statistics import main, statistics
from harmonyrt.training.ffhqh import augmented, checked_matte, composite_of, mask_source, split_of
from harmonyrt.training.synthesize import SynthesisConfig, synthesize


class Drawn:
    """A generator that gives what the test says."""

    def __init__(self, uniform, order=(0, 1, 2, 3), chances=(1, 1, 1)):
        self.uniforms, self.order, self.chances = list(uniform), order, list(chances)
        self.ranges: list[tuple[float, float]] = []

    def uniform(self, low, high):
        self.ranges.append((low, high))
        return self.uniforms.pop(0)

    def permutation(self, count):
        assert count == len(self.order)
        return self.order

    def random(self):
        return self.chances.pop(0)


@pytest.fixture(scope="module")
def photo():
    pixels = np.random.default_rng(0).integers(20, 230, (24, 32, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def test_the_ranges_are_the_papers(photo):
    rng = Drawn((1, 1, 1, 0))
    assert np.array_equal(augmented(photo, rng), photo.convert("HSV").convert("RGB"))
    assert rng.ranges == [(0.5, 1.5), (0.6, 1.4), pytest.approx((0.94, 1.06)), (-0.05, 0.05)]


def test_every_step_is_pillows_in_the_printed_order(photo):
    got = augmented(photo, Drawn((1.4, 0.7, 1.05, 0.0), (1, 0, 2, 3), (0.4, 0.4, 0.4)))
    want = ImageEnhance.Contrast(photo).enhance(0.7)  # the jitter's drawn order
    want = ImageEnhance.Brightness(want).enhance(1.4)
    want = ImageEnhance.Color(want).enhance(1.05).convert("HSV").convert("RGB")
    want = ImageOps.autocontrast(ImageEnhance.Sharpness(ImageOps.posterize(want, 6)).enhance(4.0))
    assert np.array_equal(got, want)


def test_chances_are_one_half(photo):
    plain = augmented(photo, Drawn((1.2, 1, 1, 0), chances=(0.5, 0.5, 0.5)))
    assert np.array_equal(plain, ImageEnhance.Brightness(photo).enhance(1.2).convert("HSV").convert("RGB"))
    posterized = np.asarray(augmented(photo, Drawn((1.2, 1, 1, 0), chances=(0.49, 0.5, 0.5))))
    assert not (posterized % 4).any()


def test_hue_turns_about_the_circle():
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    assert np.asarray(ffhqh.turned(red, 1 / 3))[0, 0].argmax() == 1
    assert np.asarray(ffhqh.turned(red, -1 / 3))[0, 0].argmax() == 2


def test_the_object_is_augmented_alone_and_blended_by_the_matte(photo):
    pixels = np.asarray(photo)
    matte = np.zeros((24, 32), np.uint8)
    matte[6:18, 8:24] = 255
    matte[6:18, 8] = 128
    composite = composite_of(pixels, matte, Drawn((0.5, 1, 1, 0), chances=(1, 1, 1)))
    assert np.array_equal(composite[matte == 0], pixels[matte == 0])
    inside = matte == 255
    assert np.abs(composite[inside].astype(int) - pixels[inside] / 2).max() <= 4  # HSV rounds
    edge = matte == 128
    assert np.abs(composite[edge].astype(int) - pixels[edge] * 0.75).max() <= 4
    # Contrast turns about the mean of the object on black, not of the photo.
    flat = composite_of(pixels, matte, Drawn((1, 0.6, 1, 0), chances=(1, 1, 1)))
    cut_out = Image.fromarray(np.where(matte[..., None] > 0, pixels, 0).astype(np.uint8))
    want = ImageEnhance.Contrast(cut_out).enhance(0.6)
    assert np.abs(flat[inside].astype(int) - np.asarray(want)[inside]).max() <= 4


def test_nothing_limits_the_change(photo):
    """Our own plan scales a change of more than its largest fMSE back."""
    pixels, matte = np.full((8, 8, 3), 220, np.uint8), np.full((8, 8), 255, np.uint8)
    composite = composite_of(pixels, matte, Drawn((0.5, 1, 1, 0), chances=(1, 1, 1)))
    assert ((composite.astype(float) - pixels) ** 2).mean() > 10_000


def test_the_split_has_the_papers_shares():
    splits = [split_of(f"{n:05d}.png") for n in range(7000)]
    assert splits.count("train") / 7000 == pytest.approx(6 / 7, abs=0.02)
    assert splits.count("val") / 7000 == pytest.approx(1 / 14, abs=0.02)


@pytest.fixture
def portraits(small_data, tmp_path):
    """Photos without masks, and soft mattes of them elsewhere."""
    data, mattes = tmp_path / "ffhq", tmp_path / "mattes"
    (data / "00000").mkdir(parents=True)
    mattes.mkdir()
    for path in sorted((small_data / "things" / "images").iterdir())[:8]:
        with Image.open(path) as photo, Image.open(small_data / "things" / "masks" / path.name) as mask:
            photo.save(data / "00000" / path.name)
            mask.point(lambda value: value * 4 // 5).save(mattes / path.name)
    return data, mattes


def test_a_folder_of_mattes_makes_the_dataset(portraits, tmp_path):
    data, mattes = portraits
    result = synthesize(SynthesisConfig(data, tmp_path / "out", 1, preset="ffhqh", mattes=str(mattes)))
    assert sum(result.composites.values()) == 8
    names = sorted(path.name for path in (data / "00000").iterdir())
    for split in ("train", "val", "test"):
        want = sum(split_of(f"00000/{name}") == split for name in names)
        assert result.composites[split] == want
    mask = np.asarray(Image.open(tmp_path / "out" / "masks" / "thing-00_1.png"))
    assert set(np.unique(mask)) == {0, 204}  # soft, as the matting step gave it


def test_a_function_is_a_mask_source(portraits, tmp_path, monkeypatch):
    data, _ = portraits
    (tmp_path / "my_matting.py").write_text("def upper(path, photo):\n    return (photo[..., 0] * 0.0) + 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    synthesize(SynthesisConfig(data, tmp_path / "out", 1, preset="ffhqh", mattes="my_matting:upper"))
    assert np.asarray(Image.open(tmp_path / "out" / "masks" / "thing-00_1.png")).min() == 255
    sys.modules.pop("my_matting", None)


def test_photos_without_masks_are_named(portraits, tmp_path):
    data, mattes = portraits
    with pytest.raises(HarmonyError, match=r"8 photos have no masks.*--mattes"):
        synthesize(SynthesisConfig(data, tmp_path / "out", 1, preset="ffhqh"))
    (mattes / "thing_03.png").write_bytes(b"no picture")
    with pytest.raises(HarmonyError, match=r"thing_03.png is not a picture of a known format"):
        synthesize(SynthesisConfig(data, tmp_path / "out", 1, preset="ffhqh", mattes=str(mattes)))


@pytest.mark.parametrize(
    ("text", "words"),
    [("nowhere", "not a folder"), ("no.such:matting", "cannot be imported"), ("json:decoder", "not a function")],
)
def test_a_mask_source_that_is_none_is_named(text, words):
    with pytest.raises(HarmonyError, match=words):
        mask_source(text)


def test_a_matte_is_one_value_for_each_pixel(photo, tmp_path):
    pixels = np.asarray(photo)
    assert checked_matte(np.ones((24, 32, 1), np.float32), pixels, tmp_path).min() == 255
    assert checked_matte(np.ones((24, 32), bool), pixels, tmp_path).min() == 255
    for wrong in (np.ones((32, 24)), np.full((24, 32), 2.0), np.full((24, 32), np.nan), np.ones((24, 32), np.int32)):
        with pytest.raises(HarmonyError, match="the matte of"):
            checked_matte(wrong, pixels, tmp_path)


def test_statistics_are_those_of_figure_1(tmp_path, capsys):
    for name in ("images", "masks"):
        (tmp_path / "set" / name).mkdir(parents=True)
    for n, side in enumerate((1, 3, 8)):  # of 8 x 8: 1.6 %, 14 % and all of it
        mask = np.zeros((8, 8), np.uint8)
        mask[:side, :side] = 255
        Image.fromarray(mask).save(tmp_path / "set" / "masks" / f"{n}.png")
        Image.new("RGB", (8, 8), (200, 100, 50)).save(tmp_path / "set" / "images" / f"{n}.png")
    found = statistics(tmp_path)
    assert found["pictures"] == 3
    assert found["foreground_ratio"]["mean"] == pytest.approx((1 + 9 + 64) / 64 / 3, abs=1e-4)
    third = pytest.approx(1 / 3, abs=1e-4)
    assert found["foreground_ratio"]["bins"] == {"0-5%": third, "5-15%": third, "15-100%": third}
    assert sum(found["foreground_ratio"]["histogram"]) == 3
    assert found["brightness"]["mean"] == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert found["brightness"]["deviation"] == 0
    assert found["channels"]["mean"] == pytest.approx([200 / 255, 100 / 255, 50 / 255], abs=1e-4)
    assert main([str(tmp_path), "--plot", str(tmp_path / "figure.svg")]) == 0
    assert json.loads(capsys.readouterr().out) == found
    assert (tmp_path / "figure.svg").read_text().startswith("<?xml")
    assert main([str(tmp_path / "set" / "masks")]) == 2


def test_statistics_of_pairs(portraits, tmp_path):
    data, mattes = portraits
    synthesize(SynthesisConfig(data, tmp_path / "out", 1, preset="ffhqh", mattes=str(mattes)))
    for name in ("val", "test"):  # so few portraits may all be in one split
        (tmp_path / "out" / f"{name}.txt").write_text((tmp_path / "out" / "train.txt").read_text())
    assert statistics(tmp_path / "out", "val")["pictures"] == statistics(tmp_path / "out", "train")["pictures"] > 0
