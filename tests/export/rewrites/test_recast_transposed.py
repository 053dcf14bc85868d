"""A transposed convolution of stride 2 is four convolutions, one for each phase of its output."""

import pytest

from harmonyrt.export.rewrites.recast_transposed import apply

GRAPH = """g (float[{batch},3,8,9] x) => (float[{batch},5,16,18] y) {{
    y = ConvTranspose <strides = [2,2], pads = [1,1,1,1]> (x, w{bias})
}}"""


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("bias", ["", ", b"])
def test_it_becomes_one_convolution(prove, random, batch, bias):
    weights = {"w": random(3, 5, 4, 4)} | ({"b": random(5)} if bias else {})
    proof = prove(GRAPH.format(batch=batch, bias=bias), weights, apply)
    assert proof.places == 1
    assert proof.operators == {"Conv": 1, "Slice": 4, "Concat": 1, "DepthToSpace": 1}
    assert proof.difference < 1e-5


def test_another_kernel_stays(prove, random):
    graph = GRAPH.format(batch=1, bias="").replace("5,16,18", "5,15,17")
    assert prove(graph, {"w": random(3, 5, 3, 3)}, apply).places == 0
