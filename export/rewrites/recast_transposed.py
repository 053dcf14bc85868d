"""A transposed convolution of kernel 4 and stride 2 as one convolution of kernel 2 and a depth-to-space.

Each of the four output phases is a 2x2 convolution of the input: even rows read x[t-1] and x[t], odd ones x[t] and
x[t+1]. One convolution of the padded input computes all four; each phase is cut out where it belongs.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from harmonyrt.export.rewrites.graph_tools import (
    Writer,
    attribute,
    constant_input,
    given,
    known_shape,
    must,
    operand,
    rewrite_each,
)

_TAPS = ((3, 1), (2, 0))  # of the kernel of 4, for even and odd outputs
PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))
"""(row, column) of an output pixel, even or odd each."""


def apply(model: ir.Model) -> int:
    """ConvTranspose 4x4, stride 2, padding 1 becomes Conv 2x2 and DepthToSpace."""
    return rewrite_each(model, {"ConvTranspose"}, _recast)


def phase_kernels(node: ir.Node) -> list[np.ndarray]:
    """The kernels (outputs, inputs, 2, 2) of a transposed convolution's :data:`PHASES`, bits unchanged.

    Raises:
        Left: its weights are computed, or it is not of kernel 4, stride 2 and padding 1.
    """
    weight = constant_input(node, 1)
    fits = weight.shape[2:] == (4, 4) and tuple(attribute(node, "strides", ())) == (2, 2)
    fits = fits and tuple(attribute(node, "pads", ())) == (1, 1, 1, 1)
    plain = attribute(node, "group", 1) == 1 and tuple(attribute(node, "dilations", (1, 1))) == (1, 1)
    must(fits, "its kernel, stride and padding are not 4, 2 and 1")
    must(plain and not any(attribute(node, "output_padding", [0])), "it has groups, dilations or an output padding")
    return [weight[:, :, _TAPS[a], :][:, :, :, _TAPS[b]].swapaxes(0, 1) for a, b in PHASES]


def _recast(graph: ir.Graph, node: ir.Node) -> None:
    kernels, shape = phase_kernels(node), known_shape(operand(node, 0))
    height, width, outputs = *shape[2:], len(kernels[0])
    write = Writer(graph, str(node.name).replace("ConvTranspose", "Conv"))
    inputs = [node.inputs[0], write.constant("phases", np.concatenate(kernels))]
    inputs += [write.constant("bias.phases", np.tile(constant_input(node, 2), 4))] if given(node, 2) else []
    convolved = write("", "Conv", *inputs, kernel_shape=[2, 2], pads=[1, 1, 1, 1], strides=[1, 1])
    axes = write.constant("axes", [1, 2, 3])
    cuts = []
    for number, (a, b) in enumerate(PHASES):
        starts, ends = (number * outputs, a, b), ((number + 1) * outputs, a + height, b + width)
        bounds = write.constant("starts", starts), write.constant("ends", ends)
        cuts.append(write(f"Slice_{number}", "Slice", convolved, *bounds, axes))
    write("DepthToSpace", "DepthToSpace", write("Concat", "Concat", *cuts, axis=1), blocksize=2, mode="DCR")
    write.replace(node)
