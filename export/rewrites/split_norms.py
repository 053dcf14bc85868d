"""Instance norms and sums of large pictures in plain arithmetic, with means and sums of rows as products with vectors.

OpenVINO's kernel adds number after number: on features of 512 x 512 its result is off by 4e-4 where FP32 allows 1e-6,
which takes an engine of 1024 px out of its gate; a chain of reductions would end in one such kernel again. Products
add block by block. Smaller pictures keep the norm, which is right there and needs fewer passes. A sum over rows and
then columns is joined to one kernel of that sort as well: a variance of 1024 x 1024 pixels was off by 1e-4.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from harmonyrt.export.rewrites import graph_tools as tools
from harmonyrt.export.rewrites.graph_tools import Writer, attribute, constant_input, must, operand

MOST_PIXELS = 256 * 256
"""Above it, norms are split."""


def apply(model: ir.Model) -> int:
    """InstanceNormalization becomes means, a difference and a product; ReduceSum of rows a product."""
    return sum(
        tools.rewrite_each(model, {op_type}, way)
        for op_type, way in (("InstanceNormalization", _split), ("ReduceSum", _sum_rows))
    )


def _large_sides(x: ir.Value) -> tuple[int, int]:
    """[height, width] of a picture of known size that is worth splitting; others are left."""
    shape = tools.known_shape(x)
    must(len(shape) == 4 and shape[2] * shape[3] > MOST_PIXELS, f"{x.name} has few enough pixels to be exact")
    return shape[2], shape[3]


def _sum_rows(graph: ir.Graph, node: ir.Node) -> None:
    rows = constant_input(node, 1).tolist() == [3] and attribute(node, "keepdims", 1)
    must(rows, "it does not sum along rows alone")
    _, width = _large_sides(operand(node, 0))
    write = Writer(graph, node.name)
    write("rows", "MatMul", node.inputs[0], write.constant("ones", np.ones((width, 1))))
    write.replace(node)


def _split(graph: ir.Graph, node: ir.Node) -> None:
    x, scale, bias = operand(node, 0), constant_input(node, 1), constant_input(node, 2)
    height, width = _large_sides(x)
    write = Writer(graph, node.name)
    row = write.constant("row", np.full((width, 1), 1 / width))
    column = write.constant("column", np.full((1, height), 1 / height))

    def mean(what: str, value: ir.Value) -> ir.Value:
        return write(what, "MatMul", column, write(f"{what}_of_rows", "MatMul", value, row))

    deviation = write("deviation", "Sub", x, mean("mean", x))
    variance = mean("variance", write("squared", "Mul", deviation, deviation))
    padded = write("variance_eps", "Add", variance, write.constant("eps", attribute(node, "epsilon", 1e-5)))
    spread = write("spread", "Sqrt", padded)
    factor = write("factor", "Div", write.constant("scale", scale.reshape(1, -1, 1, 1)), spread)
    result = write("normalised", "Mul", deviation, factor)
    if bias.any():
        write("shifted", "Add", result, write.constant("bias", bias.reshape(1, -1, 1, 1)))
    write.replace(node)
