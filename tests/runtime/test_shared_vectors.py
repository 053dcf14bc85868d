"""The vectors that the C++ suite reads too: the Python runtime still gives the pictures that were written.

After a deliberate change of the picture path: `python tests/vectors/write_vectors.py`, then change runtime/cpp alike.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.masks import HarmonyWarning

FOLDER = Path(__file__).parents[1] / "vectors"
DOCUMENT = json.loads((FOLDER / "vectors.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def harmonizers():
    names = {case["bundle"] for case in DOCUMENT["cases"]}
    return {name: Harmonizer.open(FOLDER / name, backend="onnxruntime", threads=1) for name in names}


@pytest.mark.parametrize("case", DOCUMENT["cases"], ids=lambda case: case["name"])
def test_the_picture_is_the_one_that_was_written(case, harmonizers):
    composite, mask, expected = (
        np.asarray(Image.open(FOLDER / case[what])) for what in ("composite", "mask", "harmonized")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HarmonyWarning)  # empty and full masks are among the cases
        found = harmonizers[case["bundle"]].harmonize(composite, mask)
    assert np.abs(found.astype(int) - expected).max() <= DOCUMENT["tolerance"]
    np.testing.assert_array_equal(found[mask == 0], composite[mask == 0])
