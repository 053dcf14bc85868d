"""Pictures on disk and their splits."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.training.pictures import Album, find_pictures, passed_over

SPLITS = Path(__file__).parents[2] / "training" / "splits"


def test_photos_without_masks_are_for_training_only(small_data):
    pictures = find_pictures(small_data)
    assert len(pictures) == 46
    assert {p.split for p in pictures if p.mask is None} == {"train"}
    assert Counter(p.split for p in pictures if p.mask is not None).keys() == {"train", "val", "test"}


def test_the_split_stays_when_the_folder_moves_or_grows(small_data, tmp_path):
    shutil.copytree(small_data, tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "elsewhere" / "photos")
    before = {p.name: p.split for p in find_pictures(small_data)}
    for picture in find_pictures(tmp_path / "elsewhere"):
        assert before[picture.name] == picture.split


def test_near_duplicates_share_a_split_and_grey_pictures_are_left_out(small_data, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(small_data, root)
    names = {split: [p.name for p in find_pictures(root) if p.split == split and p.mask] for split in ("train", "test")}
    photo = next(p.name for p in find_pictures(root) if p.mask is None)
    (root / "near_duplicates.txt").write_text(
        f"{names['train'][0]}\t{names['test'][0]}\n{photo}\t{names['test'][1]}\nabsent/a.jpg\tabsent/b.jpg\n"
    )
    (root / "low_chroma.txt").write_text(f"{names['train'][1]}\t3.5\nabsent/c.jpg\t2.0\n")
    found = {p.name: p.split for p in find_pictures(root)}
    assert found[names["train"][0]] == found[names["test"][0]]
    assert found[photo] == found[names["test"][1]]
    assert names["train"][1] not in found


def test_files_that_are_not_used_are_told(small_data, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(small_data, root)
    assert passed_over(root) == []
    (root / "photos" / "plain" / "new.webp").touch()
    (root / "things" / "masks" / "thing_00.webp").touch()
    (root / "things" / "images" / "away.png").symlink_to("nowhere.png")
    (root / "notes.txt").touch()
    (root / ".hidden").touch()
    assert passed_over(root) == ["photos/plain/new.webp", "things/masks/thing_00.webp"]


def test_a_folder_without_pictures_is_named(tmp_path):
    with pytest.raises(HarmonyError, match=r"holds no \.jpg or \.png"):
        find_pictures(tmp_path)
    with pytest.raises(HarmonyError, match="is not a folder"):
        find_pictures(tmp_path / "absent")


def test_a_truncated_picture_is_named(small_data, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(small_data, root)
    victim = find_pictures(root)[0]
    victim.image.write_bytes(victim.image.read_bytes()[:200])
    with pytest.raises(HarmonyError, match=victim.image.name):
        Album([victim]).load()


def test_a_crop_shows_the_asked_part(small_data):
    album = Album([p for p in find_pictures(small_data) if p.mask][:1])
    whole = np.asarray(album.crop(0, (0, 0, 1, 1), 64), float)
    half = np.asarray(album.crop(0, (0, 0, 0.5, 1), 64), float)
    assert whole.shape == half.shape == (64, 64, 3)
    assert abs(whole[:, :32].mean() - half.mean()) < 3
    assert np.asarray(album.crop(0, (0, 0, 1, 1), 32, mask=True)).shape == (32, 32)


def test_the_committed_split_holds(tmp_path):
    """The weights' figures are of these pictures: a changed rule would let them into training.

    Names alone decide where no picture resembles another, and none of these does; so empty files show it.
    """
    listed = {split: (SPLITS / f"{split}.txt").read_text().splitlines() for split in ("val", "test")}
    for name in (*listed["val"], *listed["test"]):
        mask = tmp_path / name.replace("/images/", "/masks/")
        for path in (tmp_path / name, mask.with_suffix(".png")):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    pictures = find_pictures(tmp_path)
    assert {p.split for p in pictures} == {"val", "test"}
    for split, names in listed.items():
        assert [p.name for p in pictures if p.split == split] == names
    assert len(listed["test"]) >= 120
    assert sum(p.source != "ccp" for p in pictures if p.split == "test") >= 40


def test_nothing_is_decoded_again_after_loading(small_data, monkeypatch):
    """Worker processes share what was loaded before they were forked."""
    album = Album(find_pictures(small_data))
    album.load()
    monkeypatch.setattr(Image, "open", lambda path: pytest.fail(f"{path} was read again"))
    for index in range(len(album)):
        album.size(index)
        album.crop(index, (0, 0, 1, 1), 16)
        for which in range(album.masks(index)):
            album.crop(index, (0, 0, 1, 1), 16, mask=True, which=which)
