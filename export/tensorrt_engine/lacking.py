"""What the compiler of TensorRT for RTX 1.7.1 lacks, written as what it has; the same function each time."""

from __future__ import annotations

import ml_dtypes
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from harmonyrt.export.rewrites.graph_tools import Writer, attribute, given, must, operand, rewrite_each
from harmonyrt.export.rewrites.recast_transposed import PHASES, phase_kernels


def without_bf16_transposed(model: ir.Model, dtype: object = ml_dtypes.bfloat16) -> int:
    """Replace every ConvTranspose in BF16 with kernel 4, stride 2 and padding 1 by four convolutions and an interleave.

    There is none for any GPU ("Could not infer output types for operation: deconv"). Every output pixel sees two of
    the four taps in each direction, which two depends on whether its index is even. The work is the same.
    """

    def in_phases(graph: ir.Graph, node: ir.Node) -> None:
        kernels = phase_kernels(node)
        must(kernels[0].dtype == dtype, f"it is in {kernels[0].dtype}")
        write = Writer(graph, node.name or node.outputs[0].name)
        phases = []
        for (row, column), kernel in zip(PHASES, kernels, strict=True):
            name, pads = f"phase_{row}{column}", [1 - row, 1 - column, row, column]
            inputs = [node.inputs[0], write.constant(f"{name}.weight", kernel), *node.inputs[2:]]
            phases.append(write(name, "Conv", *inputs, kernel_shape=[2, 2], pads=pads))
        write("interleave", "DepthToSpace", write("phases", "Concat", *phases, axis=1), blocksize=2)
        write.replace(node)

    return rewrite_each(model, {"ConvTranspose"}, in_phases)


def without_fp32_products(model: ir.Model) -> int:
    """Replace every FP32 MatMul and Gemm by Unsqueeze, Mul and ReduceSum; half-precision products stay.

    There are none for Turing, compute capability 7.5 ("FP32 GEMM is not supported"), but all of PHNet's are small: sums
    over patches by membership matrices, and the two layers of the gate. Convolutions are not affected.
    """
    ShapeInferencePass(check_type=False, strict_mode=False, data_prop=False)(model)
    return rewrite_each(model, {"MatMul", "Gemm"}, _as_sum)


def _as_sum(graph: ir.Graph, node: ir.Node) -> None:
    left, right = operand(node, 0), operand(node, 1)
    must(left.dtype == ir.DataType.FLOAT, "it is not FP32")
    must(attribute(node, "alpha", 1.0) == 1 and attribute(node, "beta", 1.0) == 1, "it is scaled")  # no layer of ours
    write = Writer(graph, node.name or node.outputs[0].name)
    if attribute(node, "transA", 0):
        left = write("left", "Transpose", left, perm=[1, 0])
    if attribute(node, "transB", 0):
        right = write("right", "Transpose", right, perm=[1, 0])
    # (..., n, k) @ (..., k, m): (..., n, k, 1) * (..., 1, k, m), summed over k.
    left = write("columns", "Unsqueeze", left, write.constant("last", [-1]))
    right = write("rows", "Unsqueeze", right, write.constant("third", [-3]))
    result = write("products", "Mul", left, right)
    result = write("sums", "ReduceSum", result, write.constant("over", [-2]), keepdims=0)
    if given(node, 2):
        write("biased", "Add", result, node.inputs[2])
    write.replace(node)
