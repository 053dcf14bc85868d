"""Precision counts say what computes in which type, and a graph that is not what it claims is refused."""

import numpy as np
import pytest

from harmonyrt.common import WorkFailed
from harmonyrt.export.precision import check_counts, precision_counts, typed_graph

W = np.zeros((4, 4, 1, 1), np.float32)


def two_convolutions(graph):
    return graph(
        """g (float[1,4,8,8] x) => (float y, float[1,4,8,8] z) {
        a = Conv(x, w) y = ReduceMax<keepdims=0>(a) b = Conv(x, w) z = Relu(b) }""",
        w=W,
    )


def test_counts_by_type(graph):
    model = two_convolutions(graph)
    assert precision_counts(model) == {"float32": 2}
    assert precision_counts(typed_graph(model, "fp16")) == {"float16": 1, "float32": 1}
    assert precision_counts(typed_graph(model, "bf16")) == {"bfloat16": 1, "float32": 1}


def test_a_convolution_between_dequantizers_counts_as_int8(graph):
    model = graph(
        """g (uint8[1,4,8,8] x) => (float[1,4,8,8] y) {
        a = DequantizeLinear(x, s, zu) b = DequantizeLinear(wq, s, zi) y = Conv(a, b) }""",
        wq=np.zeros((4, 4, 1, 1), np.int8),
        s=np.float32(1),
        zu=np.uint8(0),
        zi=np.int8(0),
    )
    assert precision_counts(model) == {"int8": 1}


def test_a_graph_that_stayed_in_fp32_is_refused():
    check_counts({"float16": 18, "float32": 18}, "fp16")
    check_counts({"int8": 1, "float32": 17}, "int8")  # calibration chooses layers one by one
    with pytest.raises(WorkFailed, match="only 1 of 18 compute in int8"):  # where the caller asks for a share
        check_counts({"int8": 1, "float32": 17}, "int8", 0.5)
    check_counts({"float16": 1, "float32": 90}, "fp16", least_share=0)
    with pytest.raises(WorkFailed, match="fp16 was asked for, but only 17 of 36 compute in float16"):
        check_counts({"float16": 17, "float32": 19}, "fp16")
    with pytest.raises(WorkFailed, match="fp16 was asked for, but nothing computes in float16"):
        check_counts({"float32": 18}, "fp16")
    with pytest.raises(WorkFailed, match="no compute node at all"):
        check_counts({}, "bf16")


def test_a_graph_without_anything_to_convert_is_refused(graph):
    with pytest.raises(WorkFailed, match="nothing computes in float16"):
        typed_graph(graph("g (float[2] x) => (float[2] y) { y = Relu(x) }"), "fp16")
