"""`harmonize` with its controls, layers and LUTs; `compose`, and both in one command."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def pixels(path):
    return np.asarray(Image.open(path))


@pytest.fixture
def command(place, bundle, run):
    """Harmonize `place`'s pair into out.png, with more options."""
    return lambda *more: run("harmonize", "composite.png", "mask.png", "-o", "out.png", "--bundle", bundle, *more)


@pytest.fixture
def pasted(place):
    """A cut-out and a background next to `place`'s pictures."""
    colours = np.full((20, 24, 4), (200, 80, 60, 255), np.uint8)
    colours[:3, :, 3] = 0
    Image.fromarray(colours).save("cutout.png")
    Image.fromarray(np.random.default_rng(2).integers(60, 200, (48, 64, 3), dtype=np.uint8)).save("background.png")
    return place


def test_strength_goes_from_nothing_to_more(command):
    before = pixels("composite.png")
    assert command("--strength", 0).code == 0
    assert (pixels("out.png") == before).all()
    command()
    whole = pixels("out.png").astype(int)
    command("--strength", 0.5)
    half = pixels("out.png")
    assert np.abs(half - (before + whole) / 2).max() <= 1
    assert (half != whole).any()


@pytest.mark.parametrize("value", ["-0.1", "1.6", "nan", "inf"])
def test_a_strength_that_cannot_be_ends_with_2(command, names, value):
    before = names()
    done = command("--strength", value)
    assert done.code == 2
    assert "the strength is" in done.error
    assert names() == before


def test_keep_takes_two_words(command):
    assert command("--keep", "luminance").code == 0
    assert np.abs(pixels("out.png").astype(int) - pixels("composite.png")).max() <= 1  # it only darkens
    assert command("--keep", "hue").code == 0
    done = command("--keep", "colour")
    assert done.code == 2
    assert "luminance" in done.error


def test_match_takes_a_mask(command, place):
    Image.new("L", (64, 48)).save("none.png")
    done = command("--match", "none.png")
    assert done.code == 2
    assert "match mask is empty" in done.error
    done = command("--match", "mask.png")
    assert done.code == 2
    assert "covers no visible background" in done.error
    Image.fromarray(255 - pixels("mask.png")).save("rest.png")
    assert command("--match", "rest.png").code == 0
    Image.new("L", (9, 9), 255).save("other.png")
    assert command("--match", "other.png").code == 2
    assert command("--match", "missing.png").code == 2


def test_layer_and_lut_are_written_and_told(command):
    done = command("--layer", "layer.png", "--lut", "change.cube", "--json")
    told = json.loads(done.out)["results"][0]["extras"]
    assert told["layer"] == {"output": "layer.png", "beyond": 0}
    assert told["lut"]["residual_mean"] < 1
    assert "change.cube: residual of the LUT in levels of 255: mean" in done.err
    layer = pixels("layer.png")
    assert (layer[..., 3] == pixels("mask.png")).all()
    assert (layer[10:30, 20:50, :3] == pixels("out.png")[10:30, 20:50]).all()
    assert "LUT_3D_SIZE 33" in Path("change.cube").read_text()
    assert command("--layer", "layer.png").out.split() == ["layer.png", "out.png"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--layer", "layer.jpg"), "JPEG has no transparency for a layer"),
        (("--layer", "no/layer.png"), "the folder no does not exist"),
        (("--layer", "out.png"), "out.png is already an input or output of this command"),
        (("--lut", "composite.png"), "does not end in .cube"),
        (("--lut", "no/change.cube"), "the folder no does not exist"),
        (("--at", "1,2"), "name the background with --background"),
        (("--background", "mask.png"), "the cut-out's own alpha is the mask"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_work(command, names, options, sentence):
    before = names()
    done = command(*options)
    assert done.code == 2
    assert sentence in done.error
    assert names() == before


def test_existing_layers_are_refused(command):
    Path("layer.png").touch()
    assert command("--layer", "layer.png", "--existing", "refuse").code == 2


def test_folders_have_no_layers(folders, bundle, run):
    common = ("harmonize", "composites", "masks", "-o", "out", "--bundle", bundle)
    assert "--layer is for single pictures" in run(*common, "--layer", "layer.png").error
    assert run(*common, "--strength", 0).code == 0
    assert (pixels("out/a.png") == pixels("composite.png")).all()


def test_compose_writes_composite_and_mask(pasted, run):
    done = run("compose", "cutout.png", "background.png", "--at", "-4,9", "-o", "c.png", "--mask-out", "m.png")
    assert done.code == 0
    assert done.out.split() == ["c.png", "m.png"]
    composite, mask = pixels("c.png"), pixels("m.png")
    assert mask.shape == (48, 64)
    assert set(np.unique(mask)) == {0, 255}
    assert (mask[12:29, :20] == 255).all()
    assert mask.sum() == 255 * 17 * 20
    assert (composite[mask == 0] == pixels("background.png")[mask == 0]).all()
    assert (composite[mask == 255] == (200, 80, 60)).all()


def test_one_command_does_both(pasted, bundle, run):
    run("compose", "cutout.png", "background.png", "--at", "5,6", "--scale", 1.5, "-o", "c.png", "--mask-out", "m.png")
    run("harmonize", "c.png", "m.png", "-o", "two.png", "--bundle", bundle)
    pasting = ("--background", "background.png", "--at", "5,6", "--scale", 1.5)
    done = run("harmonize", "cutout.png", *pasting, "-o", "one.png", "--bundle", bundle)
    assert done.code == 0, done.err
    assert (pixels("one.png") == pixels("two.png")).all()
    assert (pixels("one.png") != pixels("c.png")).any()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("cutout.png", "background.png", "--at", "7"), "give two whole numbers of pixels"),
        (("cutout.png", "background.png", "--at", "1.5,2"), "give two whole numbers of pixels"),
        (("cutout.png", "background.png", "--at", "64,0"), "lies outside the background of 64x48"),
        (("cutout.png", "background.png", "--scale", "0"), "the scale is 0"),
        (("background.png", "cutout.png"), "the cut-out has no alpha channel"),
        (("cutout.png", "missing.png"), "missing.png"),
        (("cutout.png", "background.png", "--mask-out", "c.png"), "both name c.png"),
        (("cutout.png", "background.png", "--mask-out", "background.png"), "is the input background.png"),
    ],
)
def test_compose_says_what_is_wrong_in_one_sentence(pasted, run, names, options, sentence):
    before = names()
    done = run("compose", *options, "-o", "c.png")
    assert done.code == 2
    assert sentence in done.error
    assert names() == before
