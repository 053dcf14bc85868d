"""The README's commands, run for real where they need no GPU, in a copy of the folder."""

from __future__ import annotations

import re
import shutil

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from fakes.altered import altered_copy
from harmonyrt.calibration.layers import find_layers
from harmonyrt.calibration.qdq import style_of, write_qdq
from harmonyrt.export.polygraphy_kit import folder
from harmonyrt.export.polygraphy_kit.commands import RTX, Kit, reducing, steps
from harmonyrt.runtime.bundle import open_bundle

PRECISIONS = ("fp32", "fp16", "int8")


@pytest.fixture
def copied(kits, tmp_path):
    """copied("fp16") -> a copy of that folder to work in: it needs nothing outside itself."""
    return lambda precision: shutil.copytree(kits[precision], tmp_path / "copy")


def lines(text: str) -> list[str]:
    """What gate.py printed."""
    return [line for line in text.splitlines() if line.startswith(("fine  ", "FAILED  "))]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_onnx_runtime_passes_the_gate_as_the_build_measured_it(kits, copied, shell, commands, precision):
    place = copied(precision)
    (command,) = commands(place, "ONNX Runtime against the gate")
    done = shell(place, command)
    assert done.returncode == 0, done.stdout + done.stderr
    said = lines(done.stdout)
    engine = open_bundle(kits[precision].parent / "engines" / f"phnet-64-{precision}").manifest.engines[0]
    assert len(said) == engine.parity.cases
    lowest = min(float(found) for found in re.findall(r"([\d.]+) dB after", done.stdout))
    assert lowest == pytest.approx(engine.parity.psnr_db, abs=0.1)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_graph_is_read(copied, shell, commands, precision):
    """By ONNX, and by TensorRT's own parser, which takes every graph but the INT8 one of ONNX Runtime's style."""
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed: harmonyrt[tensorrt-rtx]")
    place = copied(precision)
    (command,) = commands(place, "Look at the graph")
    done = shell(place, command)
    assert "image [dtype=float32, shape=(1, 3, 64, 64)]" in done.stdout, done.stdout + done.stderr
    command = commands(place, "What TensorRT says to the graph")[-1]
    done = shell(place, command)
    assert done.returncode == 0, done.stdout + done.stderr
    if precision == "int8":
        assert "DequantizeLinear" in (place / "polygraphy_capability_dumps" / "results.txt").read_text()
        assert "TensorRT does not take this graph" in (place / "README.md").read_text()
        assert "--trt" not in (place / "README.md").read_text()
    else:
        assert "Graph is fully supported by TensorRT" in done.stdout


def test_tensorrts_int8_graph_is_read_too(kits, shell, tmp_path):
    """In the style of the target `tensorrt`, whatever its ranges."""
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed: harmonyrt[tensorrt-rtx]")
    model = onnx.load(kits["int8"] / "reference.onnx")
    layers = list(find_layers(model))
    ranges = {name: (-1.0, 1.0) for layer in layers for name in (layer.data, layer.result)}
    onnx.save(write_qdq(model, [one.name for one in layers], ranges, style_of("tensorrt")), tmp_path / "int8.onnx")
    done = shell(tmp_path, f"{RTX}polygraphy inspect capability int8.onnx")
    assert "Graph is fully supported by TensorRT" in done.stdout, done.stdout + done.stderr


def test_polygraphy_takes_the_options_of_the_commands_for_a_gpu(kits, shell, commands, tmp_path):
    """It writes the script that it would run, for a graph of one size, for one of any size and for a plan."""
    manifest = open_bundle(kits["fp16"].parent / "engines" / "phnet-64-fp16").manifest
    shapes = {"image": ((1, 3, 64, 64), (1, 3, 64, 72), (1, 3, 96, 72)), "mask": ((1, 1, 64, 64),) * 3}
    plans = (("tensorrt", "tensorrt-10.4-sm70.engine"), ("tensorrt-rtx", "tensorrt-rtx-sm89.engine"))
    free = [step for step in steps(Kit(manifest, "model.onnx", None, None, plans, shapes)) if step.gpu]
    found = [*commands(kits["fp16"], "TensorRT against the gate"), free[0].commands[0]]
    found += [step.commands[0] for step in free[-2:]]
    assert "--trt-max-shapes 'image:[1,3,96,72]' 'mask:[1,1,64,64]'" in found[1]
    assert found[3].startswith(RTX)
    for number, command in enumerate(found):
        done = shell(kits["fp16"], f"{command} --gen-script {tmp_path / f'{number}.py'}")
        assert done.returncode == 0, done.stdout + done.stderr
    script = (tmp_path / "1.py").read_text()
    assert "strongly_typed=True" in script
    assert "(1, 3, 96, 72)" in script or "[1, 3, 96, 72]" in script


def test_an_engine_that_drifted_fails_the_gate(copied, shell, commands):
    place = copied("fp32")
    _weaken(place / "model.onnx", 0.999)
    (command,) = commands(place, "ONNX Runtime against the gate")
    done = shell(place, command)
    assert done.returncode == 1
    assert any(line.startswith("FAILED") for line in lines(done.stdout))


def test_tensors_are_compared_in_the_order_of_the_graph(copied, shell, commands):
    place = copied("fp16")
    for command in commands(place, "Which tensor leaves the gate, without a GPU"):
        done = shell(place, command)
        assert done.returncode == 0, done.stdout + done.stderr
    names = [re.match(r"fine +(.*): [\d.e+-]+ of its largest", line)[1] for line in lines(done.stdout)]
    order = [name for node in onnx.load(place / "model.onnx").graph.node for name in node.output]
    assert len(names) > 10
    assert names == sorted(names, key=order.index)


@pytest.mark.slow
def test_the_graph_is_reduced_to_what_fails(copied, shell):
    """`debug reduce` as the README has it, with a faulty graph in ONNX Runtime for the GPU's fault."""
    place = copied("fp32")
    good = _chain([1.5, 0.5, 2.0, 3.0])
    onnx.save(good, place / "good.onnx")
    onnx.save(_chain([1.5, 0.5, 2.1, 3.0]), place / "faulty.onnx")
    for command in reducing("faulty.onnx", "--onnxrt", good="good.onnx"):
        done = shell(place, command)
        assert done.returncode == 0, done.stdout + done.stderr
    (node,) = onnx.load(place / "reduced.onnx").graph.node
    assert node.name == "step2"


def test_what_engines_answered_is_written_for_polygraphy(kits, tiny_checkpoint, tmp_path, capsys):
    from polygraphy.comparator import RunResults

    from harmonyrt.cli.main import main

    bundle = kits["fp32"].parent / "engines" / "phnet-64-fp32"
    command = ["verify", str(bundle), "--checkpoint", str(tiny_checkpoint), "--save-outputs", str(tmp_path / "answers")]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("fine ")
    golden, found = (
        RunResults.load(str(tmp_path / "answers" / name)) for name in ("pytorch-fp32.json", "onnx-fp32.json")
    )
    expected = RunResults.load(str(kits["fp32"] / "golden.json"))
    (golden,), (found,), (expected,) = golden.values(), found.values(), expected.values()
    assert len(golden) == len(found) == len(expected) == 16
    for one, other, third in zip(golden, found, expected, strict=True):
        np.testing.assert_array_equal(one["output"], third["output"])
        np.testing.assert_allclose(other["output"], one["output"], atol=1e-4)


def test_an_older_folder_is_replaced_and_nothing_else(kits, tiny_checkpoint, tmp_path, capsys):
    from harmonyrt.cli.main import main

    bundle = str(kits["fp32"].parent / "engines" / "phnet-64-fp32")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "notes.txt").write_text("mine")
    command = ["polygraphy", bundle, "--checkpoint", str(tiny_checkpoint), "-o"]
    assert main([*command, str(tmp_path / "theirs")]) == 2
    assert "exists and is not a folder with gate.json" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["theirs", "notes.txt"]
    older = shutil.copytree(kits["fp32"], tmp_path / "older")
    (older / "README.md").write_text("old")
    assert main([*command, str(older)]) == 0
    assert (older / "README.md").read_text() == (kits["fp32"] / "README.md").read_text()


def test_what_polygraphy_cannot_run_is_one_sentence(bundle, altered_bundle, capsys, monkeypatch):
    from harmonyrt.cli.main import main

    def said(path) -> str:
        assert main(["polygraphy", str(path), "-o", str(path.parent / "out")]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert not (path.parent / "out").exists()
        return error

    assert "is for bundles of phnet" in said(altered_bundle(lambda m: m["model"].update(family="diffharmony")))
    found = said(altered_bundle(lambda m: m["engines"][0].update(target="openvino")))
    assert "found openvino; build it with --targets onnx" in found
    assert "was built from another checkpoint" in said(altered_bundle(lambda m: None))

    def missing(module, extra, why):
        raise folder.HarmonyError(f"{why} needs {module}")

    monkeypatch.setattr(folder, "require", missing)
    assert "harmonyrt polygraphy needs polygraphy" in said(altered_bundle(lambda m: None))


@pytest.fixture
def altered_bundle(bundle, tmp_path):
    """altered_bundle(change) -> a copy of the darkening bundle whose manifest was changed."""
    return lambda change: altered_copy(bundle, tmp_path / f"bundle-{len(list(tmp_path.iterdir()))}", change)


def _weaken(path, factor: float) -> None:
    """Scale the last convolution's weights."""
    model = onnx.load(path)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    node = [n for n in model.graph.node if n.op_type in ("Conv", "ConvTranspose") and n.input[1] in weights][-1]
    tensor = weights[node.input[1]]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), tensor.name))
    onnx.save(model, path)


def _chain(factors: list[float]) -> onnx.ModelProto:
    """image times each factor in turn; the mask is read too, and changes nothing."""
    kind = onnx.TensorProto.FLOAT
    names = ["image", *(f"value{i}" for i in range(len(factors) - 1)), "output"]
    nodes = [
        helper.make_node("Mul", [names[i], f"factor{i}"], [names[i + 1]], name=f"step{i}") for i in range(len(factors))
    ]
    tensors = [helper.make_tensor(f"factor{i}", kind, [], [factor]) for i, factor in enumerate(factors)]
    image = helper.make_tensor_value_info("image", kind, [1, 3, 64, 64])
    output = helper.make_tensor_value_info("output", kind, [1, 3, 64, 64])
    graph = helper.make_graph(nodes, "chain", [image], [output], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
