"""Graphs whose weights lie beside them, since a protobuf message ends at 2 GB and the full-size UNet has 3.3 GB.

The weights are inputs of the graph while passes work on it, so type inference, checks and casts go as for any graph;
:func:`write` puts them back, inside the file or, above 2 GB, in a data file beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper

from harmonyrt.export.build.gate import OutOfRange

KEPT_INSIDE = 4096
"""Bytes; smaller constants stay in the graph, where shape inference may need them."""
INLINE_LIMIT = 1_800_000_000
ALIGNMENT = 4096
DTYPES = {
    TensorProto.FLOAT: np.dtype(np.float32),
    TensorProto.FLOAT16: np.dtype(np.float16),
    TensorProto.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
}


@dataclass
class Graph:
    """A graph without its weights.

    Attributes:
        proto: the graph; each weight is one of its inputs.
        weights: float32 arrays by name; written in the type that the graph's input has. May make them when asked.
    """

    proto: onnx.ModelProto
    weights: Mapping[str, np.ndarray]

    def weight_types(self) -> dict[str, int]:
        """Element type of each weight, as the graph wants it."""
        return {i.name: i.type.tensor_type.elem_type for i in self.proto.graph.input if i.name in self.weights}

    def rounded(self, name: str) -> np.ndarray:
        """A weight in the type that the graph wants.

        Raises:
            OutOfRange: it leaves the range of the type.
        """
        kind = self.weight_types()[name]
        values = np.ascontiguousarray(self.weights[name])
        if kind == TensorProto.FLOAT:
            return values
        with np.errstate(over="ignore"):
            rounded = values.astype(DTYPES[kind])
        if not np.isfinite(rounded.astype(np.float32)).all():
            raise OutOfRange(
                f"weight {name} reaches {np.abs(values).max():.3g}, which {DTYPES[kind].name} cannot hold;"
                " build bf16 or fp32"
            )
        return rounded

    @property
    def bytes(self) -> int:
        """What the weights take when written."""
        total = 0
        for value in self.proto.graph.input:
            if value.name in self.weights:
                kind = value.type.tensor_type
                total += math.prod(d.dim_value for d in kind.shape.dim) * DTYPES[kind.elem_type].itemsize
        return total


def split(model: ir.Model) -> Graph:
    """Take the float32 weights out of a model, without copying them. The model is used up."""
    weights = {}
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor is not None and tensor.dtype == ir.DataType.FLOAT and tensor.nbytes > KEPT_INSIDE:
            weights[name] = tensor.numpy()
            value.shape, value.dtype = ir.Shape(tensor.shape), tensor.dtype
            value.const_value = None
            del model.graph.initializers[name]
            model.graph.inputs.append(value)
    return Graph(ir.to_proto(model), weights)


def fold_casts(graph: Graph) -> None:
    """Where a pass casts a weight, have the weight in that type instead."""
    proto, weights = graph.proto.graph, dict(graph.weights)
    kept, renamed = [], {}
    readers: dict[str, int] = {}
    for node in proto.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    inputs = {value.name: value for value in proto.input}
    for node in proto.node:
        if node.op_type != "Cast" or node.input[0] not in graph.weights:
            kept.append(node)
            continue
        name, to = node.input[0], next(a.i for a in node.attribute if a.name == "to")
        if readers[name] == 1:
            renamed[node.output[0]] = name
            inputs[name].type.tensor_type.elem_type = to
        else:  # islands read the full weight too
            low = node.output[0]
            weights[low] = weights[name]
            proto.input.append(helper.make_tensor_value_info(low, to, weights[name].shape))
    for node in kept:
        for slot, name in enumerate(node.input):
            node.input[slot] = renamed.get(name, name)
    kept = list(kept)
    del proto.node[:]
    proto.node.extend(kept)
    graph.weights = weights


def joined(graph: Graph) -> onnx.ModelProto:
    """One message with everything inside; only for graphs below 2 GB."""
    if not graph.weights:
        return graph.proto
    result = _without_weight_inputs(graph)
    for name, kind in graph.weight_types().items():
        values = graph.rounded(name)
        result.graph.initializer.append(helper.make_tensor(name, kind, values.shape, values.tobytes(), raw=True))
    return result


def write(graph: Graph, path: Path, inline_limit: int = INLINE_LIMIT) -> tuple[str, ...]:
    """Write the ONNX file.

    Args:
        graph: its weights are written one after another, in their types.
        path: of the file; the data file, where one is needed, is named like it with ``.data`` behind.
        inline_limit: bytes of weights above which a data file is written.

    Returns:
        Names of the files, the ONNX file first.

    Raises:
        OutOfRange: a weight leaves the range of its type.
    """
    if graph.bytes <= inline_limit:
        path.write_bytes(joined(graph).SerializeToString())
        return (path.name,)
    data = path.with_name(f"{path.name}.data")
    path.write_bytes(_with_data_file(graph, data).SerializeToString())
    return (path.name, data.name)


def write_apart(graph: Graph, folder: Path) -> onnx.ModelProto:
    """Write the weights into a data file in `folder`; returns the graph that reads them there.

    Raises:
        OutOfRange: a weight leaves the range of its type.
    """
    return _with_data_file(graph, folder / "weights.data")


def _with_data_file(graph: Graph, data: Path) -> onnx.ModelProto:
    result = _without_weight_inputs(graph)
    with open(data, "wb") as file:
        for name, kind in graph.weight_types().items():
            file.write(bytes(-file.tell() % ALIGNMENT))
            tensor = result.graph.initializer.add()
            tensor.name, tensor.data_type = name, kind
            values = graph.rounded(name)
            tensor.dims.extend(values.shape)
            tensor.data_location = TensorProto.EXTERNAL
            place = {"location": data.name, "offset": str(file.tell()), "length": str(values.nbytes)}
            for key, value in place.items():
                entry = tensor.external_data.add()
                entry.key, entry.value = key, value
            file.write(values.view(np.uint8).reshape(-1).data)
    return result


def _without_weight_inputs(graph: Graph) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(graph.proto)
    inputs = [value for value in result.graph.input if value.name not in graph.weights]
    del result.graph.input[:]
    result.graph.input.extend(inputs)
    return result
