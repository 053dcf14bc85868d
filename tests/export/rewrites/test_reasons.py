"""A place that a rewrite leaves as it is has a reason, which the log and `harmonyrt build --verbose` give."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from harmonyrt.export.build.command import reasons_told
from harmonyrt.export.rewrites import REWRITES

STRIDED = """g (float[1,3,8,8] x) => (float[1,4,h,v] y) { y = ConvTranspose <strides = [2,2]> (x, w) }"""
STRIDED_WEIGHTS = {"w": np.ones((3, 4, 3, 3), np.float32)}


@pytest.mark.parametrize(
    ("name", "text", "weights", "reason"),
    [
        ("drop-dead", "y = Conv (x, w)", {"w": (3, 3, 1, 1)}, "Conv has no input 2"),
        ("drop-dead", "c = Conv (x, w, b) y = Relu (c)", {"w": (3, 3, 1, 1), "b": (3,)}, "no InstanceNormalization"),
        ("fold-batchnorm", "y = BatchNormalization (x, s, s, s, s)", {"s": (3,)}, "not made by Conv or ConvTranspose"),
        ("gate-fold", "g = Relu (x) y = Mul (g, x)", {}, "y has no single reader"),
        ("share-statistics", "y = ReduceSum (x)", {}, "y has no single reader"),
        ("split-norms", "y = InstanceNormalization (x, s, s)", {"s": (3,)}, "few enough pixels to be exact"),
        ("winograd", "y = Conv (x, w)", {"w": (3, 3, 3, 3)}, "with fewer than 128 channels"),
        ("winograd-f2", "y = Conv (x, w)", {"w": (3, 3, 5, 5)}, "its kernel is neither 2 x 2 nor 3 x 3"),
    ],
)
def test_every_rewrite_says_why(prove, caplog, name, text, weights, reason):
    caplog.set_level(logging.INFO, "harmonyrt.export")
    arrays = {key: np.ones(shape, np.float32) for key, shape in weights.items()}
    assert prove(f"g (float[1,3,8,8] x) => (float[n,c,h,v] y) {{ {text} }}", arrays, REWRITES[name].apply).places == 0
    (said,) = caplog.messages
    assert said.startswith(f"{name.removesuffix('-f2')} leaves ")
    assert reason in said


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("flip-transposed", "it strides or dilates"),
        ("recast-transposed", "kernel, stride and padding are not 4, 2 and 1"),
    ],
)
def test_transposed_convolutions_too(prove, caplog, name, reason):
    caplog.set_level(logging.INFO, "harmonyrt.export")
    assert prove(STRIDED, STRIDED_WEIGHTS, REWRITES[name].apply).places == 0
    assert f"{name} leaves" in caplog.text
    assert reason in caplog.text


def test_a_build_tells_it_only_when_asked(prove, capsys):
    prove(STRIDED, STRIDED_WEIGHTS, REWRITES["flip-transposed"].apply)
    assert capsys.readouterr().err == ""
    with reasons_told():
        prove(STRIDED, STRIDED_WEIGHTS, REWRITES["flip-transposed"].apply)
    said = capsys.readouterr().err
    assert said.startswith("note: flip-transposed leaves ")
    assert said.endswith(": it strides or dilates\n")
    prove(STRIDED, STRIDED_WEIGHTS, REWRITES["flip-transposed"].apply)
    assert capsys.readouterr().err == ""
