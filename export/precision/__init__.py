"""FP32 graph -> typed FP16 or BF16 graph, with every statistic in FP32 islands; and how to measure one without a GPU.

Why islands: PHNet's eps of 1e-7 and 1e-8 vanish in FP16 (0/0), and features normalised by a region of one pixel pass
65504. Only convolutions and what merely finishes them leave FP32: 98 % of the work. docs/precision.md measures the
converters that exist, and has measurements.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
from onnx_ir.passes.common import CheckerPass
from onnx_ir.passes.common.shape_inference import infer_shapes
from onnxscript.version_converter import convert_version

from harmonyrt.export.precision.cast_boundaries import cast_boundaries
from harmonyrt.export.precision.convert_weights import convert_weights
from harmonyrt.export.precision.counts import LEAST_SHARE, check_counts, precision_counts
from harmonyrt.export.precision.mark_islands import is_convolution, low_precision_nodes
from harmonyrt.export.precision.simulate import simulate

__all__ = ["LEAST_SHARE", "LOW_TYPES", "check_counts", "precision_counts", "simulate", "typed_graph"]

LOW_TYPES = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
BF16_OPSET = 22
"""BF16 convolutions exist since this operator set; exporters write older ones."""


def typed_graph(model: ir.Model, precision: str, computes: Callable[[ir.Node], bool] = is_convolution) -> ir.Model:
    """Write a precision into a graph.

    Args:
        model: FP32 network graph; not changed, and it shares its weights.
        precision: ``"fp16"`` or ``"bf16"``: type of the convolutions and their weights.
        computes: whether a node is one of those that leave FP32; by default, whether it is a convolution.

    Returns:
        A strongly typed graph of the same function: inputs and outputs stay float32, statistics too.

    Raises:
        OutOfRange: a weight leaves the range of the type.
        WorkFailed: nothing in the graph could leave FP32.
    """
    typed = model.clone()
    if precision == "bf16" and typed.opset_imports[""] < BF16_OPSET:
        convert_version(typed, BF16_OPSET)
    infer_shapes(typed)
    low = low_precision_nodes(typed.graph, computes)
    convert_weights(typed.graph, low, LOW_TYPES[precision])
    cast_boundaries(typed.graph, low, LOW_TYPES[precision])
    CheckerPass(full_check=True)(typed)
    check_counts(precision_counts(typed, computes), precision)
    return typed
