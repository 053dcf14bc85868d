"""Casts where islands and low precision meet: one for each tensor, shared by all that read it."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

FLOAT = ir.DataType.FLOAT


def cast_boundaries(graph: ir.Graph, low: Collection[ir.Node], low_type: ir.DataType) -> None:
    """Make the graph consistent in its types: the nodes in `low` read and write `low_type`, all others FP32.

    Graph inputs and outputs stay FP32. No tensor is cast twice to one type, and none is cast back: an FP32 reader of an
    FP32 tensor keeps reading that tensor.

    Args:
        graph: changed in place; types are inferred, and initializers are in their final types already. What is not FP32
            (shapes, indices) is left alone.
        low: nodes that compute in low precision.
        low_type: element type of theirs.
    """
    casts: dict[ir.Value, ir.Value] = {}
    for node in list(graph):
        wanted = low_type if node in low else FLOAT
        for slot, value in enumerate(node.inputs):
            if value is None or value.is_initializer() or value.dtype in (None, wanted):
                continue
            if value.dtype not in (FLOAT, low_type):
                continue
            if value not in casts:  # a tensor has one type, so it is only ever cast to the other one
                made = cast(value, wanted, f"{value.name}_{wanted.name.lower()}")
                graph.insert_before(node, made)
                casts[value] = made.outputs[0]
            node.replace_input_with(slot, casts[value])
        for output in node.outputs:
            if node in low and output.dtype == FLOAT:
                assert not output.is_graph_output(), f"{output.name}: mark_islands keeps its node in an island"
                output.type = ir.TensorType(low_type)  # a type's own dtype is shared with the graph's copies


def cast(value: ir.Value, kind: ir.DataType, name: str) -> ir.Node:
    """A Cast whose output has that type and name."""
    node = ir.node("Cast", [value], {"to": kind}, name=f"cast_{name}")
    output = node.outputs[0]
    output.name, output.shape, output.type = name, value.shape, ir.TensorType(kind)
    return node
