"""CastLike -> Cast or nothing: a cast that follows a tensor's type would change its meaning with that type."""

from __future__ import annotations

import onnx

from harmonyrt.export.precision.tensors import element_types


def resolve_castlike(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write the type that every CastLike follows today into the graph.

    PyTorch's exporter makes the scale of an instance norm `CastLike(ones, x)`: once x is FP16, that scale would be too,
    beside a norm that stays in FP32.

    Args:
        model: changed in place.

    Returns:
        The same model without CastLike.
    """
    if not any(node.op_type == "CastLike" for node in model.graph.node):
        return model
    types = element_types(model)
    renamed: dict[str, str] = {}
    outputs = {output.name for output in model.graph.output}
    kept = []
    for node in model.graph.node:
        for slot, name in enumerate(node.input):
            node.input[slot] = renamed.get(name, name)
        if node.op_type == "CastLike":
            source, result = node.input[0], node.output[0]
            if types[source] == types[result] and result not in outputs:
                renamed[result] = source
                continue
            node = onnx.helper.make_node("Cast", [source], [result], name=node.name, to=types[result])
        kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model
