"""Biases go where an instance norm cancels them, and stay everywhere else."""

from harmonyrt.export.rewrites.drop_dead import apply

NORM = """g (float[1,3,8,8] x) => (float[1,4,8,8] y) {
    c = Conv <pads = [1,1,1,1]> (x, w, b)
    y = InstanceNormalization (c, one, zero)
}"""


def weights(random):
    return {"w": random(4, 3, 3, 3), "b": random(4), "one": 1 + 0 * random(4), "zero": 0 * random(4)}


def test_a_bias_before_an_instance_norm_goes(prove, random):
    proof = prove(NORM, weights(random), apply)
    assert proof.places == 1
    assert {tensor.name for tensor in proof.model.graph.initializer} == {"w", "one", "zero"}
    assert proof.difference < 1e-5


def test_a_bias_that_something_else_sees_stays(prove, random):
    seen_twice = NORM.replace("y = Inst", "n = Inst").replace("}", "y = Add (n, c) }")
    assert prove(seen_twice, weights(random), apply).places == 0


def test_a_convolution_without_a_bias_is_left(prove, random):
    assert prove(NORM.replace("w, b)", "w)"), {k: v for k, v in weights(random).items() if k != "b"}, apply).places == 0
