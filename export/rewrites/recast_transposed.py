"""A transposed convolution of kernel 4 and stride 2 as one convolution of kernel 2 and a depth-to-space.

Each of the four output phases is a 2x2 convolution of the input: even rows read x[t-1] and x[t], odd ones x[t] and
x[t+1]. One convolution of the padded input computes all four; each phase is cut out where it belongs.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from harmonyrt.export.rewrites.graph_tools import add_constant, attribute, constant, put_in_place

_TAPS = ((3, 1), (2, 0))  # of the kernel of 4, for even and odd outputs


def apply(model: ir.Model) -> int:
    """ConvTranspose 4x4, stride 2, padding 1 becomes Conv 2x2 and DepthToSpace."""
    return sum(_recast(model.graph, node) for node in list(model.graph) if node.op_type == "ConvTranspose")


def _recast(graph: ir.Graph, node: ir.Node) -> bool:
    weight, shape = constant(node.inputs[1]), node.inputs[0].shape
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if weight is None or weight.shape[2:] != (4, 4) or (bias is None and len(node.inputs) > 2):
        return False
    fits = attribute(node, "strides", None) == (2, 2) and attribute(node, "pads", None) == (1, 1, 1, 1)
    if not fits or attribute(node, "group", 1) != 1 or any(attribute(node, "output_padding", [0])):
        return False
    if shape is None or not all(isinstance(side, int) for side in list(shape)[2:]):
        return False
    height, width = list(shape)[2:]
    outputs = weight.shape[1]
    phases = [(a, b) for a in (0, 1) for b in (0, 1)]
    kernels = [weight[:, :, _TAPS[a], :][:, :, :, _TAPS[b]].swapaxes(0, 1) for a, b in phases]
    inputs = [node.inputs[0], add_constant(graph, f"{node.inputs[1].name}.phases", np.concatenate(kernels))]
    if bias is not None:
        inputs.append(add_constant(graph, f"{node.inputs[2].name}.phases", np.tile(bias, 4)))
    base = node.name.replace("ConvTranspose", "Conv")
    attributes = {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1], "strides": [1, 1]}
    new = [ir.node("Conv", inputs, attributes, name=base)]
    axes = add_constant(graph, f"{base}.axes", np.array([1, 2, 3], np.int64))
    cuts = []
    for number, (a, b) in enumerate(phases):
        starts = np.array([number * outputs, a, b], np.int64)
        ends = starts + np.array([outputs, height, width], np.int64)
        bounds = [add_constant(graph, f"{base}.{name}", array) for name, array in (("starts", starts), ("ends", ends))]
        cuts.append(ir.node("Slice", [new[0].outputs[0], *bounds, axes], name=f"{base}/Slice_{number}"))
    joined = ir.node("Concat", [cut.outputs[0] for cut in cuts], {"axis": 1}, name=f"{base}/Concat")
    spread = ir.node("DepthToSpace", [joined.outputs[0]], {"blocksize": 2, "mode": "DCR"}, name=f"{base}/DepthToSpace")
    new += [*cuts, joined, spread]
    for made in new:
        made.outputs[0].name = made.name
    put_in_place(graph, [node], new)
    return True
