"""What a user can get wrong: one sentence, exit code 2, and nothing left behind."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

OUT = ("-o", "out.png")


@pytest.fixture
def refused(place, bundle, run, names):
    """Run `harmonize` on something bad; its one sentence. Nothing may appear or change."""

    def command(*arguments, code=2):
        before = {name: os.stat(name).st_mtime_ns for name in names()}
        done = run("harmonize", *arguments, "--bundle", bundle)
        assert done.code == code
        assert done.out == ""
        assert before == {name: os.stat(name).st_mtime_ns for name in names()}
        return done.error

    return command


def test_a_mask_of_another_size(refused):
    Image.new("L", (10, 10)).save("small.png")
    sentence = refused("composite.png", "small.png", *OUT)
    assert "10x10" in sentence
    assert "64x48" in sentence
    assert "--fit-mask" in sentence


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "is empty"), (b"hello", "not a picture"), (None, "damaged or cut short")]
)
@pytest.mark.parametrize("which", [0, 1])
def test_files_that_are_no_pictures(refused, place, content, words, which):
    whole = (place / "composite.png").read_bytes()
    (place / "bad.png").write_bytes(whole[: len(whole) // 2] if content is None else content)
    pair = ["composite.png", "mask.png"]
    pair[which] = "bad.png"
    sentence = refused(*pair, *OUT)
    assert "bad.png" in sentence
    assert words in sentence


def test_libraries_that_print_remarks_of_their_own_are_not_heard(place, bundle):
    """libtiff writes about damage to the process's stderr, past Python."""
    Image.open("composite.png").save("bad.tif", compression="tiff_lzw")
    data = bytearray((place / "bad.tif").read_bytes())
    data[400:4000] = bytes(3600)
    (place / "bad.tif").write_bytes(data)
    command = [sys.executable, "-m", "harmonyrt.cli", "harmonize", "bad.tif", "mask.png", *OUT, "-b", str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=place)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "bad.tif is damaged" in done.stderr


@pytest.mark.parametrize("pair", [("nowhere.png", "mask.png"), ("composite.png", "nowhere.png")])
def test_missing_files(refused, pair):
    assert "nowhere.png does not exist" in refused(*pair, *OUT)


def test_an_absurdly_large_picture(refused):
    assert "--max-megapixels" in refused("composite.png", "mask.png", *OUT, "--max-megapixels", "0.001")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("out.xyz", "suffix .xyz"),
        ("out", "no suffix"),
        ("nowhere/out.png", "the folder nowhere does not exist"),
        ("composite.png", "is the input"),
        ("mask.png", "is the input"),
        (".", "no suffix"),
    ],
)
def test_outputs_that_cannot_be(refused, output, words):
    assert words in refused("composite.png", "mask.png", "-o", output)


def test_a_read_only_folder(refused, place, monkeypatch):
    (place / "locked").mkdir()
    allowed = os.access  # root, who may run these tests, is denied nothing
    monkeypatch.setattr(os, "access", lambda path, mode: "locked" not in str(path) and allowed(path, mode))
    assert "read-only" in refused("composite.png", "mask.png", "-o", "locked/out.png")


def test_transparency_in_a_format_without(refused):
    Image.open("composite.png").convert("RGBA").resize((64, 48)).save("rgba.png")
    layers = np.asarray(Image.open("rgba.png")).copy()
    layers[..., 3] = 100
    Image.fromarray(layers).save("rgba.png")
    assert "no transparency" in refused("rgba.png", "mask.png", "-o", "out.jpg")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("composite.png", *OUT), "no mask was given"),
        (("composite.png", "mask.png"), "no output was given"),
        (("composite.png", "-", *OUT), "only the composite may be -"),
        (("composite.png", "mask.png", "--alpha-mask", *OUT), "give one mask"),
        (("composite.png", "--alpha-mask", *OUT), "no alpha channel"),
        (("composite.png", "mask.png", "-o", "-", "--json"), "cannot both go to stdout"),
        (("composite.png", ".", *OUT), "give two pictures or two folders"),
        ((".", "mask.png", "-o", "out"), "give a folder of masks"),
        ((".", ".", "-o", "."), "is an input folder"),
        ((".", ".", "-o", "mask.png"), "is a file"),
        (("composite.png", "mask.png", *OUT, "--threads", "0"), "see harmonyrt harmonize --help"),
        (("composite.png", "mask.png", *OUT, "--colour"), "see harmonyrt harmonize --help"),
        (("composite.png", "mask.png", *OUT, "--backend", "abacus"), "abacus"),
        (("composite.png", "mask.png", *OUT, "--device", "abacus"), "abacus"),
        (("composite.png", "mask.png", *OUT, "--target", "abacus"), "abacus"),
        (("composite.png", "mask.png", *OUT, "--steps", "5"), "--steps is for diffharmony"),
    ],
)
def test_wrong_usage(refused, arguments, words):
    assert words in refused(*arguments)


def test_folders_without_a_pair(refused, place):
    (place / "empty").mkdir()
    assert "has a mask of the same name" in refused(".", "empty", "-o", "out")


@pytest.mark.parametrize(
    ("number", "words"), [(0, "mask is empty"), (255, "covers the whole picture"), (1, "looks inverted")]
)
def test_masks_that_are_probably_a_mistake_warn_and_work(place, bundle, run, number, words):
    mask = np.full((48, 64), min(number, 1) * 255, np.uint8)
    if number == 1:
        mask[20:30, 20:30] = 0
    Image.fromarray(mask).save("mask.png")
    done = run("harmonize", "composite.png", "mask.png", *OUT, "--bundle", bundle)
    assert done.code == 0
    assert any(line.startswith("warning: ") and words in line for line in done.err.splitlines())
    if number == 0:
        assert (np.asarray(Image.open("out.png")) == np.asarray(Image.open("composite.png"))).all()


def test_one_pixel_works(place, bundle, run):
    Image.new("RGB", (1, 1), (90, 80, 70)).save("pixel.png")
    Image.new("L", (1, 1), 255).save("dot.png")
    done = run("harmonize", "pixel.png", "dot.png", *OUT, "--bundle", bundle)
    assert done.code == 0
    assert Image.open("out.png").size == (1, 1)


def test_no_bundle_at_all(place, run):
    assert "build one with harmonyrt build" in run("harmonize", "composite.png", "mask.png", *OUT).error


@pytest.fixture
def damaged(bundle, place):
    """A copy of the bundle, to be spoiled."""
    return shutil.copytree(bundle, place / "bundle")


def _half_written(folder):
    (folder / "manifest.json").unlink()


def _cut_short(folder):
    data = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(data[: len(data) // 2])


def _altered(folder):
    data = bytearray((folder / "model.onnx").read_bytes())
    data[-1] ^= 1
    (folder / "model.onnx").write_bytes(data)


def _missing(folder):
    (folder / "model.onnx").unlink()


def _manifest(change):
    def spoil(folder):
        data = json.loads((folder / "manifest.json").read_text())
        change(data)
        (folder / "manifest.json").write_text(json.dumps(data))

    return spoil


def _no_json(folder):
    (folder / "manifest.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_half_written, "has no manifest.json"),
        (_cut_short, "its manifest says"),
        (_altered, "was altered"),
        (_missing, "is missing"),
        (_no_json, "not valid JSON"),
        (_manifest(lambda m: m.update(schema=99)), "schema 99"),
        (_manifest(lambda m: m.update(kind="other")), "not the manifest"),
        (_manifest(lambda m: m.update(colour="blue")), "unknown field 'colour'"),
        (_manifest(lambda m: m["engines"][0]["files"][0].update(path="../../etc/passwd")), "outside the bundle"),
    ],
)
@pytest.mark.parametrize("verb", ["harmonize", "info"])
def test_bundles_that_do_not_open(place, damaged, run, names, spoil, words, verb):
    spoil(damaged)
    if verb == "harmonize":
        done = run("harmonize", "composite.png", "mask.png", *OUT, "--bundle", damaged)
    else:
        done = run("info", damaged)
    assert done.code == 2
    assert words in done.error
    assert "out.png" not in names()


def test_a_file_or_nothing_is_no_bundle(place, run):
    assert "does not exist" in run("info", "nowhere").error
    assert "is not a bundle" in run("info", "composite.png").error


def test_checkpoints_that_do_not_load(place, run, names):
    pytest.importorskip("torch")
    (place / "bad.pth").write_bytes(b"no checkpoint")
    before = names()
    for checkpoint in ("bad.pth", "composite.png", "nowhere.pth"):
        done = run("build", "phnet", "--checkpoint", checkpoint, "--sizes", "64", "--output", "built")
        assert done.code == 2
        assert checkpoint in done.err.splitlines()[-1]
        assert "Traceback" not in done.err
    assert names() == before


def test_a_missing_extra_is_named_with_its_command(place, bundle):
    """In a separate process whose imports of torch and openvino fail."""
    blocked = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'openvino'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "from harmonyrt.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    for arguments, extra in (
        (("verify", str(bundle)), "harmonyrt[build]"),
        (("train", ".", "-o", "run", "--steps", "1"), "harmonyrt[train]"),
        (("synthesize", ".", "-o", "dataset"), "harmonyrt[train]"),
        (
            ("harmonize", "composite.png", "mask.png", *OUT, "--bundle", str(bundle), "--backend", "openvino"),
            "harmonyrt[openvino]",
        ),
    ):
        done = subprocess.run([sys.executable, "-c", blocked, *arguments], capture_output=True, text=True, cwd=place)
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert f"pip install '{extra}'" in done.stderr
    assert not (place / "out.png").exists()
