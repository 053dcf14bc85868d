"""The vectors that the C++ suite reads too: the Python runtime still gives what was written.

After a deliberate change of the picture path: `python tests/vectors/write_vectors.py` and
`python tests/vectors/write_diffusion_vectors.py`, then change runtime/cpp alike.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harmonyrt.evaluation import metrics
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.diffusion import RunOptions
from harmonyrt.runtime.diffusion.noise import NoiseStream
from harmonyrt.runtime.images.foreground import foreground_ratio
from harmonyrt.runtime.images.masks import HarmonyWarning

FOLDER = Path(__file__).parents[1] / "vectors"
DOCUMENT, DIFFUSION = (
    json.loads((FOLDER / name).read_text(encoding="utf-8")) for name in ("vectors.json", "diffusion.json")
)
CASES = DOCUMENT["cases"] + DIFFUSION["cases"]
TOLERANCE = min(DOCUMENT["tolerance"], DIFFUSION["tolerance"])


@pytest.fixture(scope="module")
def harmonizers():
    names = {case["bundle"] for case in CASES}
    return {name: Harmonizer.open(FOLDER / name, backend="onnxruntime", threads=1) for name in names}


def options_of(case):
    """The run of a DiffHarmony case, whose numbers above 2^53 are text; None for PHNet's."""
    if "seed" not in case:
        return None
    return RunOptions(seed=int(case["seed"]), sample=int(case["sample"]), steps=case["steps"] or None)


def controls_of(case):
    controls = {key: case[key] for key in ("strength", "keep") if key in case}
    return controls | ({"match": np.asarray(Image.open(FOLDER / case["match"]))} if "match" in case else {})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_picture_is_the_one_that_was_written(case, harmonizers):
    composite, mask, expected = (
        np.asarray(Image.open(FOLDER / case[what])) for what in ("composite", "mask", "harmonized")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HarmonyWarning)  # empty and full masks are among the cases
        found = harmonizers[case["bundle"]].harmonize(composite, mask, options=options_of(case), **controls_of(case))
    assert np.abs(found.astype(int) - expected).max() <= TOLERANCE
    np.testing.assert_array_equal(found[mask == 0], composite[mask == 0])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_foreground_ratio_is_one_everywhere(case):
    mask = np.asarray(Image.open(FOLDER / case["mask"]))
    assert case["foreground_ratio"] == pytest.approx(np.mean(mask >= 128), abs=1e-6)
    assert foreground_ratio(mask) == pytest.approx(case["foreground_ratio"], abs=1e-6)
    assert metrics.foreground_ratio(mask / 255) == pytest.approx(case["foreground_ratio"], abs=1e-6)


@pytest.mark.parametrize("one", DIFFUSION["noise"], ids=lambda one: f"{one['seed']}-{one['sample']}")
def test_the_noise_is_the_one_that_was_written(one):
    seed, sample = int(one["seed"]), int(one["sample"])
    words = np.random.Philox(key=np.array([seed, sample], np.uint64)).random_raw(len(one["words"]))
    assert [f"{word:016x}" for word in words] == one["words"]
    stream = NoiseStream(seed, sample)
    for tensor in one["tensors"]:
        np.testing.assert_array_max_ulp(stream.normal((len(tensor),)), np.array(tensor, np.float32), maxulp=1)
