"""FP32 graph -> typed graph: convolutions and matrix products leave FP32, every statistic stays.

Islands: GroupNorm and LayerNorm with their affine part, softmax, SiLU and GELU, the residual stream, and what is not
network at all: the sampler's arithmetic, the posterior's sample, clamps and the resize between the stages. The VAE that
turns NaN in FP16 does so in its residual stream, which passes 65504 with some released weights; here it cannot.
"""

from __future__ import annotations

from typing import Literal

import onnx

from harmonyrt.export.diffharmony.weights_apart import Graph, fold_casts
from harmonyrt.export.precision import runnable_form, typed_graph

COMPUTE = frozenset({"Conv", "Gemm", "MatMul"})


def typed(graph: Graph, precision: Literal["fp32", "fp16", "bf16"]) -> Graph:
    """Write a precision into a graph; the given one stays as it is and shares its weights.

    Raises:
        WorkFailed: nothing in the graph could leave FP32.
    """
    if precision == "fp32":
        return graph
    results = {output.name for output in graph.proto.graph.output}

    def computes(node: onnx.NodeProto) -> bool:
        # A node without a module before its name is arithmetic around the network, such as the resize.
        return node.op_type in COMPUTE and "/" in node.name and results.isdisjoint(node.output)

    result = Graph(typed_graph(graph.proto, precision, computes), dict(graph.weights))
    fold_casts(result)
    return result


def simulated(graph: Graph) -> Graph:
    """A typed graph in the FP32 form that ONNX Runtime's CPU provider computes with the typed graph's rounding."""
    types = graph.weight_types()
    form = Graph(runnable_form(graph.proto), {})
    for value in form.proto.graph.input:
        if value.name in types:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    form.weights = {name: graph.rounded(name).astype("float32", copy=False) for name in types}
    return form
