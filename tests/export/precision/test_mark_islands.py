"""Convolutions and what finishes them leave FP32; statistics do not."""

import numpy as np
import pytest

from harmonyrt.export.precision.mark_islands import low_precision_nodes

W = np.zeros((4, 4, 1, 1), np.float32)
ONES = np.ones(4, np.float32)


def low(model) -> list[str]:
    found = low_precision_nodes(model.graph)
    return [node.op_type for node in model.graph if node in found]


def test_an_instance_norm_stays_and_the_activation_between_it_and_a_convolution_goes(graph):
    model = graph(
        """g (float[1,4,8,8] x) => (float[1,4,8,8] y) {
        a = Conv(x, w) b = InstanceNormalization(a, one, one) c = Relu(b) d = Conv(c, w) y = Sigmoid(d) }""",
        w=W,
        one=ONES,
    )
    assert low(model) == ["Conv", "Relu", "Conv"]


def test_an_activation_that_a_statistic_reads_stays_with_it(graph):
    model = graph(
        """g (float[1,4,8,8] x) => (float[1,4,8,8] y) {
        b = InstanceNormalization(x, one, one) c = Relu(b) m = ReduceMean(c) s = Sub(c, m)
        d = Conv(c, w) y = Add(d, s) }""",
        w=W,
        one=ONES,
    )
    assert low(model) == ["Conv"]


def test_arithmetic_of_a_statistic_stays_although_only_a_convolution_reads_it(graph):
    model = graph(
        """g (float[1,4,8,8] x, float[1,1,8,8] m) => (float[1,4,8,8] y) {
        f = Mul(x, m) n = Neg(m) b = Mul(x, n) s = Add(f, b)
        t = Concat<axis=1>(s, s) d = Conv(t, w) y = Sigmoid(d) }""",
        w=np.zeros((4, 8, 1, 1), np.float32),
    )
    assert low(model) == ["Concat", "Conv"]


def test_a_gate_joins_when_its_tensor_is_cast_anyway(graph):
    model = graph(
        """g (float[1,4,8,8] x) => (float[1,4,8,8] y) {
        r = Abs(x) m = ReduceMean(r) s = Sigmoid(m) g = Mul(r, s)
        t = Concat<axis=1>(g, r) d = Conv(t, w) y = Sigmoid(d) }""",
        w=np.zeros((4, 8, 1, 1), np.float32),
    )
    assert low(model) == ["Mul", "Concat", "Conv"]


@pytest.mark.parametrize("end", ["y = ReduceMax(b)", "y = ReduceMean<keepdims=0>(b)"])
def test_a_convolution_that_is_only_measured_stays(graph, end):
    assert low(graph(f"g (float[1,4,8,8] x) => (float y) {{ a = Conv(x, w) b = Relu(a) {end} }}", w=W)) == []


def test_what_makes_an_output_stays(graph):
    model = graph("g (float[1,4,8,8] x) => (float[1,4,8,8] y) { a = Conv(x, w) y = Relu(a) }", w=W)
    assert low(model) == ["Conv"]


def test_phnet_keeps_all_statistics(phnet_graph):
    model = phnet_graph("phnet_iharmony4")
    found = low_precision_nodes(model.graph)
    kinds, names = {node.op_type for node in found}, {node.name for node in found}
    assert kinds == {"Conv", "ConvTranspose", "Relu", "LeakyRelu", "Concat", "Mul"}
    assert not [name for name in names if name.startswith(("normalizers", "feature_extractor"))]
    scopes = {name.split("/")[0] for name in names if name.endswith(("/Conv", "/ConvTranspose"))}
    assert scopes == {
        *(f"encoder.{i}.0" for i in range(6)),
        *(f"decoder.{i}.0" for i in range(6)),
        *(f"skip.{i}.rconv" for i in range(6)),
    }
