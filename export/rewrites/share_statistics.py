"""Sums over a whole picture from the sums of its patches, where both are wanted: one pass over the pixels less.

The patches of a grid cover every pixel once, so that the sum of their sums is the picture's.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from harmonyrt.export.rewrites.graph_tools import (
    Left,
    Writer,
    attribute,
    constant,
    constant_input,
    must,
    operand,
    rewrite_each,
    sole_user,
)

_ROWS, _COLUMNS = 2, 3


def apply(model: ir.Model) -> int:
    """The sum of x by columns, then by rows, next to R @ (x @ C), becomes the sum of the product."""
    return rewrite_each(model, {"ReduceSum"}, _share)


def _share(graph: ir.Graph, along_columns: ir.Node) -> None:
    along_rows = sole_user(along_columns.outputs[0], "ReduceSum")
    sums = _sums_along(along_columns, _COLUMNS) and _sums_along(along_rows, _ROWS)
    must(sums, "it is no sum by columns that is then summed by rows")
    product = _patch_sums(operand(along_columns, 0))
    # The sum now reads the product, which may stand later in the list: move it and let sorting mend the rest.
    graph.remove(along_rows)
    graph.insert_after(product, along_rows)
    write = Writer(graph, along_rows.name)
    write("", "ReduceSum", product.outputs[0], write.constant("axes", [_ROWS, _COLUMNS]), keepdims=1)
    write.replace(along_columns, along_rows)


def _sums_along(node: ir.Node, wanted: int) -> bool:
    """Whether the node sums a (B,C,H,W) tensor along one axis, which it keeps."""
    return [int(axis) % 4 for axis in constant_input(node, 1)] == [wanted] and attribute(node, "keepdims", 1) == 1


def _patch_sums(x: ir.Value) -> ir.Node:
    """The node of R @ (x @ C) with memberships that cover every pixel once."""
    for use in x.uses():
        columns = constant(use.node.inputs[1]) if use.node.op_type == "MatMul" and use.idx == 0 else None
        if columns is None or not (columns.ndim == 2 and np.array_equal(columns.sum(1), np.ones(len(columns)))):
            continue
        for outer in use.node.outputs[0].uses():
            rows = constant(outer.node.inputs[0]) if outer.node.op_type == "MatMul" and outer.idx == 1 else None
            if rows is not None and rows.ndim == 2 and np.array_equal(rows.sum(0), np.ones(rows.shape[1])):
                return outer.node
    raise Left(f"no sums of patches of {x.name} that cover every pixel once")
