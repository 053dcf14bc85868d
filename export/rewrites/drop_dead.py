"""Biases that nothing can see: a constant per channel before an instance norm is part of the mean it subtracts."""

from __future__ import annotations

import onnx_ir as ir

from harmonyrt.export.rewrites.graph_tools import sole_user


def apply(model: ir.Model) -> int:
    """Conv(x, w, b) -> InstanceNormalization loses b."""
    places = 0
    for node in model.graph:
        if node.op_type != "Conv" or len(node.inputs) < 3 or node.inputs[2] is None:
            continue
        if sole_user(node.outputs[0], "InstanceNormalization") is None:
            continue
        node.replace_input_with(2, None)
        node.resize_inputs(2)
        places += 1
    return places
