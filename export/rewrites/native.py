"""Convolutions as the operator that runtime/native computes on CPUs: Winograd's tiles stay in the cache, not in memory.

``FusedConvolution`` of the domain ``harmonyrt`` takes the bias and the activation along, and gates (gate_fold) as they
are: it applies them to a block of weights as it transforms it. Weights keep their size, in blocks of 16 output channels
(runtime/native/src/winograd.h). Kernels of 4 with stride 2 become kernels of 2, of more channels or in four phases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from harmonyrt.export.rewrites import graph_tools as tools
from harmonyrt.export.rewrites.graph_tools import Left, Writer, attribute, constant_input, must, operand
from harmonyrt.export.rewrites.recast_transposed import PHASES, phase_kernels

DOMAIN = "harmonyrt"
OPERATOR = "FusedConvolution"
FEWEST = (64, 32)
"""Inputs and outputs: below it, the transforms cost as much as the products."""
_OUTPUT_BLOCK = 16
_ACTIVATIONS = {"Relu": 1, "LeakyRelu": 2}
_SLOPE = 0.01  # ONNX's default of LeakyRelu


@dataclass(frozen=True)
class Weights:
    """Of one operator: (outputs, inputs, kernel, kernel) each; with a gate, gated * gate + plain."""

    plain: np.ndarray
    bias: np.ndarray
    gated: np.ndarray | None = None
    gate: ir.Value | None = None


Emit = Callable[..., ir.Value]
"""Writes one operator; takes what :func:`write_fused` takes."""


def apply(model: ir.Model) -> int:
    """Conv 3x3 and 2x2 of stride 1, Conv and ConvTranspose 4x4 of stride 2, with a Relu or LeakyRelu that follows."""
    places = tools.rewrite_each(model, {"ConvTranspose"}, transposed)
    places += tools.rewrite_each(model, {"Conv"}, convolution)
    if places:
        model.opset_imports[DOMAIN] = 1
    return places


def is_fused(node: ir.Node) -> bool:
    """Whether a node is a convolution that this pass wrote."""
    return node.op_type == OPERATOR and node.domain == DOMAIN


def packed(weight: np.ndarray) -> np.ndarray:
    """(O,C,k,k) -> (ceil(O / 16), C, k * k, 16): what the kernel loads at once lies together."""
    outputs, inputs, kernel, _ = weight.shape
    padded = np.zeros((-(-outputs // _OUTPUT_BLOCK) * _OUTPUT_BLOCK, inputs, kernel * kernel), weight.dtype)
    padded[:outputs] = weight.reshape(outputs, inputs, kernel * kernel)
    blocks = padded.reshape(-1, _OUTPUT_BLOCK, inputs, kernel * kernel)
    return np.ascontiguousarray(blocks.transpose(0, 2, 3, 1))


def convolution(
    graph: ir.Graph, node: ir.Node, emit: Emit | None = None, fewest: tuple[int, int] | None = None
) -> None:
    """A Conv of at least `fewest` inputs and outputs; None: as FP32 has it."""
    emit, fewest = emit or write_fused, fewest or FEWEST
    must(attribute(node, "group", 1) == 1, "it has groups")
    must(all(step == 1 for step in attribute(node, "dilations", [1])), "it dilates")
    must(attribute(node, "auto_pad", "NOTSET") == "NOTSET", "it pads itself")
    _, inputs, height, width = tools.known_shape(operand(node, 0))
    outputs, _, kernel, kernel_width = tools.known_shape(operand(node, 1))
    must(inputs >= fewest[0], f"with fewer than {fewest[0]} input channels it gains nothing")
    must(outputs >= fewest[1], f"with fewer than {fewest[1]} output channels it gains nothing")
    must(kernel == kernel_width, "its kernel is not square")
    pads, strides = list(attribute(node, "pads", [0] * 4)), list(attribute(node, "strides", [1, 1]))
    must(all(0 <= pad < kernel for pad in pads), "it pads more than its kernel reaches")
    weights = _weights(node)
    write, source = Writer(graph, node.name), operand(node, 0)
    if kernel in (2, 3) and strides == [1, 1]:
        top, left, bottom, right = pads
        size = (height + top + bottom - kernel + 1, width + left + right - kernel + 1)
        last, fields = _activation(node)
        emit(write, "", source, weights, (top, left), size, **fields)
        write.replace(node, *last)
        return
    must(kernel == 4 and strides == [2, 2], "neither a kernel of 2 or 3 with stride 1 nor one of 4 with stride 2")
    must(pads == [1] * 4 and height % 2 == width % 2 == 0 and weights.gated is None, "it does not fit pairs of pixels")
    padded = write("padded", "Pad", source, write.constant("pads", [0, 0, 1, 1, 0, 0, 1, 1]))
    deep = write("pairs", "SpaceToDepth", padded, blocksize=2)
    deep.shape, deep.type = ir.Shape([1, 4 * inputs, height // 2 + 1, width // 2 + 1]), source.type
    last, fields = _activation(node)
    halved = Weights(_by_pairs(weights.plain), weights.bias)
    emit(write, "", deep, halved, (0, 0), (height // 2, width // 2), **fields)
    write.replace(node, *last)


def _by_pairs(weight: np.ndarray) -> np.ndarray:
    """(O,C,4,4) -> (O,4C,2,2), channels as SpaceToDepth puts them: by row and column within the pair first."""
    outputs, inputs = weight.shape[:2]
    pairs = weight.reshape(outputs, inputs, 2, 2, 2, 2)  # row of pairs, row within, column of pairs, column within
    return pairs.transpose(0, 3, 5, 1, 2, 4).reshape(outputs, 4 * inputs, 2, 2)


def transposed(graph: ir.Graph, node: ir.Node, emit: Emit | None = None, fewest: tuple[int, int] | None = None) -> None:
    """A ConvTranspose of at least `fewest` inputs and outputs; None: as FP32 has it."""
    emit, fewest = emit or write_fused, fewest or FEWEST
    kernels = phase_kernels(node)
    _, inputs, height, width = tools.known_shape(operand(node, 0))
    outputs = len(kernels[0])
    must(inputs >= fewest[0], f"with fewer than {fewest[0]} input channels it gains nothing")
    must(outputs >= fewest[1], f"with fewer than {fewest[1]} output channels it gains nothing")
    bias = constant_input(node, 2) if tools.given(node, 2) else np.zeros(outputs, np.float32)
    last, fields = _activation(node)
    write = Writer(graph, node.name)
    phases = [
        emit(write, f"phase_{down}{across}", operand(node, 0), Weights(kernel, bias), (1 - down, 1 - across),
               (height, width), **fields)
        for kernel, (down, across) in zip(kernels, PHASES, strict=True)
    ]  # fmt: skip
    write("phases_joined", "DepthToSpace", write("phases", "Concat", *phases, axis=1), blocksize=2, mode="DCR")
    write.replace(node, *last)


def write_fused(
    write: Writer, what: str, source: ir.Value, weights: Weights, pads: tuple[int, int], size: tuple[int, int],
    **fields: Any,
) -> ir.Value:  # fmt: skip
    """The operator in FP32: of `size` pixels, with `pads` rows above and columns to the left."""
    inputs = [
        source,
        write.constant(f"{what}weights", packed(weights.plain)),
        write.constant(f"{what}bias", weights.bias),
    ]
    if weights.gated is not None and weights.gate is not None:
        inputs += [write.constant(f"{what}gated", packed(weights.gated)), weights.gate]
    return write_operator(OPERATOR, write, what, inputs, weights.plain.shape, pads, size, fields)


def write_operator(
    name: str, write: Writer, what: str, inputs: list[ir.Value], weight: tuple[int, ...], pads: tuple[int, int],
    size: tuple[int, int], fields: dict[str, Any],
) -> ir.Value:  # fmt: skip
    """One of the operators of runtime/native; `weight` is the shape of its weights before they were packed."""
    source, (outputs, _, kernel, _) = inputs[0], weight
    fields = fields | {
        "kernel": kernel,
        "outputs": outputs,
        "top": pads[0],
        "left": pads[1],
        "height": size[0],
        "width": size[1],
    }
    node = ir.node(name, inputs, fields, domain=DOMAIN, name=f"{write.base}/{what}".rstrip("/"))
    node.outputs[0].name = node.name
    node.outputs[0].shape, node.outputs[0].type = (
        ir.Shape([*tools.known_shape(source)[:1], outputs, *size]),
        source.type,
    )
    write.nodes.append(node)
    return node.outputs[0]


def _weights(node: ir.Node) -> Weights:
    """Of a Conv: constant, or gated as gate_fold leaves them."""
    value = operand(node, 1)
    outputs, inputs = tools.known_shape(value)[:2]
    bias = constant_input(node, 2) if tools.given(node, 2) else np.zeros(outputs, np.float32)
    array = tools.constant(value)
    if array is not None:
        return Weights(array, bias)
    add = tools.maker(value, "Add")
    mul = tools.maker(operand(add, 0), "Mul")
    gated, gate, plain = tools.constant(mul.inputs[0]), operand(mul, 1), tools.constant(add.inputs[1])
    if gated is None or plain is None or list(gate.shape or ()) != [1, inputs, 1, 1]:
        raise Left("its weights are computed otherwise than by a gate")
    return Weights(plain, bias, gated, gate)


def _activation(node: ir.Node) -> tuple[list[ir.Node], dict[str, Any]]:
    """The activation that alone reads a convolution, if there is one, and the operator's attributes for it."""
    users = node.outputs[0].uses()
    after = next(iter(users)).node if len(users) == 1 and not node.outputs[0].is_graph_output() else None
    if after is None or after.op_type not in _ACTIVATIONS:
        return [], {"activation": 0, "slope": 0.0}
    slope = attribute(after, "alpha", _SLOPE) if after.op_type == "LeakyRelu" else 0.0
    return [after], {"activation": _ACTIVATIONS[after.op_type], "slope": float(slope)}
