"""What every rewrite needs: constants in, constants out, and one node put in the place of others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

AT_LOAD = ".at_load"
"""Ends the name of a node whose inputs are constant and which engines should fold, not we: it would make files grow."""


def constant(value: ir.Value | None) -> np.ndarray | None:
    """The array of an initializer, None for anything that is computed."""
    if value is None or value.const_value is None or not value.is_initializer():
        return None
    return value.const_value.numpy()


def add_constant(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """A new initializer; the name is made unique."""
    unique, number = name, 2
    while unique in graph.initializers:
        unique, number = f"{name}_{number}", number + 1
    tensor = ir.tensor(np.ascontiguousarray(array), name=unique)
    value = ir.Value(name=unique, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=tensor.shape)
    graph.register_initializer(value)
    return value


def attribute(node: ir.Node, name: str, default):
    """An attribute's value, or the operator's default where the node does not say."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def sole_user(value: ir.Value, op_type: str) -> ir.Node | None:
    """The one node that reads a value, if it is of this type and nobody else reads it."""
    users = value.uses()
    if len(users) != 1 or value.is_graph_output():
        return None
    node = next(iter(users)).node
    return node if node.op_type == op_type else None


def put_in_place(graph: ir.Graph, old: Sequence[ir.Node], new: Sequence[ir.Node]) -> None:
    """Replace nodes: the last new node's output takes the place of the last old node's, whose name it keeps."""
    before, after = old[-1].outputs[0], new[-1].outputs[0]
    after.name, after.shape, after.type = before.name, before.shape, before.type
    graph.insert_before(old[-1], new)
    before.replace_all_uses_with(after, replace_graph_outputs=True)
    graph.remove(list(reversed(old)), safe=True)
