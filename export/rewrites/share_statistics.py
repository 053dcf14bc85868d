"""Sums over a whole picture from the sums of its patches, where both are wanted: one pass over the pixels less.

The patches of a grid cover every pixel once, so that the sum of their sums is the picture's.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from harmonyrt.export.rewrites.graph_tools import add_constant, attribute, constant, put_in_place, sole_user

_ROWS, _COLUMNS = 2, 3


def apply(model: ir.Model) -> int:
    """The sum of x by columns, then by rows, beside R @ (x @ C), becomes the sum of the product."""
    sums = [node for node in model.graph if _sums_along(node, _COLUMNS)]
    return sum(_share(model.graph, node) for node in sums)


def _share(graph: ir.Graph, along_columns: ir.Node) -> bool:
    along_rows = sole_user(along_columns.outputs[0], "ReduceSum")
    if along_rows is None or not _sums_along(along_rows, _ROWS):
        return False
    patches = _patch_sums(along_columns.inputs[0])
    if patches is None:
        return False
    axes = add_constant(graph, f"{along_rows.name}.axes", np.array([_ROWS, _COLUMNS], np.int64))
    total = ir.node("ReduceSum", [patches, axes], {"keepdims": 1}, name=along_rows.name)
    _move_behind(graph, patches.producer(), along_rows)
    put_in_place(graph, [along_columns, along_rows], [total])
    return True


def _sums_along(node: ir.Node, wanted: int) -> bool:
    """Whether the node sums a (B,C,H,W) tensor along one axis, which it keeps."""
    axes = constant(node.inputs[1]) if node.op_type == "ReduceSum" and len(node.inputs) > 1 else None
    return axes is not None and [int(axis) % 4 for axis in axes] == [wanted] and attribute(node, "keepdims", 1) == 1


def _patch_sums(x: ir.Value) -> ir.Value | None:
    """R @ (x @ C), if some node computes it with memberships that cover every pixel once."""
    for use in x.uses():
        columns = constant(use.node.inputs[1]) if use.node.op_type == "MatMul" and use.idx == 0 else None
        if columns is None or not (columns.ndim == 2 and np.array_equal(columns.sum(1), np.ones(len(columns)))):
            continue
        for outer in use.node.outputs[0].uses():
            rows = constant(outer.node.inputs[0]) if outer.node.op_type == "MatMul" and outer.idx == 1 else None
            if rows is not None and rows.ndim == 2 and np.array_equal(rows.sum(0), np.ones(rows.shape[1])):
                return outer.node.outputs[0]
    return None


def _move_behind(graph: ir.Graph, first: ir.Node, second: ir.Node) -> None:
    """The sum now reads the product, which may stand later in the list: move it and let sorting mend the rest."""
    graph.remove(second)
    graph.insert_after(first, second)
