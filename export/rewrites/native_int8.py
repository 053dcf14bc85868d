"""Convolutions as the INT8 operator of runtime/native: Winograd's products in 8 bits, without calibration.

``QuantizedConvolution`` of the domain ``harmonyrt`` takes FP32 and gives FP32. It quantizes each position of each tile
of each picture as it comes (runtime/native/src/quantized.h), so that there are no ranges to find; weights are int8 with
a scale per output. A gated source (squeeze-and-excitation) is given with its gates, which cost no pass of their own.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx_ir as ir

from harmonyrt.export.rewrites import graph_tools as tools
from harmonyrt.export.rewrites import native
from harmonyrt.export.rewrites.graph_tools import Left, Writer, attribute, must, operand, sole_user
from harmonyrt.export.rewrites.native import Weights

OPERATOR = "QuantizedConvolution"
FEWEST = (16, 16)
"""Inputs and outputs: less than pays in FP32. The engine's own convolutions would have their neighbours in another
layout, and to change it costs more than the convolution."""
_STEPS = 127
_TOGETHER = 4
"""Channels that one product adds up: a gated source has a multiple of it."""


def apply(model: ir.Model, in_float: Collection[str] = ()) -> int:
    """The convolutions that :mod:`harmonyrt.export.rewrites.native` takes, narrower ones too, without gates in their
    weights.

    Args:
        model: changed in place.
        in_float: names of convolutions that are left as they are.

    Returns:
        How many convolutions are INT8 now.
    """

    def convolution(graph: ir.Graph, node: ir.Node) -> None:
        must(node.name not in in_float, "it stays FP32 for the picture's sake")
        native.convolution(graph, node, _write, FEWEST)

    def transposed(graph: ir.Graph, node: ir.Node) -> None:
        must(node.name not in in_float, "it stays FP32 for the picture's sake")
        native.transposed(graph, node, _write, FEWEST)

    def gated(graph: ir.Graph, node: ir.Node) -> None:
        _gated(graph, node, in_float)

    places = tools.rewrite_each(model, {"Mul"}, gated)
    places += tools.rewrite_each(model, {"ConvTranspose"}, transposed)
    places += tools.rewrite_each(model, {"Conv"}, convolution)
    if places:
        model.opset_imports[native.DOMAIN] = 1
    return places


def is_quantized(node: ir.Node) -> bool:
    """Whether a node is a convolution that this pass wrote."""
    return node.op_type == OPERATOR and node.domain == native.DOMAIN


def quantized(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(O,C,k,k) -> int8 of the same shape, and what to multiply each output with; weights of nothing have scale 0."""
    scales = np.abs(weight).max((1, 2, 3)) / _STEPS
    steps = np.divide(weight, scales[:, None, None, None], out=np.zeros_like(weight), where=weight != 0)
    return np.rint(steps).astype(np.int8), scales.astype(np.float32)


def _gated(graph: ir.Graph, gated: ir.Node, in_float: Collection[str]) -> None:
    """Mul(x, s) -> Concat with x -> Conv: the operator reads x and s."""
    concat = sole_user(gated.outputs[0], "Concat")
    must(
        len(concat.inputs) == 2 and attribute(concat, "axis", None) in (1, -3), "it does not join two sets of channels"
    )
    conv = sole_user(concat.outputs[0], "Conv")
    must(conv.name not in in_float, "its convolution stays FP32")
    must(conv.inputs[0] is concat.outputs[0], "the convolution reads it as weights")
    position = list(concat.inputs).index(gated.outputs[0])
    feature = operand(concat, 1 - position)
    must(feature in gated.inputs, "what it gates is not what it is joined with")
    gate = next((value for value in gated.inputs if value is not feature), None)
    batch, inputs = tools.known_shape(feature)[:2]
    must(gate is not None and list(gate.shape or ()) == [batch, inputs, 1, 1], "not one factor per picture and channel")
    must(inputs % _TOGETHER == 0, f"its channels are no multiple of {_TOGETHER}")

    def write(
        writer: Writer, what: str, _: ir.Value, weights: Weights, pads: tuple[int, int], size: tuple[int, int],
        **fields: Any,
    ) -> ir.Value:  # fmt: skip
        must(weights.gated is None, "its weights are gated as well")
        halves = np.split(weights.plain, 2, axis=1)
        ordered = np.concatenate([halves[position], halves[1 - position]], axis=1)
        return _write(writer, what, feature, Weights(ordered, weights.bias), pads, size, gate=gate, **fields)

    strides = list(attribute(conv, "strides", [1, 1]))
    must(strides == [1, 1], "the convolution has a stride")  # it would read pairs of pixels of both
    native.convolution(graph, conv, write, FEWEST)
    graph.remove([concat, gated], safe=True)


def _write(
    write: Writer, what: str, source: ir.Value, weights: Weights, pads: tuple[int, int], size: tuple[int, int],
    gate: ir.Value | None = None, **fields: Any,
) -> ir.Value:  # fmt: skip
    if weights.gated is not None:
        raise Left("its weights are computed for each picture")
    steps, scales = quantized(weights.plain)
    inputs = [
        source,
        write.constant(f"{what}weights", native.packed(steps)),
        write.constant(f"{what}scales", scales),
        write.constant(f"{what}bias", weights.bias),
        *([] if gate is None else [gate]),
    ]
    return native.write_operator(OPERATOR, write, what, inputs, weights.plain.shape, pads, size, fields)
