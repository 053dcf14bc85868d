"""FP32 matrix products as multiply and sum, for engines of TensorRT for RTX for compute capability 7.5.

TensorRT for RTX 1.7.1 compiles no FP32 matrix product for Turing ("FP32 GEMM is not supported"), but all of PHNet's
products are small: sums over patches by membership matrices, and the two layers of the gate. Convolutions are not
affected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

REWRITE = "fp32-products-as-sums"


def without_fp32_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every FP32 MatMul and Gemm by Unsqueeze, Mul and ReduceSum; half-precision products stay."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    inferred = onnx.shape_inference.infer_shapes(model)
    types = {v.name: v.type.tensor_type.elem_type for v in (*inferred.graph.value_info, *inferred.graph.input)}
    types |= {t.name: t.data_type for t in model.graph.initializer}
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(model)
    graph = rewritten.graph
    nodes = []
    for i, node in enumerate(graph.node):
        settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        scaled = settings.get("alpha", 1.0) != 1.0 or settings.get("beta", 1.0) != 1.0  # no layer of ours is
        product = node.op_type in ("MatMul", "Gemm") and types.get(node.input[0]) == onnx.TensorProto.FLOAT
        if not product or scaled:
            nodes.append(node)
            continue
        name = node.name or f"{node.op_type}_{i}"

        def constant(suffix: str, values: list[int], name: str = name) -> str:
            graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), f"{name}/{suffix}"))
            return f"{name}/{suffix}"

        left, right = node.input[:2]

        def add(op: str, inputs: list[str], suffix: str, name: str = name, **attributes: object) -> str:
            nodes.append(helper.make_node(op, inputs, [f"{name}/{suffix}"], name=f"{name}/{suffix}", **attributes))
            return f"{name}/{suffix}"

        if settings.get("transA"):
            left = add("Transpose", [left], "left", perm=[1, 0])
        if settings.get("transB"):
            right = add("Transpose", [right], "right", perm=[1, 0])
        # (..., n, k) @ (..., k, m): (..., n, k, 1) * (..., 1, k, m), summed over k.
        left = add("Unsqueeze", [left, constant("last", [-1])], "columns")
        right = add("Unsqueeze", [right, constant("third", [-3])], "rows")
        products = add("Mul", [left, right], "products")
        result = add("ReduceSum", [products, constant("over", [-2])], "sums", keepdims=0)
        if len(node.input) > 2 and node.input[2]:
            add("Add", [result, node.input[2]], "biased")
        nodes[-1].output[0] = node.output[0]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]  # shapes of what was replaced
    return rewritten
