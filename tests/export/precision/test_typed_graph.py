"""PHNet in FP16 and BF16 holds its gates on every golden case, and would not without islands."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import CheckerPass
from onnx_ir.passes.common.shape_inference import infer_shapes

from harmonyrt.export.onnx_file import weight_bytes
from harmonyrt.export.precision import precision_counts, simulate, typed_graph
from harmonyrt.export.precision.cast_boundaries import cast_boundaries
from harmonyrt.export.precision.convert_weights import convert_weights

GATES = {"fp16": 50.0, "bf16": 42.0}


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return -10 * np.log10(np.mean((a.astype(np.float64) - b) ** 2) + 1e-20)


def blended(output: np.ndarray, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return output * mask + image * (1 - mask)


def without_islands(model: ir.Model) -> ir.Model:
    """FP16 everywhere but in the node that makes the output: what converters do by default."""
    naive = infer_shapes(model.clone())
    low = {node for node in naive.graph if not node.outputs[0].is_graph_output()}
    convert_weights(naive.graph, low, ir.DataType.FLOAT16)
    for node in low:  # a cast to float32 belongs to the statistics: it becomes one to float16
        if node.op_type == "Cast" and node.attributes["to"].value == ir.DataType.FLOAT:
            node.attributes.add(ir.AttrInt64("to", ir.DataType.FLOAT16))
    cast_boundaries(naive.graph, low, ir.DataType.FLOAT16)
    return naive


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_golden_cases_hold_the_gate(golden, phnet_session, small_phnet_case, precision):
    data = golden.case(small_phnet_case)
    image, mask = golden.phnet_inputs(data)
    feeds = {"image": image, "mask": mask}
    output = phnet_session(data["meta"]["model"], precision).run(None, feeds)[0]
    expected = phnet_session(data["meta"]["model"], "fp32").run(None, feeds)[0]
    assert np.isfinite(output).all()
    assert psnr(blended(output, image, mask), blended(expected, image, mask)) >= GATES[precision]


def tiny_mask(golden):
    """A region of one pixel, golden: statistics of nothing divide by eps."""
    return "phnet", *golden.phnet_inputs(golden.case("phnet_tiny_mask128"))


def full_mask(golden):
    """Nothing but foreground, at 512 x 512: a sum over the 65536 pixels of a feature map passes 65504."""
    image, _ = golden.phnet_inputs(golden.case("phnet_full_mask128"))
    image = np.ascontiguousarray(image.repeat(4, 2).repeat(4, 3))
    return "phnet_iharmony4", image, np.ones_like(image[:, :1])


@pytest.mark.parametrize("picture", [tiny_mask, full_mask])
def test_without_islands_fp16_fails_where_it_holds_with_them(golden, phnet_graph, phnet_session, run, picture):
    model, image, mask = picture(golden)
    expected = phnet_session(model, "fp32").run(None, {"image": image, "mask": mask})[0]
    with_islands = phnet_session(model, "fp16").run(None, {"image": image, "mask": mask})[0]
    naive = run(simulate(without_islands(phnet_graph(model))), image=image, mask=mask)
    assert psnr(with_islands, expected) >= GATES["fp16"]
    assert not np.isfinite(naive).all() or psnr(naive, expected) < 30


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_types_are_consistent_and_inputs_and_output_stay_float32(phnet_graph, precision):
    model = phnet_graph("phnet_iharmony4")
    assert not [node for node in model.graph if node.op_type == "CastLike"]  # it would follow a type that changes
    typed = typed_graph(model, precision)
    CheckerPass(full_check=True)(typed)
    assert {value.dtype for value in (*typed.graph.inputs, *typed.graph.outputs)} == {ir.DataType.FLOAT}
    assert precision_counts(typed)[{"fp16": "float16", "bf16": "bfloat16"}[precision]] == 18


def test_weights_take_half_the_room_and_casts_are_few(phnet_graph):
    model = phnet_graph("phnet_iharmony4")
    typed = typed_graph(model, "fp16")
    assert weight_bytes(typed) < 0.52 * weight_bytes(model)
    assert sum(node.op_type == "Cast" for node in typed.graph) <= 18 + sum(
        node.op_type == "Cast" for node in model.graph
    )


def test_the_model_that_was_given_is_not_changed(graph):
    text = "g (float[1,1,2,2] x) => (float[1,1,2,2] y) { a = Conv(x, w) y = Relu(a) }"
    model = graph(text, w=np.ones((1, 1, 1, 1), np.float32))
    infer_shapes(model)
    before = ir.to_proto(model)
    simulate(typed_graph(model, "fp16"))
    assert ir.to_proto(model) == before
