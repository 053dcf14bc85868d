"""Weights of low-precision nodes, stored in low precision."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from harmonyrt.export.build.gate import OutOfRange


def convert_weights(graph: ir.Graph, low: Collection[ir.Node], low_type: ir.DataType) -> None:
    """Round every FP32 initializer that low-precision nodes read; one that islands read too is kept next to its copy.

    Args:
        graph: changed in place; the nodes in `low` then read initializers of `low_type`.
        low: nodes that compute in low precision.
        low_type: element type of theirs.

    Raises:
        OutOfRange: a weight leaves the range of the type.
    """
    for value in list(graph.initializers.values()):
        uses = [use for use in value.uses() if use.node in low]
        if value.dtype != ir.DataType.FLOAT or value.const_value is None or not uses:
            continue
        _check_range(value.const_value, low_type)
        if len(uses) == len(value.uses()):
            value.const_value, value.type = as_type(value.const_value, low_type), ir.TensorType(low_type)
            continue
        copy = ir.Value(name=f"{value.name}_low", shape=value.shape, type=ir.TensorType(low_type))
        copy.const_value = as_type(value.const_value, low_type)
        graph.register_initializer(copy)
        for use in uses:
            use.node.replace_input_with(use.idx, copy)


def as_type(tensor: ir.TensorProtocol, kind: ir.DataType) -> ir.LazyTensor:
    """A tensor in another type, made each time that it is asked for: all weights of the full-size UNet have 3.3 GB."""
    shape = ir.Shape(tensor.numpy().shape)
    return ir.LazyTensor(lambda: ir.tensor(tensor.numpy().astype(kind.numpy())), kind, shape, name=tensor.name)


def _check_range(tensor: ir.TensorProtocol, low_type: ir.DataType) -> None:
    largest = np.abs(tensor.numpy()).max(initial=0)
    with np.errstate(over="ignore"):
        if np.isfinite(largest.astype(low_type.numpy()).astype(np.float32)):
            return
    raise OutOfRange(
        f"weight {tensor.name} reaches {largest:.3g}, which {low_type.numpy().name} cannot hold; build bf16 or fp32"
    )
