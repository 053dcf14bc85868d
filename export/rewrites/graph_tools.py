"""What every rewrite needs: to look at a place and say why it is left, and new nodes in the place of old ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

AT_LOAD = ".at_load"
"""Ends the name of a node whose inputs are constant and which engines should fold, not we: it would make files grow."""
_logger = logging.getLogger("harmonyrt.export.rewrites")


class Left(Exception):
    """A place that does not match; the message says why. Raised before the place is changed."""


def must(condition: object, otherwise: str) -> None:
    """Leave the place unless the condition holds; `otherwise` says why."""
    if not condition:
        raise Left(otherwise)


def rewrite_each(model: ir.Model, op_types: Collection[str], rewrite: Callable[[ir.Graph, ir.Node], None]) -> int:
    """Rewrite every node of some types.

    Args:
        model: changed in place.
        op_types: of the nodes to look at.
        rewrite: changes the graph, or raises :class:`Left` before it does.

    Returns:
        How many nodes were rewritten. Why others were left is logged: `harmonyrt build --verbose` shows it.
    """
    name, places = str(rewrite.__module__).rpartition(".")[2].replace("_", "-"), 0
    for node in [node for node in model.graph if node.op_type in op_types]:
        if node.graph is None:  # replaced together with an earlier one
            continue
        try:
            rewrite(model.graph, node)
            places += 1
        except Left as why:
            _logger.info("%s leaves %s as it is: %s", name, node.name or node.outputs[0].name, why)
    return places


def given(node: ir.Node, slot: int) -> bool:
    """Whether a node has an input there."""
    return len(node.inputs) > slot and node.inputs[slot] is not None


def operand(node: ir.Node, slot: int) -> ir.Value:
    """An input; the place is left if there is none."""
    value = node.inputs[slot] if len(node.inputs) > slot else None
    if value is None:
        raise Left(f"{node.op_type} has no input {slot}")
    return value


def constant(value: ir.Value | None) -> np.ndarray | None:
    """The array of an initializer, None for anything that is computed."""
    if value is None or value.const_value is None or not value.is_initializer():
        return None
    return value.const_value.numpy()


def constant_input(node: ir.Node, slot: int) -> np.ndarray:
    """The array of an input; the place is left if it is computed."""
    array = constant(operand(node, slot))
    if array is None:
        raise Left(f"input {slot} of {node.op_type} is computed")
    return array


def known_shape(value: ir.Value) -> tuple[int, ...]:
    """The shape of a value; the place is left if a part of it is not known."""
    shape = tuple(side for side in value.shape or () if isinstance(side, int))
    must(value.shape is not None and len(shape) == len(value.shape), f"the size of {value.name} is not known")
    return shape


def attribute(node: ir.Node, name: str, default: Any) -> Any:
    """An attribute's value, or the operator's default where the node does not say."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def strides_or_dilates(node: ir.Node) -> bool:
    """Whether a convolution has a stride or a dilation other than 1."""
    return any(step != 1 for name in ("strides", "dilations") for step in attribute(node, name, [1]))


def sole_user(value: ir.Value, op_type: str) -> ir.Node:
    """The one node that reads a value; the place is left if it is of another type, or something else reads it too."""
    users = value.uses()
    must(len(users) == 1 and not value.is_graph_output(), f"{value.name} has no single reader")
    node = next(iter(users)).node
    must(node.op_type == op_type, f"the reader of {value.name} is no {op_type}")
    return node


def maker(value: ir.Value, *op_types: str) -> ir.Node:
    """The node that computes a value; the place is left if it is of no such type."""
    node = value.producer()
    if node is None or node.op_type not in op_types:
        raise Left(f"{value.name} is not made by {' or '.join(op_types)}")
    return node


def add_constant(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """A new initializer; the name is made unique."""
    array, unique, number = np.asarray(array, order="C"), name, 2
    while unique in graph.initializers:
        unique, number = f"{name}_{number}", number + 1
    tensor = ir.tensor(array, name=unique)
    value = ir.Value(name=unique, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape))
    graph.register_initializer(value)
    return value


class Writer:
    """Collects the nodes that take the place of others.

    Args:
        graph: receives them.
        base: begins the name of every node and constant.
    """

    def __init__(self, graph: ir.Graph, base: str | None) -> None:
        self.graph, self.base = graph, base
        self.nodes: list[ir.Node] = []

    def constant(self, what: str, values: Any) -> ir.Value:
        """A new initializer; float64 becomes float32."""
        array = np.asarray(values)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        return add_constant(self.graph, f"{self.base}.{what}", array)

    def __call__(self, what: str, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """A new node, named ``base/what``, or ``base`` if `what` is empty; returns its output."""
        node = ir.node(op_type, inputs, attributes, name=f"{self.base}/{what}".rstrip("/"))
        node.outputs[0].name = node.name
        self.nodes.append(node)
        return node.outputs[0]

    def reshape(self, what: str, value: ir.Value, *shape: int) -> ir.Value:
        """A Reshape."""
        return self(what, "Reshape", value, self.constant(f"{what}.shape", shape))

    def replace(self, *old: ir.Node) -> None:
        """Put what was written in the place of nodes, as :func:`put_in_place` does."""
        put_in_place(self.graph, old, self.nodes)


def put_in_place(graph: ir.Graph, old: Sequence[ir.Node], new: Sequence[ir.Node]) -> None:
    """Replace nodes: the last new node's output takes the place of the last old node's, whose name it keeps."""
    before, after = old[-1].outputs[0], new[-1].outputs[0]
    after.name, after.shape, after.type = before.name, before.shape, before.type
    graph.insert_before(old[-1], new)
    before.replace_all_uses_with(after, replace_graph_outputs=True)
    graph.remove(list(reversed(old)), safe=True)
