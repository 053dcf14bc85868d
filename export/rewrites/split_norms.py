"""Instance norms and sums of large pictures in plain arithmetic, with means and sums of rows as products with vectors.

OpenVINO's kernel adds number after number: on features of 512 x 512 its result is off by 4e-4 where FP32 allows 1e-6,
which takes an engine of 1024 px out of its gate; a chain of reductions would end in one such kernel again. Products
add block by block. Smaller pictures keep the norm, which is right there and needs fewer passes. A sum over rows and
then columns is joined to one kernel of that sort as well: a variance of 1024 x 1024 pixels was off by 1e-4.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from harmonyrt.export.rewrites.graph_tools import add_constant, attribute, constant, put_in_place

MOST_PIXELS = 256 * 256
"""Above it, norms are split."""


def apply(model: ir.Model) -> int:
    """InstanceNormalization becomes means, a difference and a product; ReduceSum of rows a product."""
    ways = {"InstanceNormalization": _split, "ReduceSum": _sum_rows}
    return sum(ways[node.op_type](model.graph, node) for node in list(model.graph) if node.op_type in ways)


def _large_sides(x: ir.Value) -> tuple[int, int] | None:
    """[height, width] of a picture of known size that is worth splitting; None of others."""
    shape = list(x.shape or ())
    if len(shape) != 4 or not all(isinstance(side, int) for side in shape[2:]) or shape[2] * shape[3] <= MOST_PIXELS:
        return None
    return shape[2], shape[3]


def _sum_rows(graph: ir.Graph, node: ir.Node) -> bool:
    x, axes = node.inputs[0], constant(node.inputs[1]) if len(node.inputs) > 1 else None
    sides = _large_sides(x)
    if axes is None or axes.tolist() != [3] or not attribute(node, "keepdims", 1) or sides is None:
        return False
    ones = add_constant(graph, f"{node.name}.ones", np.ones((sides[1], 1), np.float32))
    product = ir.node("MatMul", [x, ones], name=f"{node.name}/rows")
    product.outputs[0].name = product.name
    put_in_place(graph, [node], [product])
    return True


def _split(graph: ir.Graph, node: ir.Node) -> bool:
    x, scale, bias = node.inputs[0], constant(node.inputs[1]), constant(node.inputs[2])
    sides = _large_sides(x)
    if scale is None or bias is None or sides is None:
        return False
    height, width = sides
    new: list[ir.Node] = []

    def write(what: str, op_type: str, *inputs: ir.Value, **attributes) -> ir.Value:
        made = ir.node(op_type, inputs, attributes, name=f"{node.name}/{what}")
        made.outputs[0].name = made.name
        new.append(made)
        return made.outputs[0]

    def number(what: str, value: float | np.ndarray) -> ir.Value:
        return add_constant(graph, f"{node.name}.{what}", np.asarray(value, np.float32))

    def mean(what: str, value: ir.Value) -> ir.Value:
        return write(what, "MatMul", column, write(f"{what}_of_rows", "MatMul", value, row))

    row = number("row", np.full((width, 1), 1 / width))
    column = number("column", np.full((1, height), 1 / height))
    deviation = write("deviation", "Sub", x, mean("mean", x))
    variance = mean("variance", write("squared", "Mul", deviation, deviation))
    spread = write(
        "spread", "Sqrt", write("variance_eps", "Add", variance, number("eps", attribute(node, "epsilon", 1e-5)))
    )
    factor = write("factor", "Div", number("scale", scale.reshape(1, -1, 1, 1)), spread)
    result = write("normalised", "Mul", deviation, factor)
    if bias.any():
        write("shifted", "Add", result, number("bias", bias.reshape(1, -1, 1, 1)))
    put_in_place(graph, [node], new)
    return True
