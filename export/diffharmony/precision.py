"""FP32 graph -> typed graph: convolutions and matrix products leave FP32, every statistic stays.

Islands: GroupNorm and LayerNorm with their affine part, softmax, SiLU and GELU, the residual stream, and what is not
network at all: the sampler's arithmetic, the posterior's sample, clamps and the resize between the stages. The VAE that
turns NaN in FP16 does so in its residual stream, which passes 65504 with some released weights; here it cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx

from harmonyrt.export.build.weights_apart import Graph, fold_casts
from harmonyrt.export.precision import simulate, typed_graph

COMPUTE = frozenset({"Conv", "Gemm", "MatMul"})


def typed(graph: Graph, precision: str) -> Graph:
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
    form = Graph(simulate(graph.proto), {})
    for value in form.proto.graph.input:
        if value.name in types:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    form.weights = _RoundedWeights(graph, tuple(types))
    return form


class _RoundedWeights(Mapping[str, np.ndarray]):
    """Rounds a graph's weights one at a time, when they are written: all at once they are 3.3 GB."""

    def __init__(self, graph: Graph, names: tuple[str, ...]) -> None:
        self._graph, self._names = graph, dict.fromkeys(names)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return self._graph.rounded(name).astype(np.float32, copy=False)

    def __contains__(self, name: object) -> bool:  # without rounding anything
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
