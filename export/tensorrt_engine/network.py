"""ONNX -> TensorRT's network: parsing with errors as sentences, types as the graph has them, and precision counts.

Strong typing wherever it exists (TensorRT from 10.0, TensorRT for RTX): the network has exactly the graph's types. 8.6
has none, so every layer is given the type that the graph gives to its tensors, and the builder must obey.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.runtime.backends.tensorrt.log import Log
from harmonyrt.runtime.backends.tensorrt.versions import DISPLAY_NAME, parse_version

if TYPE_CHECKING:
    import onnx_ir as ir

_TYPE_NAMES = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "INT8": "int8", "FP8": "float8"}
_CONVOLUTIONS = ("CONVOLUTION", "DECONVOLUTION")
_COMPUTE = (*_CONVOLUTIONS, "MATRIX_MULTIPLY")


def strongly_typed(target: str, version: str) -> bool:
    """Whether networks of this release have the types of the graph by themselves."""
    return target == "tensorrt-rtx" or parse_version(version)[0] >= 10


def create_network(trt: ModuleType, builder: Any) -> Any:
    """An empty network: explicit batch, and strongly typed where that exists."""
    flags = 0
    for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED"):  # 8.6 has the first, 10 both, later ones only the second
        flag = getattr(trt.NetworkDefinitionCreationFlag, name, None)
        if flag is not None:
            flags |= 1 << int(flag)
    return builder.create_network(flags)


def parse(trt: ModuleType, target: str, network: Any, model: ir.Model, path: Path, log: Log) -> Any:
    """Fill a network from a graph.

    Args:
        trt: the flavour's module.
        target: for messages.
        network: empty.
        model: the graph, for messages.
        path: its file.
        log: of the builder.

    Returns:
        The parser, which must live as long as the network: it owns the weights.

    Raises:
        WorkFailed: the parser does not take the graph; the sentence names the node.
    """
    parser = trt.OnnxParser(network, log.logger)
    if not parser.parse_from_file(str(path)):
        raise WorkFailed(_parser_sentence(parser, target, trt.__version__, model, log))
    return parser


def _parser_sentence(parser: Any, target: str, version: str, model: ir.Model, log: Log) -> str:
    name = f"{DISPLAY_NAME[target]} {version}"
    if parser.num_errors == 0:
        return f"{name} cannot read the graph: {log.last_error}; build another target"
    error = parser.get_error(0)
    index = error.node()
    node = model.graph[index] if 0 <= index < len(model.graph) else None
    # 8.6 gives only the node's index.
    node_name = (
        error.node_name() if hasattr(error, "node_name") else (node.name or node.outputs[0].name) if node else ""
    )
    operator = error.node_operator() if hasattr(error, "node_operator") else node.op_type if node else ""
    description = " ".join(str(error.desc()).split())
    where = f"node {node_name} ({operator})" if node_name or operator else "the graph"
    return f"{name} cannot read {where}: {description}; build another target, or another version of {name.split()[0]}"


def constrain_precisions(trt: ModuleType, network: Any, model: ir.Model) -> None:
    """Give every layer of a weakly typed network (8.6) the type that the graph gives to its results.

    A node may become several layers; those between its inputs and its named output take the type of what they read.
    """
    import onnx_ir as ir
    from onnx_ir.passes.common.shape_inference import infer_shapes

    inferred = infer_shapes(model.clone(), check_type=False, strict_mode=False).graph
    by_type = {ir.DataType.FLOAT: trt.DataType.FLOAT, ir.DataType.FLOAT16: trt.DataType.HALF}
    values = ir.convenience.create_value_mapping(inferred)
    known = {name: by_type[value.dtype] for name, value in values.items() if value.dtype in by_type}
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        inputs = [tensor.name for k in range(layer.num_inputs) if (tensor := layer.get_input(k)) is not None]
        inherited = next((known[name] for name in inputs if name in known), None)
        for k in range(layer.num_outputs):
            tensor = layer.get_output(k)
            if tensor.dtype not in (trt.DataType.FLOAT, trt.DataType.HALF):
                continue  # shapes and conditions
            kind = known.get(tensor.name, inherited)
            if kind is None:
                continue
            known[tensor.name] = kind
            if layer.type not in (trt.LayerType.CONSTANT, trt.LayerType.SHAPE):
                layer.precision = kind
                layer.set_output_type(k, kind)


def network_counts(network: Any, weakly_typed: bool = False, kinds: Collection[str] = _COMPUTE) -> dict[str, int]:
    """Count the layers of some kinds, by default convolutions and matrix products, by type as the typed network has it.

    Returns:
        For example ``{"float16": 18, "float32": 25}``.
    """
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    dequantized = {layer.get_output(0).name for layer in layers if layer.type.name == "DEQUANTIZE"}
    counts: Counter[str] = Counter()
    for layer in layers:
        if layer.type.name not in kinds:
            continue
        inputs = [layer.get_input(k) for k in range(min(layer.num_inputs, 2))]  # data, and a weight that is no constant
        if len(inputs) == 2 and all(tensor is not None and tensor.name in dequantized for tensor in inputs):
            kind = "INT8"
        else:
            kind = (layer.precision if weakly_typed else layer.get_output(0).dtype).name
        counts[_TYPE_NAMES.get(kind, kind.lower())] += 1
    return dict(sorted(counts.items()))


def check_network(network: Any, precision: str, weakly_typed: bool = False) -> None:
    """Refuse a network that does not compute in the precision that was asked for.

    Raises:
        WorkFailed: too few of the convolutions (or of all products, where there are none) run in it.
    """
    from harmonyrt.export.precision import LEAST_SHARE, check_counts

    counts = network_counts(network, weakly_typed, _CONVOLUTIONS) or network_counts(network, weakly_typed)
    if counts or precision != "fp32":
        check_counts(counts, precision, LEAST_SHARE)  # of INT8 too


def engine_counts(trt: ModuleType, engine: Any) -> dict[str, int]:
    """Count the layers of a built engine by the type of their results, as its inspector tells (needs a GPU).

    Returns:
        Empty where the inspector tells nothing: its answer depends on the profiling verbosity of the build.
    """
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    counts: Counter[str] = Counter()
    for layer in json.loads(text).get("Layers", []):
        if not isinstance(layer, dict):
            continue  # names only
        for output in layer.get("Outputs", [])[:1]:
            stated = str(output.get("Format/Datatype") or output.get("DataType") or output.get("Datatype") or "")
            kind = _type_in(stated)
            if kind:
                counts[kind] += 1
    return dict(sorted(counts.items()))


def _type_in(text: str) -> str | None:
    """``"Row major linear FP16 format"`` (10) or ``"Half"`` (11) -> ``"float16"``."""
    spelled = (
        (("bf16", "bfloat16"), "bfloat16"),
        (("fp16", "half", "float16"), "float16"),
        (("int8",), "int8"),
        (("fp32", "float"), "float32"),
    )
    lower = text.lower()
    return next((name for words, name in spelled if any(word in lower for word in words)), None)


def check_engine(counts: dict[str, int], precision: str) -> None:
    """Refuse a built engine in which no layer runs in the precision that was asked for; FP32 may be fused to anything.

    Raises:
        WorkFailed: the builder chose other types.
    """
    from harmonyrt.export.precision import check_counts

    if counts and precision != "fp32":
        check_counts(counts, precision, least_share=0)  # layers that only move data count here too


def check_readable(precision: str, target: str, version: str) -> None:
    """Refuse a precision that the release has no type for.

    Raises:
        HarmonyError: BF16 for 8.6, INT8 for TensorRT for RTX.
    """
    if precision == "bf16" and not strongly_typed(target, version):
        raise HarmonyError(f"TensorRT {version} has no BF16: build fp16, or install TensorRT 10.0 or newer")
    if precision == "int8" and target == "tensorrt-rtx":
        raise HarmonyError("TensorRT for RTX has no INT8 convolution: build fp16, or int8 for target tensorrt")
