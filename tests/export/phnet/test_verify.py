"""`harmonyrt verify` proves a bundle again."""

import numpy as np
import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.export.phnet import verify
from harmonyrt.runtime.manifest import Parity


def engine(noise: float):
    """An engine that is this far off, up and down by turns."""
    return lambda feeds: {"output": 1 - feeds["image"] + np.resize(np.float32([noise, -noise]), feeds["image"].shape)}


@pytest.fixture
def bundle(tiny_engines):
    return tiny_engines[0] / "phnet-64-fp32"


def test_a_bundle_proves_itself_again(bundle, tiny_checkpoint):
    (check,) = verify.verify_bundle(bundle, tiny_checkpoint, threads=2)
    assert check.problem is None
    assert isinstance(check.parity, Parity)
    assert check.parity.max_abs_error == pytest.approx(check.engine.parity.max_abs_error, abs=1e-6)


def test_another_checkpoint_is_refused(bundle, tiny_checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    tensors = load_file(tiny_checkpoint)
    save_file({name: 2 * tensor for name, tensor in tensors.items()}, tmp_path / "other.safetensors")
    with pytest.raises(HarmonyError, match="built from another checkpoint"):
        verify.verify_bundle(bundle, tmp_path / "other.safetensors")


def test_an_engine_that_drifted_is_a_problem(bundle, tiny_checkpoint, monkeypatch):
    def drifted(path, engine_spec, manifest, threads):
        return engine(0.1), "a drifted engine"

    monkeypatch.setattr(verify, "open_engine", drifted)
    (check,) = verify.verify_bundle(bundle, tiny_checkpoint)
    assert "outside its gate" in check.problem


def test_an_engine_that_cannot_run_here_is_noted(bundle, tiny_checkpoint, monkeypatch):
    monkeypatch.setattr(verify, "open_engine", lambda *_: (None, "it needs a GPU"))
    (check,) = verify.verify_bundle(bundle, tiny_checkpoint)
    assert (check.parity, check.problem) == (None, None)
    assert "it needs a GPU" in check.note


def test_a_device_that_was_asked_for_and_runs_nothing_is_one_sentence(bundle, tiny_checkpoint):
    with pytest.raises(HarmonyError, match="device cuda and provider tensorrt was asked for, and no engine"):
        verify.verify_bundle(bundle, tiny_checkpoint, device="cuda", provider="tensorrt")


def test_altered_files_are_refused(bundle, tiny_checkpoint, tmp_path):
    import shutil

    copy = shutil.copytree(bundle, tmp_path / "copy")
    content = bytearray((copy / "model.onnx").read_bytes())
    content[-1] ^= 1
    (copy / "model.onnx").write_bytes(content)
    with pytest.raises(HarmonyError, match="was altered"):
        verify.verify_bundle(copy, tiny_checkpoint)
