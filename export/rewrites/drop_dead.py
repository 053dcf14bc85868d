"""Biases that nothing can see: a constant per channel before an instance norm is part of the mean it subtracts."""

from __future__ import annotations

import onnx_ir as ir

from harmonyrt.export.rewrites.graph_tools import operand, rewrite_each, sole_user


def apply(model: ir.Model) -> int:
    """Conv(x, w, b) -> InstanceNormalization loses b."""
    return rewrite_each(model, {"Conv"}, _drop)


def _drop(graph: ir.Graph, node: ir.Node) -> None:
    operand(node, 2)
    sole_user(node.outputs[0], "InstanceNormalization")
    node.replace_input_with(2, None)
    node.resize_inputs(2)
