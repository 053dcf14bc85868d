"""Casts where islands and low precision meet: one for each tensor, shared by all that read it."""

from __future__ import annotations

import onnx

from harmonyrt.export.precision.tensors import FLOAT


def cast_boundaries(model: onnx.ModelProto, low: set[str], low_type: int, types: dict[str, int]) -> onnx.ModelProto:
    """Make the graph consistent in its types: the nodes in `low` read and write `low_type`, all others FP32.

    Graph inputs and outputs stay FP32. No tensor is cast twice to one type, and none is cast back: an FP32 reader of an
    FP32 tensor keeps reading that tensor.

    Args:
        model: changed in place; initializers are in their final types already.
        low: names of the nodes that compute in low precision.
        low_type: element type of theirs.
        types: element types of the FP32 graph's tensors; what is not FP32 there (shapes, indices) is left alone.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    outputs = {output.name for output in graph.output}
    is_low: set[str] = set()
    casts: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []

    def as_type(name: str, wanted_low: bool) -> str:
        if not name or name in weights or types.get(name) != FLOAT or (name in is_low) == wanted_low:
            return name
        if name not in casts:  # a tensor has one type, so it is only ever cast to the other one
            target = low_type if wanted_low else FLOAT
            casts[name] = f"{name}_{onnx.TensorProto.DataType.Name(target).lower()}"
            nodes.append(onnx.helper.make_node("Cast", [name], [casts[name]], name=f"cast_{casts[name]}", to=target))
        return casts[name]

    for node in graph.node:
        wanted_low = node.name in low
        for slot, name in enumerate(node.input):
            node.input[slot] = as_type(name, wanted_low)
        nodes.append(node)
        if wanted_low:
            is_low.update(name for name in node.output if types.get(name) == FLOAT)
    for name in sorted(outputs & is_low):
        raise AssertionError(f"output {name} would leave FP32: mark_islands keeps its node in an island")
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    return model
