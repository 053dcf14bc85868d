"""`harmonyrt info` and `harmonyrt verify`: what they print."""

import json
import sys
from types import SimpleNamespace

import pytest

from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.manifest import Manifest


def test_info_in_words(bundle, run):
    done = run("info", bundle)
    assert done.code == 0
    for words in ("phnet-32-fp32", "32 x 32", "onnx fp32, run by onnxruntime", "model.onnx", "max_abs_error <= 1e-4"):
        assert words in done.out


def test_info_in_json_is_the_manifest(bundle, run):
    assert Manifest.from_json(run("info", bundle, "--json").out) == open_bundle(bundle).manifest


@pytest.fixture
def checked(bundle, monkeypatch):
    """Let `verify` find what a test wants, without torch."""
    pytest.importorskip("torch")

    def pretend(**changes):
        engine = open_bundle(bundle).manifest.engines[0]
        check = SimpleNamespace(**{"engine": engine, "parity": engine.parity, "problem": None, "note": None} | changes)
        module = SimpleNamespace(verify_bundle=lambda path, checkpoint, threads: [check])
        monkeypatch.setitem(sys.modules, "harmonyrt.export.verify", module)
        monkeypatch.setattr("harmonyrt.export.recipe.find_checkpoint", lambda given: given)

    return pretend


def test_verify_passes(checked, bundle, run):
    checked()
    done = run("verify", bundle)
    assert done.code == 0
    assert done.out.startswith("fine     onnx fp32: max abs error 0.0e+00")


def test_verify_fails_with_1(checked, bundle, run):
    checked(problem="found max_abs_error 1.0e-02, need 1e-4")
    done = run("verify", bundle)
    assert done.code == 1
    assert done.out.startswith("FAILED   onnx fp32: found max_abs_error 1.0e-02")
    assert json.loads(run("verify", bundle, "--json").out)["passed"] is False


def test_verify_says_what_it_could_not_run(checked, bundle, run):
    checked(parity=None, note="its files are whole; not run: there is no card")
    done = run("verify", bundle)
    assert done.code == 0
    assert done.out.startswith("not run  onnx fp32: its files are whole")
