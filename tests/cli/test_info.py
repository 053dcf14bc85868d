"""`harmonyrt info` and `harmonyrt verify`: what they print."""

import dataclasses
import json
import sys
from types import SimpleNamespace

import pytest

from harmonyrt.cli.info import described
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.manifest import Manifest


def test_info_in_words(bundle, run):
    done = run("info", bundle)
    assert done.code == 0
    for words in ("phnet-32-fp32", "32 x 32", "onnx fp32, run by onnxruntime", "model.onnx", "max_abs_error <= 1e-4"):
        assert words in done.out


def test_info_in_json_is_the_manifest(bundle, run):
    assert Manifest.from_json(run("info", bundle, "--json").out) == open_bundle(bundle).manifest


def test_info_tells_the_parts_of_several_networks(bundle):
    """A bundle of DiffHarmony names each part's parameters, size and precision, and what fell back."""
    manifest = open_bundle(bundle).manifest
    engine = manifest.engines[0]
    parts = {"unet": ("fp16", 814_513_299), "vae-decoder": ("bf16", 49_490_199)}
    whole = {"cases": 1, "max_abs_error": 2e-6, "psnr_db": 139.0, "gate": "psnr_db >= 42", "measured_on": "here"}
    loop = {
        "inference_size": [512, 512],
        "output_size": [256, 256],
        "conditional": True,
        "refiner_channels": 7,
        "timestep_spacing": "linspace",
        "default_steps": 5,
        "programs": [{"steps": 5}, {"steps": 2}],
    }
    config = {
        "loop": loop,
        "components": {name: {"parameters": count} for name, (_, count) in parts.items()},
        "parity_of_the_whole": {"onnx": whole},
        "fallbacks": ["vae-decoder for onnx is bf16, since fp16: NaN"],
    }
    engines = tuple(
        dataclasses.replace(engine, component=name, precision=precision) for name, (precision, _) in parts.items()
    )
    model = dataclasses.replace(manifest.model, family="diffharmony", config=config, random_weights=True)
    said = "\n".join(described(dataclasses.replace(manifest, model=model, engines=engines)))
    for words in (
        "RANDOM WEIGHTS",
        "512 x 512, refined at 256 x 256; harmony VAE",
        "5 (of 2, 5), time steps linspace",
        "engine      unet: onnx fp16",
        "engine      vae-decoder: onnx bf16",
        "814.51 M values",
        "49.49 M values",
        "whole       onnx: max abs error 2.0e-06, 139.0 dB",
        "fell back   vae-decoder for onnx is bf16, since fp16: NaN",
    ):
        assert words in said


@pytest.fixture
def checked(bundle, monkeypatch):
    """Let `verify` find what a test wants, without torch."""
    pytest.importorskip("torch")

    def pretend(**changes):
        engine = open_bundle(bundle).manifest.engines[0]
        check = SimpleNamespace(**{"engine": engine, "parity": engine.parity, "problem": None, "note": None} | changes)
        module = SimpleNamespace(verify_bundle=lambda path, checkpoint, threads, device, provider: [check])
        monkeypatch.setitem(sys.modules, "harmonyrt.export.phnet.verify", module)
        monkeypatch.setattr("harmonyrt.export.phnet.recipe.find_checkpoint", lambda given: given)

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
    checked(parity=None, note="its files are whole; not run: there is no GPU")
    done = run("verify", bundle)
    assert done.code == 0
    assert done.out.startswith("not run  onnx fp32: its files are whole")
