"""A typed graph as a graph that ONNX Runtime's CPU provider runs with the typed graph's own rounding.

That provider has no BF16 convolution, and it runs FP16 graphs in FP32 without rounding anything but the weights: there
even a graph that gives NaN on a GPU looks perfect. So a typed graph is measured as its *simulation*: FP32 arithmetic,
where every tensor that the typed graph holds in low precision is rounded to it. That is what a tensor core does
(products of low-precision numbers, FP32 sums, one rounding of the result); what it leaves out is the order of
summation, and engines that sum in FP16.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import CheckerPass
from onnx_ir.passes.common.shape_inference import infer_shapes

from harmonyrt.export.precision.cast_boundaries import FLOAT, cast
from harmonyrt.export.precision.convert_weights import as_type

LOW = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def simulate(model: ir.Model) -> ir.Model:
    """Simulate a typed graph in FP32.

    Args:
        model: what :func:`typed_graph` made; not changed. A graph that is all FP32 comes back equal.

    Returns:
        The same function with every low-precision tensor rounded by a pair of casts, without a low-precision compute
        node. Weights are the rounded ones, stored as FP32.
    """
    simulated = model.clone()
    infer_shapes(simulated)
    graph = simulated.graph
    for value in graph.initializers.values():
        if value.dtype in LOW and value.const_value is not None:
            value.const_value, value.type = as_type(value.const_value, FLOAT), ir.TensorType(FLOAT)
    for node in list(graph):
        for output in node.outputs:
            if output.dtype is not None and output.dtype in LOW:
                _round(graph, node, output, output.dtype)
    CheckerPass(full_check=True)(simulated)
    return simulated


def _round(graph: ir.Graph, node: ir.Node, output: ir.Value, kind: ir.DataType) -> None:
    """Have all readers of an output read it rounded to its type; a Cast rounds by itself."""
    uses, casts = list(output.uses()), []
    if node.op_type != "Cast":
        output.type = ir.TensorType(FLOAT)
        casts.append(cast(output, kind, f"{output.name}_low"))
    casts.append(cast(casts[0].outputs[0] if casts else output, FLOAT, f"{output.name}_rounded"))
    graph.insert_after(node, casts)
    for use in uses:
        use.node.replace_input_with(use.idx, casts[-1].outputs[0])
