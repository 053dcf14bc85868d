"""TensorRT 8.6 reads ONNX up to opset 17: lowers a graph of opset 18.

Its parser does not refuse what came later, it misreads it: a ReduceMax whose axes are an input (opset 18) would reduce
over everything. So whatever cannot be lowered is refused here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harmonyrt.common import HarmonyError

if TYPE_CHECKING:
    import onnx_ir as ir

OPSET_OF_8_6 = 17
_AXES_BECAME_INPUT = frozenset(
    f"Reduce{kind}" for kind in ("Max", "Mean", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")
)


def lower_opset(model: ir.Model, opset: int = OPSET_OF_8_6) -> ir.Model:
    """The same graph in an older opset; the model itself where it is old enough.

    Raises:
        HarmonyError: a node has a meaning that the older opset cannot express; the sentence names it.
    """
    import onnx_ir as ir
    from onnx import defs

    newer = model.opset_imports[""]
    if newer <= opset:
        return model
    lowered = model.clone()
    for node in lowered.graph:
        if node.domain:
            continue
        if node.op_type in _AXES_BECAME_INPUT:
            if len(node.inputs) > 1 and node.inputs[1] is not None:
                axes = ir.convenience.get_const_tensor(node.inputs[1])
                if axes is None:
                    raise _refusal(node, opset, "its axes are computed")
                node.attributes.add(ir.AttrInt64s("axes", axes.numpy().tolist()))
                node.replace_input_with(1, None)
            node.resize_inputs(1)
        elif defs.get_schema(node.op_type, newer).since_version > opset and not _same_meaning(node):
            raise _refusal(node, opset, "its meaning is newer")
    lowered.opset_imports[""] = opset
    return lowered


def _same_meaning(node: ir.Node) -> bool:
    """Newer schemas that say the same for what such a node uses: new types, or new attributes that are not given."""
    new_attributes = {"Split": {"num_outputs"}, "Resize": {"antialias", "axes", "keep_aspect_ratio_policy"}}
    if node.op_type == "Pad":
        return len(node.inputs) < 4  # the fourth input, axes, came with 18
    return node.op_type in new_attributes and new_attributes[node.op_type].isdisjoint(node.attributes)


def _refusal(node: ir.Node, opset: int, why: str) -> HarmonyError:
    return HarmonyError(
        f"node {node.name or node.outputs[0].name} ({node.op_type}) cannot be expressed in opset {opset}, all that"
        f" TensorRT 8.6 reads: {why}; use TensorRT 10.0 or newer"
    )
