"""Norms of large pictures are split into plain arithmetic, and smaller ones are left."""

import numpy as np
import pytest

from harmonyrt.export.rewrites import split_norms
from harmonyrt.runtime import openvino_core

NORM = """g (float[1,16,{side},{side}] x) => (float[1,16,{side},{side}] y) {{
    y = InstanceNormalization (x, scale, bias)
}}"""


@pytest.mark.parametrize("bias", [0, 0.3])
def test_the_function_stays(prove, random, monkeypatch, bias):
    monkeypatch.setattr(split_norms, "MOST_PIXELS", 15 * 15)
    weights = {"scale": 1 + random(16) / 4, "bias": np.full(16, bias, np.float32)}
    proof = prove(NORM.format(side=16), weights, split_norms.apply)
    assert proof.places == 1
    assert "InstanceNormalization" not in proof.operators
    assert proof.operators["Add"] == (2 if bias else 1)
    assert proof.difference < 1e-5


def test_norms_of_small_pictures_stay(prove, random):
    weights = {"scale": random(16), "bias": random(16)}
    assert prove(NORM.format(side=16), weights, split_norms.apply).places == 0


def test_openvino_keeps_its_digits_on_a_large_picture(prove, random):
    """Its own kernel does not: the reason for this rewrite."""
    openvino = pytest.importorskip("openvino")
    side = 512
    weights = {"scale": np.ones(16, np.float32), "bias": np.zeros(16, np.float32)}
    proof = prove(NORM.format(side=side), weights, split_norms.apply)
    x = np.maximum(np.random.default_rng(0).standard_normal((1, 16, side, side)), 0).astype(np.float32)
    core = openvino_core.core(openvino)
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    y = core.compile_model(core.read_model(proof.model.SerializeToString()), "CPU", settings)(x)[0]
    exact = x.astype(np.float64)
    exact = (exact - exact.mean((2, 3), keepdims=True)) / np.sqrt(exact.var((2, 3), keepdims=True) + 1e-5)
    assert np.abs(y - exact).max() < 3e-5


SUM = """g (float[1,3,{side},{side}] x) => (float[1,3,1,1] y) {{
    rows = ReduceSum <keepdims = 1> (x, three)
    y = ReduceSum <keepdims = 1> (rows, two)
}}"""
AXES = {"two": np.array([2], np.int64), "three": np.array([3], np.int64)}


def test_sums_of_large_pictures_keep_their_digits_in_openvino(prove):
    """It would join both reductions to one kernel that adds number after number."""
    openvino = pytest.importorskip("openvino")
    proof = prove(SUM.format(side=1024), AXES, split_norms.apply)
    assert proof.places == 1
    assert proof.operators["MatMul"] == proof.operators["ReduceSum"] == 1
    x = np.random.default_rng(0).random((1, 3, 1024, 1024), np.float32) ** 4 / 30
    core = openvino_core.core(openvino)
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    y = core.compile_model(core.read_model(proof.model.SerializeToString()), "CPU", settings)(x)[0]
    exact = x.sum((2, 3), dtype=np.float64, keepdims=True)
    assert np.abs(y / exact - 1).max() < 3e-6


def test_sums_of_small_pictures_stay(prove):
    assert prove(SUM.format(side=64), AXES, split_norms.apply).places == 0
