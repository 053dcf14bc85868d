"""Q/DQ in the graph, in the style that each target runs fastest. ONNX Runtime's quantizer writes it.

The same ranges serve all styles. Measured on an AVX512-VNNI machine (docs/calibration.md):

- ``onnx``: unsigned activations (1.7 times faster than signed on x86), outputs quantized too: without a Q after
  it, ONNX Runtime runs a convolution in FP32. It has no INT8 transposed convolution.
- ``openvino``: unsigned; outputs stay in floating point (OpenVINO needs no Q there, and norms get exact inputs);
  transposed convolutions too. Signed activations lose 15 dB in OpenVINO 2026.4.
- ``tensorrt``: signed and symmetric, as TensorRT requires; Q and DQ on FP32 weights, FP32 biases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx

from harmonyrt.calibration.layers import Layer, find_layers
from harmonyrt.calibration.ranges import Range
from harmonyrt.common import HarmonyError

if TYPE_CHECKING:
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer


@dataclass(frozen=True)
class QdqStyle:
    """How Q/DQ is written for a target.

    Attributes:
        signed: activations are int8 around zero instead of uint8 with a zero point.
        results: a layer's output is quantized as well as its input.
        kinds: operators that run faster in INT8.
        weights_in_fp32: weights stay FP32 behind Q and DQ, and biases FP32, instead of int8 and int32 behind DQ.
    """

    signed: bool
    results: bool
    kinds: tuple[str, ...]
    weights_in_fp32: bool = False


QDQ_STYLES = {
    "onnx": QdqStyle(signed=False, results=True, kinds=("Conv",)),
    "openvino": QdqStyle(signed=False, results=False, kinds=("Conv", "ConvTranspose")),
    "tensorrt": QdqStyle(signed=True, results=False, kinds=("Conv", "ConvTranspose"), weights_in_fp32=True),
}


def style_of(target: str) -> QdqStyle:
    """The Q/DQ style of a target.

    Raises:
        HarmonyError: the target has no INT8.
    """
    if target not in QDQ_STYLES:
        raise HarmonyError(f"INT8 cannot be built for target {target!r}; use one of {', '.join(QDQ_STYLES)}")
    return QDQ_STYLES[target]


def write_qdq(
    model: onnx.ModelProto, layers: Sequence[str], ranges: dict[str, Range], style: QdqStyle
) -> onnx.ModelProto:
    """Quantize layers of a graph.

    Args:
        model: FP32, of any size; not changed.
        layers: names of the convolutions that become INT8; those of other kinds than the style's stay FP32.
        ranges: of every tensor that these layers read and write, by name.
        style: of the target.

    Returns:
        A graph with Q/DQ; every other node still reads unquantized tensors.

    Raises:
        HarmonyError: a layer or a range is missing: the calibration belongs to another graph.
    """
    found = {layer.name: layer for layer in find_layers(model)}
    missing = next((name for name in layers if name not in found), None)
    if missing is not None:
        raise HarmonyError(f"the calibration has a layer {missing!r} that this graph does not have; calibrate again")
    chosen = [found[name] for name in layers if found[name].kind in style.kinds]
    if not chosen:
        return model
    prepared = onnx.shape_inference.infer_shapes(model)
    _give_own_constants(prepared.graph, {layer.name for layer in chosen})
    quantizer = _quantizer(prepared, chosen, _needed(prepared, chosen, ranges, style), style)
    quantizer.quantize_model()
    _restore_float_readers(quantizer.model.model.graph, chosen, style)
    quantizer.model.topological_sort()
    onnx.checker.check_model(quantizer.model.model)
    return quantizer.model.model


def _needed(
    model: onnx.ModelProto, layers: Sequence[Layer], ranges: dict[str, Range], style: QdqStyle
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    made = {node.name: node.output[0] for node in model.graph.node}
    wanted = {layer.data: layer.data for layer in layers}
    for layer in layers:
        wanted[layer.result] = wanted[made[layer.name]] = layer.result  # one kernel does a layer and its ReLU
    missing = next((source for source in wanted.values() if source not in ranges), None)
    if missing is not None:
        raise HarmonyError(f"the calibration has no range for the tensor {missing!r}; calibrate again")
    ends = {name: ranges[source] for name, source in wanted.items()}
    return {name: (np.array(low, np.float32), np.array(high, np.float32)) for name, (low, high) in ends.items()}


def _give_own_constants(graph: onnx.GraphProto, layers: set[str]) -> None:
    """Copy constants that a layer shares with another node (mostly a bias of zeros): quantizing one must not quantize
    the other."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    users: dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            users[name] = users.get(name, 0) + 1
    for node in graph.node:
        if node.name not in layers:
            continue
        for index, name in enumerate(node.input):
            if name in tensors and users[name] > 1:
                own = graph.initializer.add()
                own.CopyFrom(tensors[name])
                own.name = node.input[index] = f"{name}/{node.name}"


def _quantizer(model: onnx.ModelProto, layers: Sequence[Layer], ranges: dict, style: QdqStyle) -> QDQQuantizer:
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    options = {
        "ActivationSymmetric": style.signed,
        "AddQDQPairToWeight": style.weights_in_fp32,
        "QuantizeBias": not style.weights_in_fp32,
        "OpTypesToExcludeOutputQuantization": [] if style.results else list(style.kinds),
    }
    nodes = [layer.name for layer in layers]
    kinds = list(style.kinds)
    if style.results:
        nodes += [layer.relu for layer in layers if layer.relu is not None]
        kinds.append("Relu")
    return QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if style.signed else QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
        nodes_to_quantize=nodes,
        nodes_to_exclude=[],
        op_types_to_quantize=kinds,
        extra_options=options,
    )


def _restore_float_readers(graph: onnx.GraphProto, layers: Sequence[Layer], style: QdqStyle) -> None:
    """ONNX Runtime's quantizer gives the quantized tensor to all its readers; statistics need the exact one."""
    source = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    exact = {
        node.output[0]: source[node.input[0]]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in source
    }
    quantized = {layer.name for layer in layers}
    made = {layer.result for layer in layers} | {
        name for node in graph.node if node.name in quantized for name in node.output
    }
    for node in graph.node:
        if node.name in quantized or node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        for index, name in enumerate(node.input):
            if name in exact and not (style.results and exact[name] in made):
                node.input[index] = exact[name]
