"""A folder run accounts for every entry of both folders."""

import os
import shutil
import sys
import unicodedata

import numpy as np
import pytest
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images.pairs import paired


@pytest.fixture
def two(tmp_path, monkeypatch):
    """Make in/ and masks/ with empty files of these names; `two(["a.png"], ["a.png"])` pairs them."""
    monkeypatch.chdir(tmp_path)

    def made(composites, masks):
        for folder, names in (("in", composites), ("masks", masks)):
            (tmp_path / folder).mkdir()
            for name in names:
                (tmp_path / folder / name).touch()
        return lambda: paired(tmp_path.__class__("in"), tmp_path.__class__("masks"))

    return made


def partners(pairing):
    return {pair.composite.name: pair.mask.name for pair in pairing.pairs}


def test_every_suffix_of_a_picture_is_paired_and_every_file_that_has_a_mask(two):
    names = ["a.png", "b.jfif", "c.JPE", "d.pnm", "e.heic", "f", "v1.2", "x_3.webp"]
    found = two(names, ["a.tif", "b.png", "c.png", "d.png", "e.png", "f.png", "v1.2.png", "x.jp2"])()
    assert sorted(partners(found)) == sorted(names)
    assert not found.failed
    assert not found.remarks()


def test_files_of_another_kind_are_named_and_take_no_mask_from_a_picture(two):
    found = two(["a.png", "a.xmp", "notes.txt"], ["a.png", "a.json", "b"])()
    assert partners(found) == {"a.png": "a.png"}
    remarks = "\n".join(found.remarks())
    assert all(name in remarks for name in ("in/a.xmp", "in/notes.txt", "masks/a.json", "masks/b"))
    assert not found.failed


def test_folders_and_hidden_files_are_named(two):
    found = two(["a.png", ".DS_Store"], ["a.png", "._a.png"])
    os.makedirs("in/more")
    remarks = "\n".join(found().remarks())
    assert all(name in remarks for name in ("in/more", ".DS_Store", "._a.png"))


@pytest.mark.skipif(sys.platform == "win32", reason="no such links and pipes on Windows")
def test_links_that_lead_nowhere_and_pipes_fail_by_name(two):
    pairing = two(["a.png"], ["a.png", "b.png", "c.png", "e.png"])
    os.symlink("away/b.png", "in/b.png")
    os.mkfifo("in/c.png")
    os.symlink("e.png", "in/e.png")  # to itself
    shutil.copy("in/a.png", "in/d.png")
    os.symlink("away/d.png", "masks/d.png")
    found = pairing()
    assert partners(found) == {"a.png": "a.png"}
    said = {path.name: sentence for path, sentence in found.failed}
    assert sorted(said) == ["b.png", "c.png", "d.png", "e.png"]
    assert "away/b.png, which does not exist" in said["b.png"]
    assert "pipe" in said["c.png"]
    assert "masks/d.png is a link to away/d.png" in said["d.png"]


def test_accents_pair_however_they_are_composed(two):
    one, other = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    assert partners(two([f"{one}.png"], [f"{other}.png"])()) == {f"{one}.png": f"{other}.png"}


def test_a_name_that_is_there_in_both_forms_takes_its_own_mask(two):
    names = [unicodedata.normalize(form, "é") + ".png" for form in ("NFC", "NFD")]
    found = two(names, names)()
    if len(found.pairs) == 2:  # not on a file system that knows one of them only
        assert partners(found) == dict(zip(names, names, strict=True))


def test_no_pair_at_all_and_two_masks_of_a_name_are_refused(two):
    pairing = two(["a.png", "notes.txt"], ["b.png", "b.jpg"])
    with pytest.raises(HarmonyError, match="would both be the mask b"):
        pairing()
    os.remove("masks/b.jpg")
    with pytest.raises(HarmonyError, match="name them alike"):
        pairing()


@pytest.mark.parametrize("error", [ZeroDivisionError("by a bug"), MemoryError(), RecursionError()])
def test_no_exception_of_one_pair_stops_the_others(folders, bundle, run, monkeypatch, error):
    from harmonyrt.cli import harmonizing_folders

    works = harmonizing_folders.read_inputs

    def fails_for_b(options, composite, mask):
        if composite.endswith("b.png"):
            raise error
        return works(options, composite, mask)

    monkeypatch.setattr(harmonizing_folders, "read_inputs", fails_for_b)
    done = run("harmonize", "composites", "masks", "-o", "out", "--bundle", bundle)
    assert done.code == 1
    assert done.out.split() == ["out/a.png", "out/c.png"]
    assert any(line.startswith("error: composites/b.png") for line in done.err.splitlines())
    assert "2 harmonized, 1 failed" in done.err


def test_every_composite_gets_an_output_of_its_own(folders, bundle, run):
    picture = Image.open("composites/a.png")
    shutil.rmtree("composites")
    os.mkdir("composites")
    for name in ("a.bmp", "a.gif", "a.gif.png", "a.jpg", "a.png"):
        picture.save(f"composites/{name}")
    shutil.copy("composites/a.png", "composites/b")
    shutil.copy("masks/a.png", "masks/a.gif.png")
    done = run("harmonize", "composites", "masks", "-o", "out", "--bundle", bundle)
    assert done.code == 0, done.err
    written = ["a.bmp", "a.gif.png", "a.gif.png.png", "a.jpg", "a.png", "b.png"]
    assert sorted(os.path.basename(line) for line in done.out.splitlines()) == sorted(os.listdir("out"))
    assert len(os.listdir("out")) == 6
    assert {"a.bmp", "a.gif.png", "a.jpg", "a.png", "b.png"} < set(os.listdir("out")), written


def test_a_folder_says_what_it_left_out_in_json_too(folders, bundle, run):
    import json

    (folders / "composites" / "notes.txt").write_text("later")
    (folders / "composites" / "lonely.png").symlink_to("nowhere.png")
    done = run("harmonize", "composites", "masks", "-o", "out", "--bundle", bundle, "--json")
    report = json.loads(done.out)
    assert done.code == 2
    assert report["failed"][0]["composite"] == "composites/lonely.png"
    assert "notes.txt" in report["passed_over"][0]
    assert np.asarray(Image.open("out/a.png")).shape == (48, 64, 3)
