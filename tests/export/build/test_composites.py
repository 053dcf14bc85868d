"""The shipped pictures make the same composites everywhere, and are credited."""

import csv

import numpy as np
import pytest

from harmonyrt.export.build.composites import (
    PICTURES,
    composites,
    extreme_composites,
    gate_composites,
    most_composites,
)


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_composites_fit_the_engine(size):
    for composite in composites(size, 14):
        assert composite.image.shape == (1, 3, *size)
        assert composite.mask.shape == (1, 1, *size)
        assert composite.image.dtype == composite.mask.dtype == np.float32
        assert 0 <= composite.image.min() <= composite.image.max() <= 1
        assert 0 < composite.mask.mean() < 1


def test_masks_are_binary_but_for_some_that_are_soft():
    soft = [not np.isin(c.mask, (0, 1)).all() for c in composites((64, 64), 14)]
    assert sum(soft) == 2


def test_they_are_the_same_each_time_and_all_different():
    first, second = (list(composites((32, 32), most_composites())) for _ in range(2))
    assert [c.name for c in first] == [c.name for c in second]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))
    assert len({c.image.tobytes() for c in first}) == len(first) == most_composites()


def test_extremes_are_one_pixel_none_and_all():
    assert [c.mask.sum() for c in extreme_composites((64, 64))] == [1, 1, 0, 64 * 64]
    assert all(c.extreme for c in extreme_composites((64, 64)))


def test_large_engines_are_gated_on_fewer_composites():
    assert sum(not c.extreme for c in gate_composites((256, 256))) == 12
    large = list(gate_composites((1024, 1024)))
    assert [c.extreme for c in large] == [False, False, True, True]
    assert [c.name for c in large[2:]] == ["one odd pixel", "full mask"]


def test_every_picture_has_a_mask_a_licence_and_a_source():
    with (PICTURES / "CREDITS.csv").open() as file:
        credits = {row["picture"]: row for row in csv.DictReader(file)}
    assert credits.keys() == {path.stem for path in PICTURES.glob("*.jpg")} == {p.stem for p in PICTURES.glob("*.png")}
    assert all(row["licence"].startswith(("CC0", "CC BY 2.0")) and row["page"] for row in credits.values())
    assert sum(path.stat().st_size for path in PICTURES.iterdir()) < 600_000
