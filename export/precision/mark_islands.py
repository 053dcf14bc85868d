"""Which nodes compute in low precision; all others are islands that stay in FP32."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

COMPUTE = frozenset({"Conv", "ConvTranspose"})
"""Where the time goes (98 % of PHNet): everything else in low precision would save nothing and lose range."""

ACTIVATIONS = frozenset({"Relu", "LeakyRelu", "Identity"})
MOVES = frozenset({"Concat", "Reshape", "Transpose", "DepthToSpace", "SpaceToDepth", "Slice", "Pad", "Split"})
FINISHERS = ACTIVATIONS | MOVES
"""Activations and movement of data: exact in any type, so they follow their neighbours."""

ARITHMETIC = frozenset({"Mul", "Add"})
REDUCTIONS = frozenset({"ReduceMax", "ReduceMean", "ReduceSum", "ReduceMin", "GlobalAveragePool", "GlobalMaxPool"})


def is_convolution(node: ir.Node) -> bool:
    """The default of what leaves FP32."""
    return node.op_type in COMPUTE


def low_precision_nodes(graph: ir.Graph, computes: Callable[[ir.Node], bool] = is_convolution) -> set[ir.Node]:
    """Decide what leaves FP32.

    Convolutions do, except those that only feed a statistic (PHNet's PFE head: 0.1 % of the work, and its maximum is
    all that the network sees). A cheap node joins when it only finishes a convolution, or when all its readers are in
    low precision and no FP32 arithmetic hangs on it. Means, variances, norms, divisions, square roots, patch sums and
    the arithmetic between them stay.

    Args:
        graph: FP32.
        computes: whether a node is one of those that leave FP32 for the time that it saves.

    Returns:
        The nodes that compute in low precision.
    """
    low = {node for node in graph if computes(node) and not _only_measured(node)}
    before = -1
    while len(low) != before:
        before = len(low)
        low |= {node for node in graph if node not in low and _joins(node, low)}
    return low


def _readers(node: ir.Node) -> list[ir.Node]:
    return [reader for output in node.outputs for reader in output.consumers()]


def _makes_result(node: ir.Node) -> bool:
    return any(output.is_graph_output() for output in node.outputs)


def _only_measured(node: ir.Node) -> bool:
    """Whether the node's result reaches nothing but reductions, through activations at most."""
    readers = _readers(node)
    if _makes_result(node) or not readers:
        return False
    return all(
        reader.op_type in REDUCTIONS or (reader.op_type in FINISHERS and _only_measured(reader)) for reader in readers
    )


def _joins(node: ir.Node, low: set[ir.Node]) -> bool:
    """Whether a node that is in FP32 now would rather be in low precision."""
    if _makes_result(node) or node.op_type not in FINISHERS | ARITHMETIC:
        return False
    readers = _readers(node)
    feeds_only_low = bool(readers) and low.issuperset(readers)
    if node.op_type in ARITHMETIC:  # joins where an operand is in low precision anyway: a weight, a shared cast
        return feeds_only_low and any(_at_hand_in_low(value, node, low) for value in node.inputs)
    return feeds_only_low or (node.op_type != "Concat" and _made_low(node.inputs[0], low))


def _made_low(value: ir.Value | None, low: set[ir.Node]) -> bool:
    return value is not None and value.producer() in low


def _at_hand_in_low(value: ir.Value | None, node: ir.Node, low: set[ir.Node]) -> bool:
    if value is None:
        return False
    others = (reader for reader in value.consumers() if reader is not node)
    return value.is_initializer() or _made_low(value, low) or any(other in low for other in others)
