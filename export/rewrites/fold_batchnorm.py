"""Batch norms with fixed statistics are affine per channel: they fold into the convolution before them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from harmonyrt.export.rewrites import graph_tools as tools
from harmonyrt.export.rewrites.graph_tools import add_constant, attribute, constant_input, must

_OUTPUT_AXIS = {"Conv": 0, "ConvTranspose": 1}


def apply(model: ir.Model) -> int:
    """Conv or ConvTranspose -> BatchNormalization becomes one convolution."""
    return tools.rewrite_each(model, {"BatchNormalization"}, _fold)


def _fold(graph: ir.Graph, norm: ir.Node) -> None:
    feature = tools.operand(norm, 0)
    conv = tools.maker(feature, *_OUTPUT_AXIS)
    tools.sole_user(feature, "BatchNormalization")
    must(attribute(conv, "group", 1) == 1, "the convolution has groups")
    must(not attribute(norm, "training_mode", 0), "its statistics are not fixed")
    scale, shift, mean, variance = (constant_input(norm, slot).astype(np.float64) for slot in range(1, 5))
    weight = constant_input(conv, 1)
    bias = constant_input(conv, 2) if tools.given(conv, 2) else np.float32(0)
    factor = scale / np.sqrt(variance + attribute(norm, "epsilon", 1e-5))
    factor = np.where(np.isfinite(factor), factor, 0.0)  # an infinite variance is a constant channel
    along = [1] * weight.ndim
    along[_OUTPUT_AXIS[conv.op_type]] = -1
    folded = (weight * factor.reshape(along)).astype(np.float32)
    inputs = [
        conv.inputs[0],
        add_constant(graph, f"{tools.operand(conv, 1).name}.folded", folded),
        add_constant(graph, f"{conv.name}.bias.folded", ((bias - mean) * factor + shift).astype(np.float32)),
    ]
    tools.put_in_place(graph, [conv, norm], [ir.node(conv.op_type, inputs, conv.attributes, name=conv.name)])
