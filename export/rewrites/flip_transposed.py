"""A transposed convolution of stride 1 is a convolution with the kernel flipped in space and its axes swapped."""

from __future__ import annotations

import onnx_ir as ir

from harmonyrt.export.rewrites.graph_tools import add_constant, attribute, constant, put_in_place


def apply(model: ir.Model) -> int:
    """ConvTranspose of stride 1 becomes Conv."""
    return sum(_flip(model.graph, node) for node in list(model.graph) if node.op_type == "ConvTranspose")


def _flip(graph: ir.Graph, node: ir.Node) -> bool:
    weight = constant(node.inputs[1])
    if weight is None or weight.ndim != 4 or attribute(node, "group", 1) != 1:
        return False
    if any(step != 1 for name in ("strides", "dilations") for step in attribute(node, name, [1])):
        return False
    if any(attribute(node, "output_padding", [0])) or node.attributes.get("output_shape"):
        return False
    if attribute(node, "auto_pad", "NOTSET") != "NOTSET":
        return False
    kernel = weight.shape[2:]
    pads = attribute(node, "pads", [0, 0, 0, 0])
    mirrored = [side - 1 - pad for side, pad in zip(kernel * 2, pads, strict=True)]
    if min(mirrored) < 0:
        return False
    flipped = weight[:, :, ::-1, ::-1].swapaxes(0, 1)
    inputs = [node.inputs[0], add_constant(graph, f"{node.inputs[1].name}.flipped", flipped), *node.inputs[2:]]
    attributes = {"pads": mirrored, "kernel_shape": list(kernel), "strides": [1, 1]}
    put_in_place(graph, [node], [ir.node("Conv", inputs, attributes, name=node.name.replace("ConvTranspose", "Conv"))])
    return True
