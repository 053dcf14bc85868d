"""The protocol on a hand-made dataset in iHarmony4's layout."""

import numpy as np
import pytest
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.evaluation.iharmony4 import read_split
from harmonyrt.evaluation.protocol import evaluate


class Doubles:
    """A harmonizer that knows the answer for half of the pictures and spoils the others."""

    def harmonize(self, composite, mask):
        inside = mask[..., None] > 0
        right = composite[0, 0, 0] == 100  # the marker in the corner, outside the mask
        return np.where(inside, np.uint8(150 if right else 0), composite)


@pytest.fixture
def dataset(tmp_path):
    for folder in ("composite_images", "masks", "real_images"):
        (tmp_path / folder).mkdir()
    names = []
    for i, corner in enumerate((100, 101)):
        real = np.full((40, 40, 3), 150, np.uint8)
        real[:10] = corner
        mask = np.zeros((40, 40), np.uint8)
        mask[20:30, 20:30] = 255
        composite = np.where(mask[..., None] > 0, np.uint8(140), real)
        Image.fromarray(real).save(tmp_path / "real_images" / f"a{i}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"a{i}_1.png")
        Image.fromarray(composite).save(tmp_path / "composite_images" / f"a{i}_1_1.png")
        names.append(f"a{i}_1_1.jpg")  # the lists of datasets that were converted keep the old suffix
    (tmp_path / "Tiny_test.txt").write_text("\n".join(names) + "\n")
    return tmp_path


def test_report_counts_gain_bins_and_pictures_made_worse(dataset):
    report = evaluate(Doubles(), read_split(dataset), size=None)
    assert report.composite["fmse"] == pytest.approx(100)
    assert report.harmonized["fmse"] == pytest.approx((0 + 150**2) / 2)
    assert report.worse == 0.5
    assert report.by_ratio["5-15%"]["pictures"] == 2
    assert report.by_ratio["0-5%"]["pictures"] == 0
    assert report.fmse_ratio == pytest.approx(112.5)


def test_subsets_are_joined(dataset, tmp_path_factory):
    root = tmp_path_factory.mktemp("all")
    (root / "one").symlink_to(dataset)
    (root / "two").symlink_to(dataset)
    assert len(read_split(root)) == 4


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: (d / "masks" / "a0_1.png").unlink(), "a0_1"),
        (lambda d: (d / "Tiny_test.txt").unlink(), "test.txt"),
        (lambda d: (d / "Tiny_test.txt").write_text("odd.jpg\n"), "NAME_MASK_VARIANT"),
        (lambda d: (d / "Tiny_test.txt").write_text(""), "no composites"),
        (lambda d: (d / "composite_images").rename(d / "other"), "composite_images"),
    ],
)
def test_incomplete_datasets_are_named(spoil, said, dataset):
    spoil(dataset)
    with pytest.raises(HarmonyError, match=said):
        read_split(dataset)


def test_unreadable_picture_is_named(dataset):
    (dataset / "real_images" / "a1.png").write_bytes(b"no picture")
    with pytest.raises(HarmonyError, match=r"a1\.png"):
        evaluate(Doubles(), read_split(dataset), size=32)


def test_a_list_above_the_subsets_names_their_pictures(dataset, tmp_path_factory):
    root = tmp_path_factory.mktemp("all")
    (root / "one").symlink_to(dataset)
    (root / "two").symlink_to(dataset)
    (dataset / "Tiny_test.txt").rename(root / "IHD_test.txt")
    (root / "IHD_test.txt").write_text("one/composite_images/a0_1_1.jpg\ntwo/composite_images/a1_1_1.jpg\n")
    assert [(pair.subset, pair.name) for pair in read_split(root)] == [("one", "a0_1_1"), ("two", "a1_1_1")]
    with pytest.raises(HarmonyError, match=r"has no list \*val\.txt"):
        read_split(root, "val")
