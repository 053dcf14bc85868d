"""Transposed convolutions of stride 1 become convolutions; those of stride 2 stay."""

import pytest

from harmonyrt.export.rewrites.flip_transposed import apply

GRAPH = """g (float[1,3,8,9] x) => (float[1,4,h,v] y) {{
    y = ConvTranspose <strides = [{stride}, {stride}], pads = [{pads}]> (x, w, b)
}}"""


@pytest.mark.parametrize("pads", ["0,0,0,0", "1,1,1,1", "2,1,0,2"])
def test_stride_one_becomes_a_convolution(prove, random, pads):
    proof = prove(GRAPH.format(stride=1, pads=pads), {"w": random(3, 4, 3, 3), "b": random(4)}, apply)
    assert (proof.places, proof.operators) == (1, {"Conv": 1})
    assert proof.difference < 1e-5


def test_stride_two_stays(prove, random):
    proof = prove(GRAPH.format(stride=2, pads="1,1,1,1"), {"w": random(3, 4, 4, 4), "b": random(4)}, apply)
    assert (proof.places, proof.operators) == (0, {"ConvTranspose": 1})
