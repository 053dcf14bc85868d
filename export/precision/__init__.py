"""FP32 graph -> typed FP16 or BF16 graph, with every statistic in FP32 islands; and how to measure one without a card.

Why islands: PHNet's eps of 1e-7 and 1e-8 vanish in FP16 (0/0), and features normalised by a region of one pixel pass
65504. Only convolutions and what merely finishes them leave FP32: 98 % of the work. docs/precision.md judges the
converters that exist, and has measurements.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx

from harmonyrt.export.precision.cast_boundaries import cast_boundaries
from harmonyrt.export.precision.convert_weights import convert_weights
from harmonyrt.export.precision.counts import LEAST_SHARE, check_counts, precision_counts
from harmonyrt.export.precision.mark_islands import is_convolution, low_precision_nodes
from harmonyrt.export.precision.raise_opset import BF16_OPSET, raise_opset
from harmonyrt.export.precision.resolve_castlike import resolve_castlike
from harmonyrt.export.precision.simulate import simulate
from harmonyrt.export.precision.tensors import LOW_TYPES, element_types, name_nodes

__all__ = ["LEAST_SHARE", "check_counts", "precision_counts", "simulate", "typed_graph"]


def typed_graph(
    model: onnx.ModelProto,
    precision: str,
    computes: Callable[[onnx.NodeProto], bool] = is_convolution,
) -> onnx.ModelProto:
    """Write a precision into a graph.

    Args:
        model: FP32 network graph; not changed.
        precision: ``"fp16"`` or ``"bf16"``: type of the convolutions and their weights.
        computes: whether a node is one of those that leave FP32; by default, whether it is a convolution.

    Returns:
        A strongly typed graph of the same function: inputs and outputs stay float32, statistics too.

    Raises:
        WorkFailed: a weight leaves the range of the type, or nothing in the graph could leave FP32.
    """
    low_type = LOW_TYPES[precision]
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    if precision == "bf16":
        typed = raise_opset(typed, BF16_OPSET)
    name_nodes(typed.graph)
    resolve_castlike(typed)
    low = low_precision_nodes(typed, computes)
    types = element_types(typed)
    convert_weights(typed, low, low_type)
    cast_boundaries(typed, low, low_type, types)
    onnx.checker.check_model(typed)
    check_counts(precision_counts(typed, computes), precision)
    return typed
