"""A transposed convolution of stride 1 is a convolution with the kernel flipped in space and its axes swapped."""

from __future__ import annotations

import onnx_ir as ir

from harmonyrt.export.rewrites import graph_tools as tools
from harmonyrt.export.rewrites.graph_tools import attribute, must


def apply(model: ir.Model) -> int:
    """ConvTranspose of stride 1 becomes Conv."""
    return tools.rewrite_each(model, {"ConvTranspose"}, _flip)


def _flip(graph: ir.Graph, node: ir.Node) -> None:
    weight = tools.constant_input(node, 1)
    must(weight.ndim == 4 and attribute(node, "group", 1) == 1, "it has groups, or not two dimensions")
    must(not tools.strides_or_dilates(node), "it strides or dilates")
    sized = any(attribute(node, "output_padding", [0])) or node.attributes.get("output_shape")
    must(not sized and attribute(node, "auto_pad", "NOTSET") == "NOTSET", "its output's size is not that of its pads")
    kernel = weight.shape[2:]
    pads = attribute(node, "pads", [0, 0, 0, 0])
    mirrored = [side - 1 - pad for side, pad in zip(kernel * 2, pads, strict=True)]
    must(min(mirrored) >= 0, "its pads are larger than its kernel")
    flipped = weight[:, :, ::-1, ::-1].swapaxes(0, 1)
    inputs = [node.inputs[0], tools.add_constant(graph, f"{tools.operand(node, 1).name}.flipped", flipped)]
    attributes = {"pads": mirrored, "kernel_shape": list(kernel), "strides": [1, 1]}
    name = str(node.name).replace("ConvTranspose", "Conv")
    tools.put_in_place(graph, [node], [ir.node("Conv", [*inputs, *node.inputs[2:]], attributes, name=name)])
