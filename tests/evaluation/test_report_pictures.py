"""Which pictures a report shows."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from harmonyrt.evaluation.iharmony4 import read_split
from harmonyrt.evaluation.measure import measure
from harmonyrt.evaluation.protocol import Case
from harmonyrt.evaluation.report_pictures import differences, gain, gallery, images_of
from harmonyrt.evaluation.runs import Run
from harmonyrt.evaluation.systems import named


def pixels(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))), float)


@pytest.fixture
def results(data, tmp_path):
    """Folders of results: in `good` number 0 is perfect, in `bad` number 2 is black."""
    pairs = read_split(data / "one")
    for folder, spoilt, source in (("good", 0, "real"), ("bad", 2, None)):
        (tmp_path / folder).mkdir()
        for n, pair in enumerate(pairs):
            image = Image.open(pair.composite)
            if n == spoilt:
                image = Image.open(pair.real) if source else Image.new("RGB", image.size)
            image.save(tmp_path / folder / f"{pair.name}.png")
    runs = [Run(name, results=str(tmp_path / name), size=0) for name in ("good", "bad")]
    return pairs, named([measure(run, pairs) for run in runs])


def test_the_worst_come_first_and_no_picture_twice(results):
    pairs, (good, bad) = results
    (worst_heading, worst), (best_heading, best) = gallery(bad, pairs, 5).parts
    assert (worst_heading, best_heading) == ("Least improved", "Most improved")
    assert worst[0].about.startswith("one/p2_1_1: ")
    assert len(worst) + len(best) == 3
    assert gallery(good, pairs, 1).parts[1][1][0].about.startswith("one/p0_1_1: ")
    assert [what for what, _ in worst[0].images] == ["composite", "mask", "result", "truth", "error x4"]
    assert pixels(dict(worst[0].images)["result"]).max() < 4  # it is the black one
    assert gain(bad.rows[2]) < 0 < gain(good.rows[0])


def test_systems_are_shown_where_they_differ_most(results):
    pairs, systems = results
    made = differences(systems, pairs, 1)
    ((_, (shown,)),) = made.parts
    assert shown.about.startswith(("one/p2_1_1: good ", "one/p0_1_1: good "))
    assert [what for what, _ in shown.images] == ["composite", "good", "bad", "truth"]
    assert differences(systems[:1], pairs, 1) is None


def test_error_pictures_grow_with_the_error():
    flat = np.full((16, 16, 3), 100, np.uint8)
    off = flat.copy()
    off[:8] += 30
    images = dict(images_of(Case(flat, off, flat, flat[..., 0])))
    error = pixels(images["error x4"])
    assert error[:6].mean() > 60
    assert error[10:].mean() < 4
