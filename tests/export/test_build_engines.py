"""`harmonyrt build`, from the command line to bundles that open."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.export.targets import BUILDERS
from harmonyrt.runtime.bundle import open_bundle

SCRIPT = Path(__file__).parents[2] / "export" / "build_engines.py"


def test_the_build_writes_bundles_that_open(tiny_engines, tiny_checkpoint):
    output, said, _ = tiny_engines
    assert [bundle["status"] for bundle in said["bundles"]] == ["built", "built"]
    for name, size in (("phnet-64-fp32", (64, 64)), ("phnet-dynamic-fp32", None)):
        bundle = open_bundle(output / name)
        (engine,) = bundle.manifest.engines
        assert bundle.verified_file(engine).name == "model.onnx"
        assert bundle.manifest.size == size
        assert engine.parity.cases >= 4
        assert engine.parity.max_abs_error <= 1e-4
        assert engine.census.keys() == {"float32"}
        assert str(tiny_checkpoint.parent) not in (output / name / "manifest.json").read_text()
        assert "/" not in bundle.manifest.model.checkpoint


def test_rewrites_are_recorded_as_applied(tiny_engines):
    output, _, _ = tiny_engines
    rewrites = {
        n: open_bundle(output / n).manifest.engines[0].rewrites for n in ("phnet-64-fp32", "phnet-dynamic-fp32")
    }
    assert "gate-fold" in rewrites["phnet-64-fp32"]
    assert "gate-fold" not in rewrites["phnet-dynamic-fp32"]
    assert "fold-batchnorm" in rewrites["phnet-dynamic-fp32"]


def test_a_rebuild_with_nothing_changed_says_so_without_torch(tiny_engines, tiny_checkpoint):
    output, _, _ = tiny_engines
    program = (
        "import sys; from harmonyrt.export.build_engines import main; code = main(sys.argv[1:])\n"
        "assert not {'torch', 'onnx', 'onnxruntime'} & sys.modules.keys(); sys.exit(code)"
    )
    command = [sys.executable, "-c", program, "phnet", "--checkpoint", tiny_checkpoint, "--output", output]
    ended = subprocess.run([*map(str, command), "--sizes", "64"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "nothing changed" in ended.stdout
    assert ended.stderr == ""


def test_an_altered_file_is_built_again(command, tiny_engines, tiny_checkpoint, tmp_path):
    import shutil

    output, _, _ = tiny_engines
    shutil.copytree(output / "phnet-64-fp32", tmp_path / "phnet-64-fp32")
    (tmp_path / "phnet-64-fp32" / "model.onnx").write_bytes(b"tampered")
    _, said, _ = command("phnet", "--checkpoint", tiny_checkpoint, "--sizes", "64", "--output", tmp_path, "--dry-run")
    assert "to build" in said


def test_a_dry_run_prints_the_plan_and_writes_nothing(command, tiny_checkpoint, tmp_path):
    arguments = (
        "phnet",
        "--checkpoint",
        tiny_checkpoint,
        "--precisions",
        "fp32",
        "bf16",
        "--output",
        tmp_path / "new",
        "--sizes",
        "256",
        "512",
    )
    code, said, _ = command(*arguments, "--dry-run")
    assert code == 0
    assert "phnet-256-fp32" in said
    assert "phnet-512-fp32" in said
    assert "not possible: onnx bf16: ONNX Runtime's CPU provider" in said
    code, said, _ = command(*arguments, "--dry-run", "--json")
    assert [bundle["status"] for bundle in json.loads(said)["plan"]] == ["to build", "nothing"] * 2
    assert not (tmp_path / "new").exists()


def one_node_builder(model, folder, precision, options):
    """A target whose engine answers every picture with black."""
    from harmonyrt.export.onnx_file import build as build_onnx

    black = model.clone()
    for value in black.graph.initializers.values():
        if value.name.startswith("decoder") and value.dtype == ir.DataType.FLOAT:
            value.const_value = ir.tensor(0 * value.const_value.numpy(), name=value.name)
    return build_onnx(black, folder, precision, options)


def test_an_engine_outside_its_gate_is_left_out(build, tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(BUILDERS, "onnx", one_node_builder)
    code, said, _ = build("phnet", "--checkpoint", tiny_checkpoint, "--sizes", "64", "--output", tmp_path / "engines")
    assert code == 1
    assert "failed: phnet-64-fp32, onnx: the fp32 engine is outside its gate" in said
    assert not (tmp_path / "engines").exists()


def test_a_second_target_joins_the_bundle_and_a_failing_one_leaves_it(
    build, tiny_engines, tiny_checkpoint, tmp_path, monkeypatch
):
    import shutil

    def failing(model, folder, precision, options):
        (folder / "openvino.xml").write_text("half an engine")
        raise WorkFailed("OpenVINO gave up")

    def working(model, folder, precision, options):
        built = BUILDERS["onnx"](model, folder, precision, options)
        (folder / "openvino.xml").write_text("an engine")
        return [type(built[0])(("openvino.xml",), {"float32": 1}, runs_here=False)]

    output, _, _ = tiny_engines
    shutil.copytree(output / "phnet-64-fp32", tmp_path / "phnet-64-fp32")
    before = (tmp_path / "phnet-64-fp32" / "manifest.json").read_text()
    monkeypatch.setitem(BUILDERS, "openvino", failing)
    ask = ("phnet", "--checkpoint", tiny_checkpoint, "--sizes", "64", "--targets", "openvino", "--output", tmp_path)
    code, said, _ = build(*ask)
    assert (code, (tmp_path / "phnet-64-fp32" / "manifest.json").read_text()) == (1, before)
    assert "OpenVINO gave up" in said

    monkeypatch.setitem(BUILDERS, "openvino", working)
    assert build(*ask)[0] == 0
    manifest = open_bundle(tmp_path / "phnet-64-fp32").manifest
    assert {engine.target for engine in manifest.engines} == {"onnx", "openvino"}
    added = next(engine for engine in manifest.engines if engine.target == "openvino")
    assert "simulated" in added.parity.measured_on


def no_gpu(model, folder, precision, options):
    (folder / "half.engine").write_text("")
    raise HarmonyError("TensorRT builds on the GPU that the engine is for, and none is here: use another target")


def test_a_target_that_this_machine_cannot_build_is_listed_or_alone_an_error(
    build, tiny_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setitem(BUILDERS, "openvino", no_gpu)
    ask = ("phnet", "--checkpoint", tiny_checkpoint, "--sizes", "64", "--output", tmp_path / "engines", "--targets")
    code, said, complained = build(*ask, "openvino")
    assert (code, said) == (2, "")
    assert "none is here: use another target" in complained
    assert not (tmp_path / "engines").exists()

    code, said, _ = build(*ask, "openvino", "onnx")
    assert code == 0
    assert "not possible: openvino fp32: TensorRT builds on the GPU" in said
    manifest = open_bundle(tmp_path / "engines" / "phnet-64-fp32").manifest
    assert [engine.target for engine in manifest.engines] == ["onnx"]
    assert [skipped.target for skipped in manifest.skipped] == ["openvino"]
    assert sorted(p.name for p in (tmp_path / "engines" / "phnet-64-fp32").iterdir()) == ["manifest.json", "model.onnx"]
    assert "nothing changed" in build(*ask, "openvino", "onnx")[1]


def test_a_bundle_that_another_build_made_meanwhile_is_taken(
    build, tiny_engines, tiny_checkpoint, tmp_path, monkeypatch
):
    import shutil

    from harmonyrt.export.build import job

    output, _, _ = tiny_engines
    written = job.bundle_being_written

    def slow_lock(place, progress):
        shutil.copytree(output / place.name, place)
        return written(place, progress)

    monkeypatch.setattr(job, "bundle_being_written", slow_lock)
    code, said, _ = build("phnet", "--checkpoint", tiny_checkpoint, "--sizes", "64", "--output", tmp_path)
    assert (code, "nothing changed" in said) == (0, True)


def test_what_weights_do_not_say_is_told_and_recorded(command, tiny_engines, tiny_checkpoint):
    output, _, complained = tiny_engines
    (sentence,) = open_bundle(output / "phnet-64-fp32").manifest.model.config["assumed"]
    assert "output sigmoid" in sentence
    assert complained.count(f"warning: {sentence}") == 1
    again = ("phnet", "--checkpoint", tiny_checkpoint, "--sizes", "64", "--output", output, "--threads", "2")
    code, said, _ = command(*again)
    assert (code, "nothing changed" in said, f"assumed: {sentence}" in said) == (0, True, True)


def test_an_option_says_what_weights_mean(build, tiny_checkpoint, tmp_path):
    line = ("phnet", "--checkpoint", tiny_checkpoint, "--sizes", "64", "--output", tmp_path)
    code, _, complained = build(*line, "--network-output", "sigmoid")
    assert (code, "does not say" in complained) == (0, False)
    assert "turns the gate's composites into something else" in complained, "these weights are not trained"
    sigmoid = open_bundle(tmp_path / "phnet-64-fp32").manifest
    assert "assumed" not in sigmoid.model.config
    code, said, _ = build(*line, "--network-output", "residual", "--patch-shrinkage", "0.02", "--dry-run")
    assert (code, "to build" in said) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("pih",), "model 'pih' is not known; choose from phnet"),
        (("phnet", "--sizes", "100"), "give a multiple of 8"),
        (("phnet", "--precisions", "bf16"), "no BF16 convolution"),
        (("phnet", "--checkpoint", "nowhere.pth"), "nowhere.pth does not exist"),
        (("phnet", "--checkpoint", SCRIPT), "cannot be read as a checkpoint"),
        (("phnet", "--checkpoint", SCRIPT, "--output", SCRIPT), "is a file; give a folder with --output"),
        (("phnet", "--threads", "0"), "give a number from 1"),
        (("phnet", "--optimization-level", "9"), "--optimization-level 9 is not possible; give a number from 0 to 5"),
        (("phnet", "--optimization-level", "-1"), "give a number from 0 to 5"),
        (("phnet", "--workspace", "99999999999"), "--workspace 99999999999 is not possible"),
        (("phnet", "--compute-capabilities", "new"), "compute capability 'new'"),
        (("phnet", "--network-output", "tanh"), "output 'tanh' is not known; use one of sigmoid, residual"),
        (("phnet", "--patch-shrinkage", "2"), "not a number from 0 to 1"),
        (("phnet", "--speed", "9"), "unrecognized arguments: --speed 9"),
        ((), "required: model"),
    ],
)
def test_wrong_usage_is_one_sentence(command, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    code, said, complained = command(*arguments)
    assert (code, said) == (2, "")
    assert sentence in complained.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_an_output_is_answered_by_the_runtime(tiny_engines):
    """The bundle and the runtime agree on names, shapes and ranges."""
    from harmonyrt.export.build.running import open_engine

    output, _, _ = tiny_engines
    bundle = open_bundle(output / "phnet-64-fp32")
    (engine,) = bundle.manifest.engines
    run, _ = open_engine(bundle.verified_file(engine), engine, bundle.manifest, threads=1)
    feeds = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in bundle.manifest.inputs}
    answer = run(feeds)
    assert {name: array.shape for name, array in answer.items()} == {s.name: s.shape for s in bundle.manifest.outputs}
