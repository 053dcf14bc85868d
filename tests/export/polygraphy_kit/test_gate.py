"""The folder's own gate, which needs no HarmonyRT, is the build's gate."""

from __future__ import annotations

import hashlib
import importlib.util
import json

import numpy as np
import pytest

from harmonyrt.common import WorkFailed
from harmonyrt.export.build.gate import Gate, Reference, measure
from harmonyrt.export.polygraphy_kit import folder
from harmonyrt.export.polygraphy_kit import gate as script


class Result(dict):
    """As Polygraphy's results: arrays by name, and who made them."""

    def __init__(self, runner_name: str, **outputs: np.ndarray) -> None:
        super().__init__(outputs)
        self.runner_name = runner_name


@pytest.fixture
def written(tmp_path):
    """written("fp16", extreme=False) -> gate.py of a folder of one random composite, and its reference."""

    def make(precision: str, extreme: bool = False):
        random = np.random.default_rng(1)
        feeds = {"image": random.random((1, 3, 8, 8), np.float32), "mask": random.random((1, 1, 8, 8), np.float32)}
        reference = Reference("cow on clock", feeds, {"output": random.random((1, 3, 8, 8), np.float32)}, extreme)
        pytest.importorskip("polygraphy", reason="polygraphy is not installed: harmonyrt[polygraphy]")
        folder._write_data(tmp_path, precision, [reference], ["first", "second"])
        spec = importlib.util.spec_from_file_location("their_gate", tmp_path / "gate.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module, reference

    return make


@pytest.mark.parametrize(("precision", "noise"), [("fp32", 5e-5), ("fp32", 3e-4), ("fp16", 3e-3), ("int8", 0.02)])
def test_it_is_the_gate_of_the_build(written, capsys, precision, noise):
    module, reference = written(precision)
    expected = reference.outputs["output"]
    output = expected + np.resize(np.float32([noise, -noise]), expected.shape)
    gate = Gate(precision)
    distance = measure(lambda feeds: {"output": output}, [reference], gate, "here")
    try:
        gate.check(distance, "here")
        passed = True
    except WorkFailed:
        passed = False
    for pair in ((Result("trt", output=output), Result(script.GOLDEN, output=expected)),):
        assert dict(module.compare_outputs(*pair)) == dict(module.compare_outputs(*reversed(pair)))
        assert module.compare_outputs(*pair) == {"cow on clock": passed}
    assert f"max abs error {distance.max_abs_error:.1e}, {distance.psnr_db:.1f} dB" in capsys.readouterr().out


def test_edge_cases_only_have_to_be_finite(written):
    module, reference = written("fp32", extreme=True)
    golden = Result(script.GOLDEN, output=reference.outputs["output"])
    assert module.compare_outputs(Result("trt", output=golden["output"] + 0.5), golden) == {"cow on clock": True}
    broken = golden["output"].copy()
    broken[0, 0, 0, 0] = np.nan
    assert module.compare_outputs(Result("trt", output=broken), golden) == {"cow on clock": False}


def test_two_runners_and_other_golden_outputs_are_refused(written):
    module, reference = written("fp32")
    output = reference.outputs["output"]
    with pytest.raises(SystemExit, match="give one runner"):
        module.compare_outputs(Result("onnxrt", output=output), Result("trt", output=output))
    with pytest.raises(SystemExit, match=r"not the one that gate\.json belongs to"):
        module.compare_outputs(Result("trt", output=output), Result(script.GOLDEN, output=output + 1))


def test_the_first_tensor_that_leaves_the_gate_comes_first(written, capsys):
    module, _ = written("fp16")
    right = Result("onnxrt", second=np.ones(4), first=np.ones(4), only_here=np.ones(4))
    wrong = Result("trt", second=np.full(4, 1.1), first=np.full(4, 1.001))
    assert list(module.compare_tensors(wrong, right).items()) == [("first", True), ("second", False)]
    assert [line[:6] for line in capsys.readouterr().out.splitlines()] == ["fine  ", "FAILED"]


def test_the_loader_gives_the_composites(written, tmp_path):
    _, reference = written("fp32")
    spec = importlib.util.spec_from_file_location("their_loader", tmp_path / "data_loader.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for feeds in (*module.load_data(), *module.load_first()):
        np.testing.assert_array_equal(feeds["image"], reference.feeds["image"])
        np.testing.assert_array_equal(feeds["mask"], reference.feeds["mask"])
    cases = json.loads((tmp_path / "gate.json").read_text())["cases"]
    assert cases[0]["sha256"] == hashlib.sha256(reference.outputs["output"].tobytes()).hexdigest()
