"""conv(cat(x*s, x)) = conv(x, W1*s + W2): the gate moves into the weights, for one picture."""

import pytest

from harmonyrt.export.rewrites.gate_fold import apply

GRAPH = """g (float[1,6,8,8] x, float[1,6,1,1] s) => (float[1,4,8,8] y) {{
    gated = Mul ({product})
    both = Concat <axis = 1> ({order})
    y = Conv <pads = [1,1,1,1]> (both, w)
}}"""


@pytest.mark.parametrize("product", ["x, s", "s, x"])
@pytest.mark.parametrize("order", ["gated, x", "x, gated"])
def test_the_convolution_halves(prove, random, product, order):
    proof = prove(GRAPH.format(product=product, order=order), {"w": random(4, 12, 3, 3)}, apply)
    assert (proof.places, proof.operators) == (1, {"Mul": 1, "Add": 1, "Conv": 1})
    assert proof.difference < 1e-4


def test_a_gate_with_a_value_per_pixel_is_no_gate(prove, random):
    graph = GRAPH.format(product="x, s", order="gated, x").replace("float[1,6,1,1] s", "float[1,6,8,8] s")
    assert prove(graph, {"w": random(4, 12, 3, 3)}, apply).places == 0


def test_a_batch_has_no_weights_in_common(prove, random):
    graph = GRAPH.format(product="x, s", order="gated, x").replace("[1,6", "[2,6").replace("[1,4", "[2,4")
    assert prove(graph, {"w": random(4, 12, 3, 3)}, apply).places == 0


def test_a_gated_feature_with_another_reader_stays(prove, random):
    graph = GRAPH.format(product="x, s", order="gated, x").replace("y = Conv", "c = Conv")
    graph = graph.replace("}", "m = ReduceMean <keepdims = 1, noop_with_empty_axes = 0> (gated)  y = Add (c, m) }")
    assert prove(graph, {"w": random(4, 12, 3, 3)}, apply).places == 0
