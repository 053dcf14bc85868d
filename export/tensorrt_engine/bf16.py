"""BF16 transposed convolutions as convolutions, for TensorRT for RTX.

TensorRT for RTX 1.7.1 compiles no BF16 transposed convolution ("Could not infer output types for operation: deconv").
One of stride 2, kernel 4 and padding 1 is four interleaved convolutions of kernel 2: every output pixel sees two of the
four taps in each direction, which two depends on whether its index is even. The work is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

REWRITE = "bf16-transposed-as-phases"
_TAPS = {0: ([3, 1], (1, 0)), 1: ([2, 0], (0, 1))}
"""For even and odd outputs: which taps they see, first input first, and the padding (before, after)."""


BF16 = 16
"""ONNX's number for BF16."""


def without_bf16_transposed(model: onnx.ModelProto, element_type: int = BF16) -> onnx.ModelProto:
    """Replace every ConvTranspose of that type with kernel 4, stride 2 and padding 1; others stay as they are."""
    import onnx
    from onnx import helper

    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(model)
    graph = rewritten.graph
    weights = {t.name: t for t in graph.initializer}
    nodes = []
    for node in graph.node:
        weight = weights.get(node.input[1]) if node.op_type == "ConvTranspose" else None
        if weight is None or weight.data_type != element_type or not _matches(node, weight):
            nodes.append(node)
            continue
        phases = []
        for row in (0, 1):
            for column in (0, 1):
                name = f"{node.name or node.output[0]}/phase_{row}{column}"
                graph.initializer.append(_phase_weight(weight, row, column, name))
                pads = [_TAPS[row][1][0], _TAPS[column][1][0], _TAPS[row][1][1], _TAPS[column][1][1]]
                inputs = [node.input[0], f"{name}/weight", *node.input[2:3]]
                nodes.append(helper.make_node("Conv", inputs, [name], name=name, kernel_shape=[2, 2], pads=pads))
                phases.append(name)
        together = f"{node.name or node.output[0]}/phases"
        nodes.append(helper.make_node("Concat", phases, [together], name=together, axis=1))
        spread = f"{node.name or node.output[0]}/interleave"
        nodes.append(helper.make_node("DepthToSpace", [together], list(node.output), name=spread, blocksize=2))
    del graph.node[:]
    graph.node.extend(nodes)
    return rewritten


def _matches(node: onnx.NodeProto, weight: onnx.TensorProto) -> bool:
    from onnx import helper

    settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return (
        list(weight.dims[2:]) == [4, 4]
        and list(settings.get("strides", [1, 1])) == [2, 2]
        and list(settings.get("pads", [0] * 4)) == [1] * 4
        and settings.get("group", 1) == 1
        and not any(settings.get("output_padding", [0]))
        and list(settings.get("dilations", [1, 1])) == [1, 1]
    )


def _phase_weight(weight: onnx.TensorProto, row: int, column: int, name: str) -> onnx.TensorProto:
    """(inputs, outputs, 4, 4) -> (outputs, inputs, 2, 2), bits unchanged."""
    import numpy as np
    import onnx

    values = onnx.numpy_helper.to_array(weight)
    phase = values[:, :, _TAPS[row][0]][:, :, :, _TAPS[column][0]].transpose(1, 0, 2, 3)
    tensor = onnx.TensorProto(name=f"{name}/weight", data_type=weight.data_type, dims=phase.shape)
    tensor.raw_data = np.ascontiguousarray(phase).tobytes()
    return tensor
