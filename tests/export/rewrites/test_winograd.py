"""Winograd convolutions compute what convolutions compute, without growing the file."""

import numpy as np
import pytest

from harmonyrt.export.rewrites import REWRITES, gate_fold, winograd
from harmonyrt.export.rewrites.winograd import transforms

CONV = """g (float[1,64,{height},{width}] x) => (float[1,h,v,u] y) {{
    y = Conv <pads = [{pads}], strides = [{stride},{stride}]> (x, w, b)
}}"""


@pytest.fixture(autouse=True)
def small_graphs(monkeypatch):
    """Rewrite graphs of fewer channels than it pays for, so that these tests are quick."""
    monkeypatch.setattr(winograd, "FEWEST_CHANNELS", 64)


def graph(height=16, width=16, pads="1,1,1,1", stride=1):
    return CONV.format(height=height, width=width, pads=pads, stride=stride)


@pytest.mark.parametrize(("tile", "kernel"), [(4, 3), (2, 3), (4, 2), (2, 2)])
def test_the_matrices_convolve(tile, kernel):
    a, b, g = transforms(tile, kernel)
    rng = np.random.default_rng(0)
    signal, taps = rng.random(tile + kernel - 1), rng.random(kernel)
    np.testing.assert_allclose(a @ ((g @ taps) * (b @ signal)), np.convolve(signal, taps[::-1], "valid"), atol=1e-12)


@pytest.mark.parametrize("name", ["winograd", "winograd-f2"])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (12, 20), (9, 14)])
@pytest.mark.parametrize(("kernel", "pads"), [(3, "1,1,1,1"), (3, "0,1,2,0"), (2, "1,1,1,1"), (2, "0,0,0,0")])
def test_the_function_stays_at_any_size(prove, random, name, height, width, kernel, pads):
    weights = {"w": random(64, 64, kernel, kernel) / 24, "b": random(64)}
    proof = prove(graph(height, width, pads), weights, REWRITES[name].apply)
    assert proof.places == 1
    assert "Conv" not in proof.operators
    assert proof.difference < 5e-5


def test_the_file_does_not_grow(prove, random):
    proof = prove(graph(), {"w": random(64, 64, 3, 3), "b": random(64)}, winograd.apply)
    floats = sum(int(np.prod(tensor.dims)) for tensor in proof.model.graph.initializer if tensor.data_type == 1)
    assert floats < 64 * 64 * 9 + 3000


def test_a_gated_convolution_keeps_its_gate(prove, random):
    gated = """g (float[1,64,8,8] x, float[1,64,1,1] s) => (float[1,64,8,8] y) {
        gated = Mul (x, s)
        both = Concat <axis = 1> (gated, x)
        y = Conv <pads = [1,1,1,1]> (both, w)
    }"""

    def apply(model):
        from harmonyrt.export.build.tracing import tidy

        gate_fold.apply(model)
        tidy(model)
        return winograd.apply(model)

    proof = prove(gated, {"w": random(64, 128, 3, 3) / 34}, apply)
    assert proof.places == 1
    assert "Conv" not in proof.operators
    assert proof.difference < 1e-4


@pytest.mark.parametrize("text", [graph(stride=2), graph().replace("float[1,", "float[2,")])
def test_strided_convolutions_and_batches_stay(prove, random, text):
    assert prove(text, {"w": random(64, 64, 3, 3), "b": random(64)}, winograd.apply).places == 0


def test_thin_convolutions_stay(prove, random):
    assert prove(graph(), {"w": random(8, 64, 3, 3), "b": random(8)}, winograd.apply).places == 0
