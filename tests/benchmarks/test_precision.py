"""The figures of the precision pages: read from a split, scored as a user would see them, printed as a table."""

import json

import numpy as np
import pytest
from PIL import Image

from harmonyrt.benchmarks import precision
from harmonyrt.benchmarks.precision import Row, main, read_cases
from harmonyrt.evaluation.iharmony4 import read_split


@pytest.fixture
def dataset(tmp_path):
    """One composite of 32 x 32 px, whose foreground is 16 levels darker than it was."""
    for folder in ("composite_images", "masks", "real_images"):
        (tmp_path / folder).mkdir()
    real = np.full((32, 32, 3), 116, np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    mask[:, :16] = 255
    composite = np.where(mask[..., None] > 0, 100, real).astype(np.uint8)
    Image.fromarray(real).save(tmp_path / "real_images" / "a.png")
    Image.fromarray(mask).save(tmp_path / "masks" / "a_1.png")
    Image.fromarray(composite).save(tmp_path / "composite_images" / "a_1_1.png")
    (tmp_path / "test.txt").write_text("a_1_1.png\n")
    return tmp_path


def test_cases_are_blended_before_they_are_scored(dataset):
    (case,) = read_cases(read_split(dataset), 32)
    assert case.image.shape == case.real.shape == (1, 3, 32, 32)
    assert case.mask.shape == (1, 1, 32, 32)
    assert case.score(case.image) == pytest.approx(10 * np.log10(255**2 / (16**2 / 2)), abs=1e-3)
    assert case.score(case.blended(np.full_like(case.image, 116 / 255))) > 90  # only the foreground was the output's


def test_a_row_says_what_was_lost(dataset):
    cases = read_cases(read_split(dataset), 32)
    expected = [case.blended(case.real) for case in cases]
    dark = precision._row("int8", "onnx", "a test", lambda feeds: {"output": feeds["image"]}, cases, expected, 100.0)
    assert dark.lost_db == pytest.approx(100 - cases[0].score(cases[0].image))
    assert dark.worst_db == dark.mean_db == pytest.approx(dark.truth_db, abs=0.01)


def test_an_earlier_measurement_is_printed(tmp_path, capsys):
    facts = {
        "checkpoint": "some.pth",
        "checkpoint_sha256": "5" * 64,
        "cases": 2,
        "composites_db": 26.0,
        "module_db": 29.0,
    }
    row = Row("int8", "onnx", "a test", 28.95, 0.05, 45.8, 55.4)
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"facts": facts, "rows": [vars(row)]}))
    assert main(["--table", str(path)]) == 0
    assert "| int8 `onnx` | a test | 28.950 dB (-0.050) | 45.8, 55.4 dB |" in capsys.readouterr().out


def test_without_a_dataset_it_is_one_sentence(tmp_path, capsys):
    assert main([]) == 2
    assert main([str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.count("error: ") == 2
