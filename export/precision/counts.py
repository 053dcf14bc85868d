"""How many nodes compute in which type: the proof that a graph or an engine is what its name says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import onnx_ir as ir
from onnx_ir.passes.common.shape_inference import infer_shapes

from harmonyrt.common import WorkFailed
from harmonyrt.export.precision.mark_islands import COMPUTE
from harmonyrt.export.targets import TYPE_OF_PRECISION

COMPUTE_OPS = COMPUTE | {"Gemm", "MatMul", "FusedConvolution", "QuantizedConvolution"}
LEAST_SHARE = 0.5
"""Of what should leave FP32, for FP16 and BF16. Calibration chooses INT8 layers one by one: there, one is enough."""


def _computes(node: ir.Node) -> bool:
    return node.op_type in COMPUTE_OPS


def precision_counts(model: ir.Model, counted: Callable[[ir.Node], bool] = _computes) -> dict[str, int]:
    """Count the compute nodes by the type in which they run.

    Args:
        model: typed, plain or quantized (Q/DQ) graph.
        counted: which nodes; by default convolutions and matrix products.

    Returns:
        For example ``{"float16": 18, "float32": 25}``. A node counts as ``"int8"`` when its data and its weight both
        come from DequantizeLinear, or when it is the INT8 operator of the native kernels.
    """
    counts: Counter[str] = Counter()
    for node in filter(counted, infer_shapes(model.clone()).graph):
        makers = [value.producer() for value in node.inputs[:2] if value is not None]
        if node.op_type == "QuantizedConvolution" or all(
            maker is not None and maker.op_type == "DequantizeLinear" for maker in makers
        ):
            counts["int8"] += 1
        else:
            kind = node.inputs[0].dtype if node.inputs[0] is not None else None
            counts[kind.numpy().name if kind else "unknown"] += 1
    return dict(sorted(counts.items()))


def check_counts(counts: dict[str, int], precision: str, least_share: float | None = None) -> None:
    """Refuse a graph or an engine that does not compute in the precision that its name claims.

    Args:
        counts: of nodes or layers that should run in it: convolutions, or matrix products where there are none.
        precision: asked for.
        least_share: of the nodes that has to run in it; one node always has to. None: :data:`LEAST_SHARE`, of INT8
            one node.

    Raises:
        WorkFailed: too few do.
    """
    wanted, total = TYPE_OF_PRECISION[precision], sum(counts.values())
    have = counts.get(wanted, 0)
    if least_share is None:
        least_share = 0 if precision == "int8" else LEAST_SHARE
    if have == 0 or have < least_share * total:
        found = ", ".join(f"{count} in {name}" for name, count in counts.items()) or "no compute node at all"
        few = f"only {have} of {total} compute" if have else "nothing computes"
        raise WorkFailed(f"{precision} was asked for, but {few} in {wanted} (found {found}); build another precision")
