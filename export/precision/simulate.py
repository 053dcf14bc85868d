"""A typed graph in a form that ONNX Runtime's CPU provider runs with the typed graph's own rounding.

That provider has no BF16 convolution, and it runs FP16 graphs in FP32 without rounding anything but the weights: there
even a graph that gives NaN on a card looks perfect. So a typed graph is measured as its *simulation*: FP32 arithmetic,
where every tensor that the typed graph holds in low precision is rounded to it. That is what a tensor core does
(products of low-precision numbers, FP32 sums, one rounding of the result); what it leaves out is the order of
summation, and engines that sum in FP16.
"""

from __future__ import annotations

import numpy as np
import onnx

from harmonyrt.export.precision.tensors import FLOAT, LOW_TYPES, element_types


def simulate(model: onnx.ModelProto) -> onnx.ModelProto:
    """Simulate a typed graph in FP32.

    Args:
        model: what :func:`typed_graph` made; not changed. A graph that is all FP32 comes back equal.

    Returns:
        The same function with every low-precision tensor rounded by a pair of casts, without a low-precision compute
        node. Weights are the rounded ones, stored as FP32.
    """
    types = element_types(model)
    low = {name for name, kind in types.items() if kind in LOW_TYPES.values()}
    simulated = onnx.ModelProto()
    simulated.CopyFrom(model)
    graph = simulated.graph
    for tensor in graph.initializer:
        if tensor.name in low:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in low and types[node.output[0]] == FLOAT:
            node = onnx.helper.make_node("Identity", node.input, node.output, name=node.name)
        elif node.op_type == "Cast" and node.output[0] in low:
            nodes.extend(_rounding(node.input[0], node.output[0], types[node.output[0]]))
            continue
        rounded = [name for name in node.output if name in low]
        exact = [f"{name}_exact" if name in low else name for name in node.output]
        del node.output[:]
        node.output.extend(exact)
        nodes.append(node)
        for name in rounded:
            nodes.extend(_rounding(f"{name}_exact", name, types[name]))
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    onnx.checker.check_model(simulated)
    return simulated


def _rounding(source: str, result: str, low_type: int) -> list[onnx.NodeProto]:
    down = onnx.helper.make_node("Cast", [source], [f"{result}_low"], name=f"round_{result}", to=low_type)
    up = onnx.helper.make_node("Cast", [f"{result}_low"], [result], name=f"widen_{result}", to=FLOAT)
    return [down, up]
