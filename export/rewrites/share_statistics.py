"""Sums over a whole picture from the sums of its patches, where both are wanted: one pass over the pixels less.

The patches of a grid cover every pixel once, so that the sum of their sums is the picture's.
"""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from harmonyrt.export.rewrites.graph_tools import add_constant, attribute, constant, put_in_place


def apply(model: ir.Model) -> int:
    """ReduceSum or ReduceMean of x, beside R @ (x @ C), becomes a reduction of the product."""
    reductions = [node for node in model.graph if node.op_type in ("ReduceSum", "ReduceMean")]
    return sum(_share(model.graph, node) for node in reductions)


def _share(graph: ir.Graph, node: ir.Node) -> bool:
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if axes is None or sorted(int(axis) % 4 for axis in axes) != [2, 3] or attribute(node, "keepdims", 1) != 1:
        return False
    patches = _patch_sums(node.inputs[0])
    if patches is None:
        return False
    pixels, sums = patches
    total = ir.node("ReduceSum", [sums, node.inputs[1]], {"keepdims": 1}, name=f"{node.name}_of_patches")
    new = [total]
    if node.op_type == "ReduceMean":
        total.outputs[0].name = total.name
        share = add_constant(graph, f"{node.name}.share", np.float32(1 / pixels))
        new.append(ir.node("Mul", [total.outputs[0], share], name=node.name))
    _move_behind(graph, sums.producer(), node)
    put_in_place(graph, [node], new)
    return True


def _patch_sums(x: ir.Value) -> tuple[int, ir.Value] | None:
    """The number of pixels and R @ (x @ C), if some node computes it with memberships that cover every pixel once."""
    for use in x.uses():
        columns = constant(use.node.inputs[1]) if use.node.op_type == "MatMul" and use.idx == 0 else None
        if columns is None or not (columns.ndim == 2 and np.array_equal(columns.sum(1), np.ones(len(columns)))):
            continue
        for outer in use.node.outputs[0].uses():
            rows = constant(outer.node.inputs[0]) if outer.node.op_type == "MatMul" and outer.idx == 1 else None
            if rows is not None and rows.ndim == 2 and np.array_equal(rows.sum(0), np.ones(rows.shape[1])):
                return prod((rows.shape[1], columns.shape[0])), outer.node.outputs[0]
    return None


def _move_behind(graph: ir.Graph, first: ir.Node, second: ir.Node) -> None:
    """The reduction now reads the product, which may stand later in the list: move it and let sorting mend the rest."""
    graph.remove(second)
    graph.insert_after(first, second)
