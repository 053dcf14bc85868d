"""The golden weights are those that the cases were made with, whichever numpy draws them."""

import json
import zlib

import pytest


def test_the_recipe_gives_the_weights_of_the_cases(golden):
    known = json.loads((golden.folder / "recipe_check.json").read_text())["tensors"]
    for name, about in known.items():
        value = golden.recipe.tensor_for(name, about["shape"])
        assert str(value.dtype) == about["dtype"], name
        assert value.ravel()[: len(about["first"])].tolist() == pytest.approx(about["first"], rel=1e-6), name
        assert float(value.sum(dtype="float64")) == pytest.approx(about["sum"], rel=1e-6, abs=1e-6), name
        assert zlib.crc32(value.tobytes()) == about["crc32_of_bytes"], name
