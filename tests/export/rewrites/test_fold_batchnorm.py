"""A batch norm disappears into the convolution before it."""

import numpy as np
import pytest

from harmonyrt.export.rewrites.fold_batchnorm import apply

GRAPH = """g (float[1,3,8,8] x) => (float[1,4,h,v] y) {{
    c = {op} <strides = [{stride}, {stride}], pads = [1,1,1,1]> (x, w, b)
    y = BatchNormalization <epsilon = 1e-5> (c, scale, shift, mean, variance)
}}"""


def norm(random):
    return {"scale": random(4), "shift": random(1, 4)[0], "mean": random(2, 4)[0], "variance": random(4) ** 2 + 0.1}


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_norm_goes_and_the_function_stays(prove, random, op, stride):
    shape = (4, 3, 3, 3) if op == "Conv" else (3, 4, 3, 3)
    graph = GRAPH.format(op=op, stride=stride)
    proof = prove(graph, {"w": random(*shape), "b": random(4), **norm(random)}, apply)
    assert (proof.places, proof.operators) == (1, {op: 1})
    assert proof.difference < 1e-5


def test_a_convolution_without_bias_gets_one(prove, random):
    graph = GRAPH.format(op="Conv", stride=1).replace("w, b)", "w)")
    proof = prove(graph, {"w": random(4, 3, 3, 3), **norm(random)}, apply)
    assert proof.places == 1
    assert proof.difference < 1e-5


def test_an_infinite_variance_is_a_constant_channel(prove, random):
    """What a variance that overflowed in half precision means in PyTorch."""
    statistics = norm(random)
    statistics["variance"][1] = np.inf
    graph = GRAPH.format(op="Conv", stride=1)
    proof = prove(graph, {"w": random(4, 3, 3, 3), "b": random(4), **statistics}, apply)
    assert proof.difference < 1e-5


def test_a_feature_that_something_else_reads_is_left(prove, random):
    graph = GRAPH.format(op="Conv", stride=1).replace("y = Batch", "n = Batch").replace("}", "y = Add (n, c) }")
    assert prove(graph, {"w": random(4, 3, 3, 3), "b": random(4), **norm(random)}, apply).places == 0
