"""The squeeze-and-excitation gate moves from the feature into the weights of the convolution that reads it.

The gated feature x*s has one reader: the first skip convolution, which reads x itself as well. With its weights split
in two, conv(cat(x*s, x), [W1, W2]) = conv(x, W1*s + W2): the network's largest convolution halves. The weights become
those of one picture, so only graphs of batch 1 can take it (docs/phnet.md, "Traps in export").
"""

from __future__ import annotations

import onnx_ir as ir

from harmonyrt.export.rewrites.graph_tools import (
    Writer,
    add_constant,
    attribute,
    constant_input,
    must,
    operand,
    rewrite_each,
    sole_user,
)


def apply(model: ir.Model) -> int:
    """Mul(x, s) -> Concat with x -> Conv becomes Conv with computed weights."""
    return rewrite_each(model, {"Mul"}, _fold)


def _fold(graph: ir.Graph, gated: ir.Node) -> None:
    concat = sole_user(gated.outputs[0], "Concat")
    must(
        len(concat.inputs) == 2 and attribute(concat, "axis", None) in (1, -3), "it does not join two sets of channels"
    )
    conv = sole_user(concat.outputs[0], "Conv")
    must(attribute(conv, "group", 1) == 1 and conv.inputs[0] is concat.outputs[0], "the convolution has groups")
    position = list(concat.inputs).index(gated.outputs[0])
    feature, weight = operand(concat, 1 - position), constant_input(conv, 1)
    half = weight.shape[1] // 2
    gate = next((value for value in gated.inputs if value is not feature), None)
    must(gate is not None and feature in gated.inputs, "what it gates is not what it is joined with")
    must(gate is not None and list(gate.shape or ()) == [1, half, 1, 1], "not one factor per channel of one picture")
    halves, name = (weight[:, :half], weight[:, half:]), operand(conv, 1).name
    write = Writer(graph, conv.name)
    scaled = write("Mul", "Mul", add_constant(graph, f"{name}.gated", halves[position]), gate)
    summed = write("Add", "Add", scaled, add_constant(graph, f"{name}.plain", halves[1 - position]))
    write.nodes.append(ir.node("Conv", [feature, summed, *conv.inputs[2:]], conv.attributes, name=conv.name))
    write.replace(gated, concat, conv)
