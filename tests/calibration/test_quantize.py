"""From a graph and composites to INT8."""

import dataclasses

import onnx
import onnx_ir as ir
import pytest

from harmonyrt.calibration.calibrate import calibrate
from harmonyrt.calibration.calibrated import Calibration
from harmonyrt.calibration.evaluator import Evaluator
from harmonyrt.calibration.qdq import QDQ_STYLES, write_qdq
from harmonyrt.calibration.quantize import CalibrationOptions, calibrate_graph, quantize
from harmonyrt.calibration.sensitivity import STRICTEST_STYLE
from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.export.precision import precision_counts


def test_all_layers_become_int8_where_the_picture_allows(network, feeds):
    found = calibrate_graph(network, feeds, CalibrationOptions(least_db=20, threads=1))
    assert found.int8_layers == ("first", "middle", "up", "last")
    assert found.worst_db >= 20
    assert (found.composites, found.judged) == (4, 2)
    assert found.methods_db == {"mse": found.worst_db}


def test_layers_return_to_fp32_until_the_picture_is_good_enough(network, feeds):
    all_of_them = calibrate_graph(network, feeds, CalibrationOptions(least_db=0, threads=1))
    least = all_of_them.worst_db + 3
    found = calibrate_graph(network, feeds, CalibrationOptions(least_db=least, threads=1))
    assert found.worst_db >= least
    assert set(found.int8_layers) < set(all_of_them.int8_layers)
    given_up = [layer for layer in found.layers if not layer.int8]
    assert given_up
    assert all(layer.reason and layer.alone_db for layer in given_up)


def test_what_cannot_be_reached_is_one_sentence(network, feeds):
    with pytest.raises(WorkFailed, match="no layer can be INT8 within 150 dB; accept a lower PSNR"):
        calibrate_graph(network, feeds, CalibrationOptions(least_db=150, threads=1))


def test_the_best_method_is_the_one_with_the_best_worst_case(network, feeds):
    found = calibrate_graph(network, feeds, CalibrationOptions(method="best", least_db=0, threads=1))
    assert set(found.methods_db) == {"minmax", "percentile", "entropy", "mse"}
    assert found.methods_db[found.method] == max(found.methods_db.values()) == found.worst_db


def test_too_few_composites_are_refused(network, feeds):
    with pytest.raises(HarmonyError, match="at least 4 composites, 3 were given"):
        calibrate_graph(network, feeds[:3])


def test_quantize_writes_one_target(network, feeds):
    model = quantize(network, iter(feeds), "openvino", CalibrationOptions(least_db=0, threads=1))
    assert any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    with pytest.raises(HarmonyError, match="tensorrt-rtx"):
        quantize(network, feeds, "tensorrt-rtx")


def test_a_calibration_serves_another_size(network, feeds):
    found = calibrate_graph(network, feeds, CalibrationOptions(least_db=0, threads=1))
    larger = onnx.ModelProto()
    larger.CopyFrom(network)
    for value in (*larger.graph.input, *larger.graph.output):
        for axis in value.type.tensor_type.shape.dim[2:]:
            axis.dim_value = 64
    quantized = found.apply(larger, "onnx")
    onnx.shape_inference.infer_shapes(quantized, strict_mode=True)
    assert sum(node.op_type == "QuantizeLinear" for node in quantized.graph.node) >= 3


def test_files_report_and_progress(network, feeds, tmp_path):
    pytest.importorskip("matplotlib", reason="draws the plot")
    said = {}
    options = CalibrationOptions(least_db=0, sensitivity=True, threads=1, progress=said.__setitem__)
    found = calibrate(network, feeds, tmp_path / "run", options, "5" * 64, ["drop-dead"])
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"calibration.json", "sensitivity.png"}
    assert Calibration.load(tmp_path / "run" / "calibration.json") == found
    assert all(layer.alone_db is not None for layer in found.layers)
    assert set(said.values()) == {1.0}


def test_a_file_that_is_not_a_calibration_is_refused(tmp_path, network, feeds):
    for text in (None, "{", '{"kind": "other"}', '{"kind": "harmonyrt-calibration", "schema": 3, "ranges": 3}'):
        path = tmp_path / "calibration.json"
        if text is not None:
            path.write_text(text)
        with pytest.raises(HarmonyError, match=r"is not a calibration .*; make one with: harmonyrt calibrate"):
            Calibration.load(path)


def test_the_table_tells_what_became_of_each_layer(network, feeds):
    from harmonyrt.calibration.report import table

    found = calibrate_graph(network, feeds, CalibrationOptions(least_db=0, sensitivity=True, threads=1))
    kept = dataclasses.replace(found.layers[0], int8=False, int8_signed=False, reason="costs most")
    other = dataclasses.replace(found.layers[1], int8_signed=False, reason="costs much")
    text = table(dataclasses.replace(found, layers=(kept, other, *found.layers[2:])))
    assert "first" in text
    assert "fp32: costs most" in text
    assert "int8, but fp32 for tensorrt: costs much" in text
    assert "ranges by mse" in text


def test_each_style_has_its_own_layers(network, feeds):
    """Signed activations lose a bit after every ReLU: that style returns layers to FP32 that the others keep."""
    ranges = calibrate_graph(network, feeds, CalibrationOptions(least_db=0, threads=1)).ranges
    evaluator = Evaluator(network, feeds[2::3], 1)
    layers = ("first", "middle", "up", "last")
    unsigned, signed = (
        evaluator(write_qdq(network, layers, ranges, style), lambda: None).worst_db
        for style in (STRICTEST_STYLE, QDQ_STYLES["tensorrt"])
    )
    between = (unsigned + signed) / 2
    found = calibrate_graph(network, feeds, CalibrationOptions(least_db=between, threads=1))
    stricter, gentler = found.signed_layers, found.int8_layers
    if signed > unsigned:
        stricter, gentler = gentler, stricter
    assert set(stricter) < set(gentler) == set(layers)
    for target, kept in (("tensorrt", found.signed_layers), ("openvino", found.int8_layers)):
        assert precision_counts(ir.from_proto(found.apply(network, target)))["int8"] == len(kept)
