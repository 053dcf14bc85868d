"""The layers of a graph that INT8 can speed up: convolutions with constant weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

LEAST_SHARE = 0.004
"""Layers below this share of the multiplications are not worth their noise: PHNet's first, last and PFE layers."""


@dataclass(frozen=True)
class Layer:
    """A convolution.

    Attributes:
        name: of its node.
        kind: ``"Conv"`` or ``"ConvTranspose"``.
        data: the tensor it reads.
        result: the tensor it writes, after its ReLU if it has one, as INT8 kernels do.
        relu: name of that ReLU's node, or None.
        weight: shape of its weights.
    """

    name: str
    kind: str
    data: str
    result: str
    relu: str | None
    weight: tuple[int, ...]

    def multiplications(self, shapes: dict[str, tuple[int, ...]]) -> int:
        """For one image. Transposed convolutions work once per input pixel, others once per output pixel."""
        pixels = shapes[self.data if self.kind == "ConvTranspose" else self.result][2:]
        return int(np.prod(pixels)) * int(np.prod(self.weight))


def find_layers(model: onnx.ModelProto) -> list[Layer]:
    """Convolutions with constant weights, in graph order."""
    graph = model.graph
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    outputs = {output.name for output in graph.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    layers = []
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose") or node.input[1] not in weights:
            continue
        result = node.output[0]
        after = readers.get(result, [])
        relu = after[0] if len(after) == 1 and after[0].op_type == "Relu" and result not in outputs else None
        layers.append(
            Layer(
                node.name,
                node.op_type,
                node.input[0],
                relu.output[0] if relu is not None else result,
                relu.name if relu is not None else None,
                weights[node.input[1]],
            )
        )
    return layers


def worth_quantizing(layers: list[Layer], shapes: dict[str, tuple[int, ...]]) -> list[Layer]:
    """Those that do at least :data:`LEAST_SHARE` of the work."""
    work = {layer.name: layer.multiplications(shapes) for layer in layers}
    least = LEAST_SHARE * sum(work.values())
    return [layer for layer in layers if work[layer.name] >= least]
