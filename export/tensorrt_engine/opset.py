"""TensorRT 8.6 reads ONNX up to opset 17: lowers a graph of opset 18.

Its parser does not refuse what came later, it misreads it: a ReduceMax whose axes are an input (opset 18) would reduce
over everything. So whatever cannot be lowered is refused here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harmonyrt.common import HarmonyError

if TYPE_CHECKING:
    import onnx

OPSET_OF_8_6 = 17
_AXES_BECAME_INPUT = frozenset(
    f"Reduce{kind}" for kind in ("Max", "Mean", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")
)


def lower_opset(model: onnx.ModelProto, opset: int = OPSET_OF_8_6) -> onnx.ModelProto:
    """The same graph in an older opset; the model itself where it is old enough.

    Raises:
        HarmonyError: a node has a meaning that the older opset cannot express; the sentence names it.
    """
    import onnx
    from onnx import defs, numpy_helper

    from harmonyrt.export.precision.raise_opset import opset_of

    if opset_of(model) <= opset:
        return model
    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    graph = lowered.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant" and n.attribute}
    for node in graph.node:
        if node.domain not in ("", "ai.onnx"):
            continue
        if node.op_type in _AXES_BECAME_INPUT:
            if len(node.input) > 1 and node.input[1]:
                if node.input[1] not in constants:
                    raise _refusal(node, opset, "its axes are computed")
                axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
                node.attribute.append(onnx.helper.make_attribute("axes", axes))
            del node.input[1:]
        elif defs.get_schema(node.op_type, opset_of(model)).since_version > opset and not _same_meaning(node):
            raise _refusal(node, opset, "its meaning is newer")
    for entry in lowered.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = opset
    return lowered


def _same_meaning(node: onnx.NodeProto) -> bool:
    """Newer schemas that say the same for what such a node uses: new types, or new attributes that are not given."""
    new_attributes = {"Split": {"num_outputs"}, "Resize": {"antialias", "axes", "keep_aspect_ratio_policy"}}
    if node.op_type == "Pad":
        return len(node.input) < 4  # the fourth input, axes, came with 18
    return node.op_type in new_attributes and not new_attributes[node.op_type] & {a.name for a in node.attribute}


def _refusal(node: onnx.NodeProto, opset: int, why: str) -> HarmonyError:
    return HarmonyError(
        f"node {node.name or node.output[0]} ({node.op_type}) cannot be expressed in opset {opset}, all that TensorRT"
        f" 8.6 reads: {why}; use TensorRT 10.0 or newer"
    )
