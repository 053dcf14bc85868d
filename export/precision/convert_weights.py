"""Weights of low-precision nodes, stored in low precision."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx

from harmonyrt.common import WorkFailed
from harmonyrt.export.precision.tensors import FLOAT

NUMPY_TYPES = {onnx.TensorProto.FLOAT16: np.dtype(np.float16), onnx.TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16)}


def convert_weights(model: onnx.ModelProto, low: set[str], low_type: int) -> onnx.ModelProto:
    """Round every FP32 initializer that low-precision nodes read; one that islands read too is kept beside its copy.

    Args:
        model: changed in place; the nodes in `low` then read initializers of `low_type`.
        low: names of the nodes that compute in low precision.
        low_type: element type of theirs.

    Raises:
        WorkFailed: a weight leaves the range of the type.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == FLOAT}
    read_low = {name for node in graph.node if node.name in low for name in node.input if name in weights}
    read_high = {name for node in graph.node if node.name not in low for name in node.input if name in weights}
    renamed = {}
    for name in sorted(read_low):
        converted = _rounded(weights[name], low_type)
        if name in read_high:
            converted.name = renamed[name] = f"{name}_low"
            graph.initializer.append(converted)
        else:
            weights[name].CopyFrom(converted)
    for node in graph.node:
        if node.name in low:
            for slot, name in enumerate(node.input):
                node.input[slot] = renamed.get(name, name)
    return model


def _rounded(tensor: onnx.TensorProto, low_type: int) -> onnx.TensorProto:
    values = onnx.numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        rounded = values.astype(NUMPY_TYPES[low_type])
    if not np.isfinite(rounded.astype(np.float32)).all():
        kind = NUMPY_TYPES[low_type].name
        raise WorkFailed(
            f"weight {tensor.name} reaches {np.abs(values).max():.3g}, which {kind} cannot hold; build bf16 or fp32"
        )
    return onnx.helper.make_tensor(tensor.name, low_type, tensor.dims, rounded.tobytes(), raw=True)
