"""`harmonyrt evaluate` on a dataset of one pair."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harmonyrt.cli.evaluate import Peak, ProtocolName, with_seeds_apart
from harmonyrt.evaluation.runs import PEAKS, PROTOCOLS


@pytest.fixture
def dataset(place):
    """One pair whose answer the hand-made bundle knows: the real photo is 0.9 times the composite, inside the mask."""
    for folder in ("composite_images", "masks", "real_images"):
        (place / folder).mkdir()
    composite = np.full((32, 32, 3), 200, np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 255
    real = np.where(mask[..., None] > 0, np.uint8(180), composite)
    for folder, name, pixels in (
        ("composite_images", "a_1_1", composite),
        ("masks", "a_1", mask),
        ("real_images", "a", real),
    ):
        Image.fromarray(pixels).save(place / folder / f"{name}.png")
    (place / "x_test.txt").write_text("a_1_1.png\n")
    return place


def test_report(run, bundle, dataset):
    ended = run("evaluate", dataset, "--bundle", bundle, "--size", "32", "--json")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert report["composite"]["fmse"] == pytest.approx(400)
    assert report["fmse_ratio"] < 0.02
    assert report["worse"] == 0
    assert "15-100%" in run("evaluate", dataset, "--bundle", bundle, "--size", "32").out


def test_split_that_is_not_there(run, bundle, dataset):
    ended = run("evaluate", dataset, "--bundle", bundle, "--split", "val")
    assert ended.code == 2
    assert "val.txt" in ended.error


def test_pictures_are_read_as_by_every_other_verb(run, bundle, dataset):
    common = ("evaluate", dataset, "--bundle", bundle, "--size", "0", "--json")
    expected = json.loads(run(*common).out)
    mask, exif = dataset / "masks" / "a_1.png", Image.Exif()
    Image.fromarray((np.asarray(Image.open(mask)) > 0).astype(np.uint8) * 3).save(mask)
    exif[0x0112] = 6
    for name in ("composite_images/a_1_1", "real_images/a"):
        upright = np.asarray(Image.open(dataset / f"{name}.png"))
        Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(dataset / f"{name}.png", exif=exif)
    ended = run(*common)
    assert json.loads(ended.out) == expected
    assert "note: " in ended.err
    assert "holds the label 3" in ended.err


def test_several_bundles_protocols_and_formats(run, bundle, dataset):
    reports = [f"report{suffix}" for suffix in (".html", ".json", ".csv", ".md", ".tex")]
    ended = run(
        *("evaluate", dataset, "--bundle", bundle, "--bundle", bundle, "--protocol", "phnet"),
        *(word for name in reports for word in ("--report", name)),
    )
    assert ended.code == 0, ended.err
    assert "Engines side by side" in ended.out
    data = json.loads((dataset / "report.json").read_text())
    assert data["protocol"] == "phnet"
    assert [one["about_inference"] for one in data["systems"]] == [[32, 32], [32, 32]]
    page = (dataset / "report.html").read_text()
    assert page.count("<figcaption>truth</figcaption>") == 3  # of each bundle, and of both side by side
    assert "Results side by side" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "PSNR" in (dataset / "report.csv").read_text().upper()
    assert r"\toprule" in (dataset / "report.tex").read_text()
    assert "| composite | 1 |" in (dataset / "report.md").read_text()


def test_seeds_and_refiner_of_a_diffharmony_bundle_by_one_command(run, dataset):
    made = Path(__file__).parents[1] / "vectors" / "hand-made-kl"
    ended = run(
        *("evaluate", "--protocol", "diffharmony", "--seeds", 0, 1, 2, dataset, "--bundle", made),
        *("--refiner", "both", "--backend", "onnxruntime", "--threads", 1, "--json"),
    )
    assert ended.code == 0, ended.err
    tables = {table["title"]: table for table in json.loads(ended.out)["tables"]}
    assert [line["cells"][0] for line in tables["Over seeds"]["lines"]] == ["0 1 2", "0 1 2"]
    assert all("±" in line["cells"][1] for line in tables["Over seeds"]["lines"])
    assert [line["cells"][:2] for line in tables["By resolution and refiner"]["lines"]] == [
        ["64x64", "no"],
        ["64x64", "yes"],
    ]


def test_an_interrupted_evaluation_goes_on(run, bundle, dataset):
    common = ("evaluate", dataset, "--bundle", bundle, "--size", 32, "--scores", "scores.jsonl", "--json")
    first = run(*common)
    assert first.code == 0, first.err
    lines = (dataset / "scores.jsonl").read_text()
    again = run(*common, "--resume")
    assert json.loads(again.out) == json.loads(first.out)
    assert (dataset / "scores.jsonl").read_text() == lines
    assert "add --resume" in run(*common).error


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--report", "report.pdf"), "ends in .html"),
        (("--report", "nowhere/report.html"), "there is no folder nowhere"),
        (("--report", "folder.html"), "cannot write folder.html; choose another name"),
        (("--resume",), "name it with --scores"),
        (("--seeds", 1), "leave --seeds out"),
        (("--ray", "local", "--processes", 2), "leave --processes and --scores out"),
        (("--bench", "x_test.txt"), "cannot be read as a benchmark"),
    ],
)
def test_options_that_cannot_be_are_refused_in_a_sentence(run, bundle, dataset, more, said):
    (dataset / "folder.html").mkdir()
    ended = run("evaluate", dataset, "--bundle", bundle, *more)
    assert ended.code == 2
    assert said in ended.error


def test_the_numbers_after_seeds_are_seeds():
    words = ["data", "--seeds", "0", "1", "2", "--size", "7", "8"]
    assert with_seeds_apart(words) == ["data", "--seeds", "0", "--seeds", "1", "--seeds", "2", "--size", "7", "8"]


def test_protocols_and_peaks_are_those_of_the_room():
    assert [one.value for one in ProtocolName] == list(PROTOCOLS)
    assert {one.value for one in Peak} == set(PEAKS)
