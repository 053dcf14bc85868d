"""A build takes a calibration that was made before, and only one that belongs to it."""

from __future__ import annotations

import dataclasses
import json

import pytest

from harmonyrt.calibration.calibrated import Calibration, LayerReport
from harmonyrt.calibration.quantize import CalibrationOptions, calibrate_graph
from harmonyrt.common.files import sha256_of
from harmonyrt.export.build import gate
from harmonyrt.export.build.composites import composites
from harmonyrt.export.phnet import session, to_onnx
from harmonyrt.export.phnet.given_calibration import calibration_rewrites
from harmonyrt.export.rewrites import DEFAULT
from harmonyrt.runtime.bundle import open_bundle


@pytest.fixture
def calibration(tiny_checkpoint, tmp_path):
    """calibration(**changes): a file for the tiny network that names no layer, and its path."""
    layer = LayerReport("skip.0.rconv/Conv", 0.5, None, False, False, "as the test wants it")
    plain = Calibration(
        "mse", {}, (layer,), {}, 40.0, 50.0, 4, 2, sha256_of(tiny_checkpoint), calibration_rewrites(DEFAULT)
    )

    def write(**changes):
        path = tmp_path / "calibration.json"
        dataclasses.replace(plain, **changes).save(path)
        return path

    return write


@pytest.fixture
def ask(command, tiny_checkpoint, tmp_path):
    """ask(*arguments): a build of the tiny network at 64 px in INT8."""
    plain = ("phnet", "--checkpoint", tiny_checkpoint, "--sizes", "64", "--output", tmp_path / "engines")
    return lambda *arguments: command(*plain, "--precisions", "int8", *arguments)


@pytest.mark.usefixtures("build")
def test_int8_comes_from_the_file(ask, tiny_checkpoint, tiny_trace, tmp_path, monkeypatch):
    rewrites = calibration_rewrites(DEFAULT)
    feeds = [{"image": c.image, "mask": c.mask} for c in composites((64, 64), 4)]
    graph = to_onnx.export_phnet(tiny_trace(), (64, 64), rewrites)
    found = calibrate_graph(graph, feeds, CalibrationOptions(least_db=1, threads=1))
    path = tmp_path / "mine.json"
    dataclasses.replace(found, checkpoint_sha256=sha256_of(tiny_checkpoint), rewrites=rewrites).save(path)
    monkeypatch.setattr(session.PHNetSession, "_calibrated", lambda *_: pytest.fail("calibrated again"))
    monkeypatch.setitem(gate.LOWEST_PSNR_DB, "int8", 1.0)  # random weights

    code, said, complained = ask("--calibration", path)
    assert code == 0, said + complained
    manifest = open_bundle(tmp_path / "engines" / "phnet-64-int8").manifest
    assert manifest.recipe["calibration_sha256"] == sha256_of(path)
    assert manifest.engines[0].census["int8"] == len(
        [layer for layer in found.layers if layer.int8 and layer.name.endswith("/Conv")]
    )
    assert "nothing changed" in ask("--calibration", path)[1]
    assert "to build" in ask("--dry-run")[1]  # without it, the recipe is another


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"checkpoint_sha256": "5" * 64}, "belongs to other weights: found sha256 555555555555…, need"),
        ({"checkpoint_sha256": ""}, "belongs to other weights: found sha256 none…"),
        ({"rewrites": ("drop-dead",)}, "belongs to graphs with the rewrites drop-dead; give those with --rewrites"),
    ],
)
def test_another_networks_calibration_is_refused(ask, calibration, tmp_path, changes, sentence):
    code, said, complained = ask("--calibration", calibration(**changes))
    assert (code, said) == (2, "")
    (line,) = complained.splitlines()
    assert sentence in line
    assert not (tmp_path / "engines").exists()


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", json.dumps({"kind": "harmonyrt-calibration", "schema": 1})])
def test_a_file_that_is_none_is_refused(ask, tmp_path, content):
    path = tmp_path / "other.json"
    if content is not None:
        path.write_text(content)
    code, said, complained = ask("--calibration", path)
    assert (code, said) == (2, "")
    (line,) = complained.splitlines()
    assert "other.json is not a calibration" in line
    assert "harmonyrt calibrate" in line


def test_without_int8_there_is_nothing_to_calibrate(command, calibration, tiny_checkpoint):
    code, _, complained = command("phnet", "--checkpoint", tiny_checkpoint, "--calibration", calibration())
    assert code == 2
    assert "add int8 to --precisions" in complained
