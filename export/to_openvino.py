"""The OpenVINO target: typed ONNX -> IR (`openvino.xml` and its `.bin`), in the types that the graph has."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from harmonyrt.common import WorkFailed
from harmonyrt.common.errors import require
from harmonyrt.export.targets import BuildOptions, BuiltEngine

if TYPE_CHECKING:
    import onnx_ir as ir

FILES = ("openvino.xml", "openvino.bin")
_COMPUTE = (
    "Convolution",
    "ConvolutionBackpropData",
    "GroupConvolution",
    "MatMul",
    "FusedConvolution",
    "QuantizedConvolution",
)
_TYPE_NAMES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
_LONGEST_DEQUANTIZATION = 5
_CAPABILITY = {"bf16": "BF16", "fp16": "FP16"}


def build(model: ir.Model, folder: Path, precision: str, options: BuildOptions) -> list[BuiltEngine]:
    """Write the IR; see :data:`harmonyrt.export.targets.Builder`."""
    from harmonyrt.export.onnx_file import handed_over, native_needs
    from harmonyrt.export.precision import check_counts
    from harmonyrt.runtime import openvino_core
    from harmonyrt.runtime.backends.openvino import add_native_kernels

    openvino = require("openvino", "openvino", "the openvino target")
    core = openvino_core.core(openvino)
    needs = native_needs(model, "openvino", precision)
    add_native_kernels(needs, precision)
    try:
        with handed_over(model, folder) as path:
            converted = core.read_model(path)
            openvino.save_model(converted, folder / FILES[0], compress_to_fp16=False)
            counts = _precision_counts(converted)
            del converted  # it maps the file
    except Exception as error:  # OpenVINO raises RuntimeError and its own types
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        raise WorkFailed(f"OpenVINO {openvino.__version__} cannot convert the graph: {reason}") from None
    check_counts(counts, precision, least_share=0)  # products of statistics stay in FP32; the graph was checked in full
    capability = _CAPABILITY.get(precision)
    capable = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    runs_here = capability is None or capability in capable
    if capability is not None:
        needs["cpu"] = capability
    return [BuiltEngine(FILES, counts, needs, runs_here)]


def _precision_counts(model) -> dict[str, int]:
    """Compute operations by the type that they read; quantized ones read what was dequantized for them."""
    counts: Counter[str] = Counter()
    for operation in model.get_ops():
        if operation.get_type_name() not in _COMPUTE:
            continue
        quantized = operation.get_type_name() == "QuantizedConvolution"
        if quantized or all(_dequantized(operation.input_value(i).get_node()) for i in range(2)):
            counts["int8"] += 1
        else:
            kind = operation.get_input_element_type(0).get_type_name()
            counts[_TYPE_NAMES.get(kind, kind)] += 1
    return dict(sorted(counts.items()))


def _dequantized(node) -> bool:
    """Whether a value comes out of a FakeQuantize, or of a conversion, shift and scaling of 8-bit integers."""
    for _ in range(_LONGEST_DEQUANTIZATION):
        if node.get_type_name() == "FakeQuantize" or node.get_output_element_type(0).get_type_name() in ("u8", "i8"):
            return True
        if node.get_type_name() not in ("Multiply", "Subtract", "Convert", "Reshape"):
            return False
        node = node.input_value(0).get_node()
    return False
