"""How many nodes compute in which type: the proof that a graph is what its name says."""

from __future__ import annotations

from collections import Counter

import onnx

from harmonyrt.common import WorkFailed
from harmonyrt.export.precision.mark_islands import COMPUTE
from harmonyrt.export.precision.tensors import element_types

NAMES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "int8": "int8"}
COMPUTE_OPS = COMPUTE | {"Gemm", "MatMul"}
_TYPE_NAMES = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.BFLOAT16: "bfloat16",
}


def census(model: onnx.ModelProto) -> dict[str, int]:
    """Count the compute nodes (convolutions and matrix products) by the type in which they run.

    Args:
        model: typed, plain or quantized (Q/DQ) graph.

    Returns:
        For example ``{"float16": 18, "float32": 25}``. A node counts as ``"int8"`` when its data and its weight both
        come from DequantizeLinear.
    """
    types = element_types(model)
    dequantized = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    counts: Counter[str] = Counter()
    for node in model.graph.node:
        if node.op_type not in COMPUTE_OPS:
            continue
        if dequantized.issuperset(node.input[:2]):
            counts["int8"] += 1
        else:
            counts[_TYPE_NAMES.get(types[node.input[0]], str(types[node.input[0]]))] += 1
    return dict(sorted(counts.items()))


def check_census(counts: dict[str, int], precision: str) -> None:
    """Refuse a graph or engine that does not compute in the precision that its name claims.

    Raises:
        WorkFailed: nothing runs in `precision`.
    """
    wanted = NAMES[precision]
    if counts.get(wanted, 0) == 0:
        found = ", ".join(f"{count} in {name}" for name, count in counts.items()) or "no compute node at all"
        raise WorkFailed(f"{precision} was asked for, but nothing computes in {wanted} (found {found}); build fp32")
