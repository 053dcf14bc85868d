"""Looking around a graph: who makes a tensor, who reads it, and which element type it has."""

from __future__ import annotations

from collections import defaultdict

import onnx

FLOAT = onnx.TensorProto.FLOAT
LOW_TYPES = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}


def producers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """The node behind every tensor that a node makes."""
    return {name: node for node in graph.node for name in node.output if name}


def consumers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """The nodes that read every tensor, in the order of the graph."""
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in dict.fromkeys(node.input):
            if name:
                readers[name].append(node)
    return readers


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every tensor, initializers included, by strict inference.

    Raises:
        onnx.shape_inference.InferenceError: the types of the graph contradict each other.
    """
    graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    types = {info.name: info.type.tensor_type.elem_type for info in (*graph.input, *graph.output, *graph.value_info)}
    types.update((tensor.name, tensor.data_type) for tensor in graph.initializer)
    return types


def name_nodes(graph: onnx.GraphProto) -> None:
    """Give every node a name of its own: the passes speak of nodes by name."""
    seen: set[str] = set()
    for number, node in enumerate(graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.name or node.op_type}_{number}"
        seen.add(node.name)
