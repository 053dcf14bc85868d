"""FP32 graph -> typed graph: convolutions and matrix products leave FP32, every statistic stays.

Islands: GroupNorm and LayerNorm with their affine part, softmax, SiLU and GELU, the residual stream, and what is not
network at all: the sampler's arithmetic, the posterior's sample, clamps and the resize between the stages. The VAE that
turns NaN in FP16 does so in its residual stream, which passes 65504 with some released weights; here it cannot.
"""

from __future__ import annotations

import onnx_ir as ir

from harmonyrt.export.precision import typed_graph

COMPUTE = frozenset({"Conv", "Gemm", "MatMul"})


def typed(model: ir.Model, precision: str) -> ir.Model:
    """Write a precision into a graph; the given one stays as it is and shares its weights.

    Raises:
        WorkFailed: a weight leaves the range of the type, or nothing in the graph could leave FP32.
    """
    return model if precision == "fp32" else typed_graph(model, precision, _computes)


def _computes(node: ir.Node) -> bool:
    """A node without a module before its name is arithmetic around the network, such as the resize."""
    makes_result = any(output.is_graph_output() for output in node.outputs)
    return node.op_type in COMPUTE and "/" in (node.name or "") and not makes_result
