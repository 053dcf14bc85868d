"""Batch norms with fixed statistics are affine per channel: they fold into the convolution before them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from harmonyrt.export.rewrites.graph_tools import add_constant, attribute, constant, put_in_place

_OUTPUT_AXIS = {"Conv": 0, "ConvTranspose": 1}


def apply(model: ir.Model) -> int:
    """Conv or ConvTranspose -> BatchNormalization becomes one convolution."""
    return sum(_fold(model.graph, node) for node in list(model.graph) if node.op_type == "BatchNormalization")


def _fold(graph: ir.Graph, norm: ir.Node) -> bool:
    conv = norm.inputs[0].producer()
    if conv is None or conv.op_type not in _OUTPUT_AXIS or len(norm.inputs[0].uses()) != 1:
        return False
    if attribute(conv, "group", 1) != 1 or attribute(norm, "training_mode", 0) or norm.inputs[0].is_graph_output():
        return False
    parameters = [constant(value) for value in norm.inputs[1:5]]
    weight = constant(conv.inputs[1])
    bias_value = conv.inputs[2] if len(conv.inputs) > 2 else None
    bias = np.float32(0) if bias_value is None else constant(bias_value)
    if weight is None or bias is None or any(p is None for p in parameters):
        return False
    scale, shift, mean, variance = (p.astype(np.float64) for p in parameters)
    factor = scale / np.sqrt(variance + attribute(norm, "epsilon", 1e-5))
    factor = np.where(np.isfinite(factor), factor, 0.0)  # an infinite variance is a constant channel
    along = [1] * weight.ndim
    along[_OUTPUT_AXIS[conv.op_type]] = -1
    folded = ir.node(
        conv.op_type,
        [
            conv.inputs[0],
            add_constant(graph, f"{conv.inputs[1].name}.folded", (weight * factor.reshape(along)).astype(np.float32)),
            add_constant(graph, f"{conv.name}.bias.folded", ((bias - mean) * factor + shift).astype(np.float32)),
        ],
        conv.attributes,
        name=conv.name,
    )
    put_in_place(graph, [conv, norm], [folded])
    return True
