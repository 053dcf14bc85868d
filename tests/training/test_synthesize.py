"""Datasets in iHarmony4's layout: written, read back, trained from."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.fleet.local import LocalPool
from harmonyrt.fleet.loop import results
from harmonyrt.training.loading import PairedDataset
from harmonyrt.training.pictures import find_pictures
from harmonyrt.training.synthesize import SynthesisConfig, finished, prepared, synthesize


@pytest.fixture(scope="module")
def dataset(small_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("written") / "dataset"
    seen = []
    result = synthesize(SynthesisConfig(small_data, out, variants=2), lambda done, total: seen.append((done, total)))
    assert seen[-1] == (46, 46)
    return out, result


def test_the_layout_is_iharmony4s(dataset):
    out, result = dataset
    listed = [line for split in ("train", "val", "test") for line in (out / f"{split}.txt").read_text().splitlines()]
    assert len(listed) == sum(result.composites.values()) == 46 * 2
    for line in listed:
        stem = (out / line).stem
        photo, mask, variant = stem.rsplit("_", 2)
        assert (mask, variant in "12") == ("1", True)
        assert (out / line).exists()
        assert (out / "masks" / f"{photo}_1.png").exists()
        assert (out / "real_images" / f"{photo}.jpg").exists()


def test_lists_split_by_picture(dataset, small_data):
    out, result = dataset
    photos = {split: {line.rsplit("_", 2)[0] for line in (out / f"{split}.txt").read_text().splitlines()}
              for split in result.composites}  # fmt: skip
    assert not photos["train"] & photos["test"]
    assert not photos["train"] & photos["val"]
    assert len(photos["test"]) == sum(p.split == "test" for p in find_pictures(small_data))


def test_only_the_foreground_differs(dataset):
    out, _ = dataset
    data = PairedDataset(out, "test")
    for index in range(6):
        composite, mask, real = (np.asarray(Image.open(path), float) for path in data.paths(index))
        difference = np.abs(composite - real).mean(-1)
        assert difference[mask > 127].mean() > 3
        assert difference[mask <= 127].mean() < 2
        assert composite.shape == real.shape


def test_the_same_seed_writes_the_same_files(small_data, dataset, tmp_path):
    out, _ = dataset
    synthesize(SynthesisConfig(small_data, tmp_path / "again", variants=2))
    for path in sorted((out / "composite_images").iterdir())[:10]:
        assert path.read_bytes() == (tmp_path / "again" / "composite_images" / path.name).read_bytes()


def test_batches_are_read_back(dataset):
    out, _ = dataset
    assert PairedDataset.is_one(out)
    composite, mask, real, known, lights = PairedDataset(out).batch(32, 4, [0, 1])
    assert composite.shape == real.shape == (4, 3, 32, 32)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert (known == mask).all()  # the truth is known where the object is
    assert lights.isnan().all()
    assert sum(len(batch.kinds) for batch in PairedDataset(out, "val").fixed(32)) == len(
        PairedDataset(out, "val").names
    )


def test_subsets_are_one_dataset(dataset, tmp_path):
    """iHarmony4's own folder: four subsets, each with its lists."""
    out, _ = dataset
    names = ("HAdobe5k", "HCOCO", "HFlickr", "Hday2night")
    for name in names:
        (tmp_path / name).symlink_to(out)
        assert PairedDataset.is_one(tmp_path)
    whole, part = PairedDataset(tmp_path, "test"), PairedDataset(out, "test")
    assert len(whole) == 4 * len(part)
    assert [path.relative_to(tmp_path).parts[0] for path in whole.paths(len(part))] == ["HCOCO"] * 3
    assert whole.batch(32, 3, [0], [0, 5, len(whole) - 1])[0].shape == (3, 3, 32, 32)
    (tmp_path / "HMore" / "composite_images").mkdir(parents=True)
    with pytest.raises(HarmonyError, match=r"HMore has no list test\.txt"):
        PairedDataset(tmp_path, "test")


def test_photos_can_be_left_out(small_data, tmp_path):
    result = synthesize(SynthesisConfig(small_data, tmp_path / "masked", variants=1, photos=False))
    assert sum(result.composites.values()) == 40


def test_photos_alone_make_a_dataset(small_data, tmp_path):
    (tmp_path / "photos").mkdir()
    for path in sorted((small_data / "photos").rglob("*.*"))[:3]:
        shutil.copy(path, tmp_path / "photos")
    result = synthesize(SynthesisConfig(tmp_path / "photos", tmp_path / "dataset", variants=1))
    assert sum(result.composites.values()) == 3


def test_workers_write_the_files_that_one_process_writes(small_data, tmp_path):
    """As `synthesize --ray` does: in any order, by any number of workers."""
    configs = [SynthesisConfig(small_data, tmp_path / name, variants=2, photos=False) for name in ("one", "many")]
    alone, job = synthesize(configs[0]), prepared(configs[1])
    with LocalPool(job, 2) as pool:
        together = finished(configs[1], results(job, range(len(job.pictures)), pool, len(job.pictures)))
    assert together.composites == alone.composites
    files = [{p.relative_to(c.out): p.read_bytes() for p in c.out.rglob("*") if p.is_file()} for c in configs]
    assert files[0] == files[1]


def test_a_filled_folder_is_not_written_to(small_data, tmp_path):
    (tmp_path / "note").write_text("mine")
    with pytest.raises(HarmonyError, match="is not empty"):
        synthesize(SynthesisConfig(small_data, tmp_path))


def test_a_dataset_without_lists_or_with_a_missing_picture_is_named(dataset, tmp_path):
    (tmp_path / "composite_images").mkdir()
    with pytest.raises(HarmonyError, match="has no list"):
        PairedDataset(tmp_path)
    (tmp_path / "train.txt").write_text("composite_images/a_1_1.jpg\n")
    with pytest.raises(HarmonyError, match="has no real picture a"):
        PairedDataset(tmp_path).batch(32, 1, [0])
