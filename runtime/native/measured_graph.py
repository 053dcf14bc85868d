"""Convolutions by the native kernels as a graph that OpenVINO reads, for :mod:`harmonyrt.runtime.cpu_probe`.

It is OpenVINO's own file format (IR 11), written out: OpenVINO's functions for graphs know no operator of another
library, and what a build uses for that is not there where engines run. The twin is in runtime/cpp/src/backends.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_BLOCK = 16  # outputs that packed weights keep together; all layers have a multiple of it
_TAPS = 9
_CONVOLUTION = {"fp32": "FusedConvolution", "bf16": "FusedConvolution", "int8": "QuantizedConvolution"}


def written(layers: Sequence[tuple[int, int]], precision: str) -> tuple[str, np.ndarray]:
    """The graph of independent 3x3 convolutions, each with an input and an output in FP32.

    Args:
        layers: channels, in and out alike, and side of the picture.
        precision: of the products: ``"fp32"``, ``"bf16"`` or ``"int8"``.

    Returns:
        XML, and the bytes of its constants (uint8).
    """
    graph = _Graph()
    for channels, side in layers:
        _convolution(graph, channels, side, precision)
    return graph.xml(), np.concatenate(graph.constants)


class _Graph:
    """Layers and edges of an IR, and its constants as bytes."""

    def __init__(self) -> None:
        self.constants: list[np.ndarray] = []
        self._layers: list[str] = []
        self._edges: list[str] = []
        self._bytes = 0

    def add(
        self, kind: str, data: str, shape: Sequence[int], element: str, inputs: Sequence[tuple[int, str]]
    ) -> tuple[int, str]:
        """A layer with one output, or none where `element` is empty; what other layers take as an input."""
        number = len(self._layers)
        ports = "".join(f'<port id="{port}">{dims}</port>' for port, (_, dims) in enumerate(inputs))
        dims = "".join(f"<dim>{side}</dim>" for side in shape)
        output = f'<output><port id="{len(inputs)}" precision="{element}">{dims}</port></output>' if element else ""
        version = "harmonyrt" if kind.endswith("edConvolution") else "opset1"
        self._layers.append(
            f'<layer id="{number}" name="{kind}{number}" type="{kind}" version="{version}"><data {data}/>'
            f"<input>{ports}</input>{output}</layer>"
        )
        for port, (source, _) in enumerate(inputs):
            last = self._layers[source].count("<port id") - 1  # a layer's output
            ends = f'from-layer="{source}" from-port="{last}" to-layer="{number}" to-port="{port}"'
            self._edges.append(f"<edge {ends}/>")
        return number, dims

    def constant(self, values: np.ndarray, element: str) -> tuple[int, str]:
        """A constant; `element` is its type as IRs name it in ports."""
        shape = ",".join(map(str, values.shape))
        data = f'element_type="{_SHORT[element]}" shape="{shape}" offset="{self._bytes}" size="{values.nbytes}"'
        self.constants.append(np.ascontiguousarray(values).view(np.uint8).reshape(-1))
        self._bytes += values.nbytes
        return self.add("Const", data, values.shape, element, ())

    def xml(self) -> str:
        layers, edges = "".join(self._layers), "".join(self._edges)
        return f'<net name="measured" version="11"><layers>{layers}</layers><edges>{edges}</edges></net>'


_SHORT = {"FP32": "f32", "BF16": "bf16", "I8": "i8"}


def _convolution(graph: _Graph, channels: int, side: int, precision: str) -> None:
    rng = np.random.default_rng(1)
    shape = (1, channels, side, side)
    packed = (channels // _BLOCK, channels, _TAPS, _BLOCK)
    sides = ",".join(map(str, shape))
    source = graph.add("Parameter", f'shape="{sides}" element_type="f32"', shape, "FP32", ())
    element = "FP32"
    if precision == "int8":
        weights = graph.constant(rng.integers(-127, 128, packed, np.int8), "I8")
        scales = graph.constant(np.full(channels, 0.01, np.float32), element)
        inputs = [source, weights, scales, graph.constant(np.zeros(channels, np.float32), element)]
    else:
        values: np.ndarray = rng.standard_normal(packed, np.float32)
        bias: np.ndarray = np.zeros(channels, np.float32)
        if precision == "bf16":
            element = "BF16"
            source = graph.add("Convert", 'destination_type="bf16"', shape, element, [source])
            values, bias = ((array.view(np.uint32) >> 16).astype(np.uint16) for array in (values, bias))
        inputs = [source, graph.constant(values, element), graph.constant(bias, element)]
    data = f'kernel="3" outputs="{channels}" top="1" left="1" height="{side}" width="{side}" activation="1" slope="0"'
    found = graph.add(_CONVOLUTION[precision], data, shape, element, inputs)
    if precision == "bf16":
        found = graph.add("Convert", 'destination_type="f32"', shape, "FP32", [found])
    graph.add("Result", "", shape, "", [found])
