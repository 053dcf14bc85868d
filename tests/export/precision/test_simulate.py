"""The simulation rounds where the typed graph does, on a CPU that would not."""

import numpy as np
import pytest

from harmonyrt.export.precision import simulate, typed_graph

CHAIN = """g (float[1,1,1,1] x) => (float[1,1,1,1] y) {
    a = Conv(x, w) b = LeakyRelu<alpha=1.0>(a) c = Conv(b, v) y = Neg(c) }"""
ONE = np.ones((1, 1, 1, 1), np.float32)


@pytest.mark.parametrize(("precision", "step"), [("fp16", 2.0**-10), ("bf16", 2.0**-7)])
def test_inputs_results_and_weights_are_rounded(graph, run, precision, step):
    """1 + step is the next number after 1; a quarter of a step is lost, three quarters become a whole one."""
    for x, w, expected in ((1 + step / 4, 1, 1), (1 + 3 * step / 4, 1, 1 + step), (1, 1 + step / 4, 1)):
        model = simulate(typed_graph(graph(CHAIN, w=ONE * np.float32(w), v=ONE), precision))
        assert run(model, x=ONE * np.float32(x)).item() == -expected


def test_what_passes_65504_overflows_in_fp16_and_not_in_bf16(graph, run):
    model = graph(CHAIN, w=ONE * 1000, v=ONE / 1000)
    assert np.isinf(run(simulate(typed_graph(model, "fp16")), x=ONE * 100))
    assert run(simulate(typed_graph(model, "bf16")), x=ONE * 100).item() == pytest.approx(-100, rel=0.01)


def test_an_fp32_graph_is_returned_as_it_is(graph):
    model = graph(CHAIN, w=ONE, v=ONE)
    assert [node.op_type for node in simulate(model).graph] == [node.op_type for node in model.graph]
    assert not any("Cast" in node.op_type for node in simulate(model).graph)
