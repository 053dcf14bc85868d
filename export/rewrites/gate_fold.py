"""The squeeze-and-excitation gate moves from the feature into the weights of the convolution that reads it.

The gated feature x*s has one reader: the first skip convolution, which reads x itself as well. With its weights split
in two, conv(cat(x*s, x), [W1, W2]) = conv(x, W1*s + W2): the network's largest convolution halves. The weights become
those of one picture, so only graphs of batch 1 can take it (docs/phnet.md, "Traps in export").
"""

from __future__ import annotations

import onnx_ir as ir

from harmonyrt.export.rewrites.graph_tools import add_constant, attribute, constant, put_in_place, sole_user


def apply(model: ir.Model) -> int:
    """Mul(x, s) -> Concat with x -> Conv becomes Conv with computed weights."""
    return sum(_fold(model.graph, node) for node in list(model.graph) if node.op_type == "Mul")


def _fold(graph: ir.Graph, gated: ir.Node) -> bool:
    concat = sole_user(gated.outputs[0], "Concat")
    if concat is None or len(concat.inputs) != 2 or attribute(concat, "axis", None) not in (1, -3):
        return False
    conv = sole_user(concat.outputs[0], "Conv")
    if conv is None or attribute(conv, "group", 1) != 1 or conv.inputs[0] is not concat.outputs[0]:
        return False
    position = list(concat.inputs).index(gated.outputs[0])
    feature = concat.inputs[1 - position]
    gate = next((value for value in gated.inputs if value is not feature), None)
    weight = constant(conv.inputs[1])
    if weight is None or gate is None or feature not in gated.inputs or not _is_gate(gate, weight.shape[1] // 2):
        return False
    half = weight.shape[1] // 2
    halves = (weight[:, :half], weight[:, half:])
    name = conv.inputs[1].name
    scaled = ir.node("Mul", [add_constant(graph, f"{name}.gated", halves[position]), gate], name=f"{conv.name}/Mul")
    summed = ir.node(
        "Add", [scaled.outputs[0], add_constant(graph, f"{name}.plain", halves[1 - position])], name=f"{conv.name}/Add"
    )
    for node in (scaled, summed):
        node.outputs[0].name = node.name
    folded = ir.node("Conv", [feature, summed.outputs[0], *conv.inputs[2:]], conv.attributes, name=conv.name)
    put_in_place(graph, [gated, concat, conv], [scaled, summed, folded])
    return True


def _is_gate(value: ir.Value, channels: int) -> bool:
    """One factor per channel, of one picture."""
    return value.shape is not None and list(value.shape) == [1, channels, 1, 1]
