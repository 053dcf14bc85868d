"""The loop: every stage learns, stops and goes on, and writes folders that open."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harmonyrt.common import HarmonyError
from harmonyrt.models.diffharmony import load_diffharmony, load_refiner, load_vae
from harmonyrt.training.diffharmony.loop import train_diffusion
from harmonyrt.training.diffharmony.pairs import Pairs
from harmonyrt.training.diffharmony.saving import WEIGHTS
from harmonyrt.training.reporting import Reporter

pytest.importorskip("diffusers", reason="needs diffusers, extra 'diffusion'")


def run(config):
    stream = io.StringIO()
    config.out.mkdir(parents=True, exist_ok=True)
    return train_diffusion(config, Reporter(config.out / "log.jsonl", stream)), stream.getvalue()


@pytest.mark.parametrize("stage", ["unet", "inverse", "refiner", "harmony-vae", "harmony-vae online"])
def test_the_loss_of_held_out_toys_falls(stage, config):
    name, _, online = stage.partition(" ")
    result, said = run(config(name, steps=12, lr=4e-3, online=bool(online), denoising_steps=1))
    assert result.finished
    first, last = result.losses
    assert last < 0.9 * first, said


def saved(config) -> dict[str, torch.Tensor]:
    return torch.load(config.out / "checkpoint.pt", weights_only=True)["network"]


def test_a_stopped_run_goes_on_to_the_same_weights(config, tmp_path, stop_after):
    whole = config("harmony-vae", out=tmp_path / "whole")
    run(whole)
    stop_after(1)
    stopped, _ = run(config("harmony-vae"))
    assert (stopped.steps, stopped.finished) == (1, False)
    resumed, said = run(config("harmony-vae"))
    assert resumed.finished
    assert "resuming at step 1" in said
    expected, got = saved(whole), saved(config("harmony-vae"))
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_in_an_epoch_every_pair_comes_once(config, monkeypatch):
    seen = []
    sample = Pairs.sample
    monkeypatch.setattr(Pairs, "sample", lambda self, index, size: (seen.append(index), sample(self, index, size))[1])
    setting = config("harmony-vae", steps=None, epochs=2, batch=5)
    monkeypatch.setattr("harmonyrt.training.diffharmony.loop.HELD_OUT", 0)
    result, said = run(setting)
    assert "2 epochs of 16 samples: 8 steps" in said
    assert result.finished
    assert sorted(seen[:16]) == sorted(seen[16:]) == list(range(16))
    assert seen[:16] != seen[16:]


def test_a_checkpoint_of_another_stage_is_refused(config, tmp_path):
    run(config("harmony-vae", steps=1, out=tmp_path))
    with pytest.raises(HarmonyError, match="of another run"):
        run(config("unet", steps=1, out=tmp_path))


def test_a_trained_unet_is_a_folder_that_we_and_diffusers_open(config, base):
    import diffusers

    result, _ = run(config("unet", steps=1, lr=1e-2))
    averaged = torch.load(config("unet").out / "checkpoint.pt", weights_only=True)["average"]
    ours = load_diffharmony(result.written).unet.state_dict()
    theirs = diffusers.UNet2DConditionModel.from_pretrained(result.written / "unet").state_dict()
    begun = load_file(base / "unet" / WEIGHTS)
    for name, value in averaged.items():
        assert torch.equal(ours[name], value), name
        assert torch.equal(theirs[name], value), name
    assert not torch.equal(averaged["conv_in.weight"], begun["conv_in.weight"])
    absent = dict.fromkeys(("tokenizer", "safety_checker", "feature_extractor"))
    pipeline = diffusers.StableDiffusionInpaintPipeline.from_pretrained(result.written, local_files_only=True, **absent)
    assert pipeline.text_encoder.config.hidden_size == 32


def test_a_refiner_and_a_harmony_vae_are_folders_that_open(config, base):
    for stage, load, name in (("refiner", load_refiner, "UNet2DCustom"), ("harmony-vae", load_vae, "ConditionVAE")):
        result, _ = run(config(stage, steps=1))
        averaged = torch.load(config(stage).out / "checkpoint.pt", weights_only=True)["average"]
        opened = load(result.written).state_dict()
        assert all(torch.equal(opened[key], value) for key, value in averaged.items())
        assert json.loads((result.written / "config.json").read_text())["_class_name"] == name


def test_frozen_parts_of_the_harmony_vae_stand_still(config, base):
    result, _ = run(config("harmony-vae", steps=1, lr=1e-2))
    before, after = load_vae(base / "vae").state_dict(), load_vae(result.written).state_dict()
    for name, value in before.items():
        assert torch.equal(after[name], value) == (not name.startswith("decoder.")), name


def test_the_refiners_inputs_are_made_once(config, tmp_path, monkeypatch):
    joint = tmp_path / "joint"
    run(config("refiner", steps=1, stage_one=joint))
    assert len(list(joint.glob("*.npy"))) == 16 + 6
    monkeypatch.setattr("harmonyrt.training.diffharmony.stage_one._make", lambda *_: pytest.fail("made again"))
    run(config("refiner", steps=1, stage_one=joint, out=tmp_path / "second"))
    with pytest.raises(HarmonyError, match=r"results of another stage one \(other: denoising_steps\)"):
        run(config("refiner", steps=1, stage_one=joint, out=tmp_path / "third", denoising_steps=2))


def test_photos_without_pairs_serve_the_unet_and_not_the_refiner(config, small_data):
    result, _ = run(replace(config("unet", steps=1, batch=2), data=small_data))
    assert result.finished
    assert result.losses == ()
    with pytest.raises(HarmonyError, match="write one with harmonyrt synthesize"):
        run(replace(config("refiner", steps=1), data=small_data))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": None}, "a run's length is given once"),
        ({"checkpoint": None}, "begins with a Stable Diffusion inpainting folder"),
        ({"harmony_vae": Path("vae")}, "stage unet has no use for a harmony VAE"),
        ({"size": 33}, "size 33 is not a multiple of 8"),
        ({"inference_size": 16}, "is not a multiple of 8 from 32 on"),
        ({"size": 64, "inference_size": 32}, "never reduced"),
        ({"refiner_channels": 5}, "with 5 input channels is not known"),
        ({"optimizer": "sgd"}, "optimizer 'sgd' is not known"),
        ({"online": True}, "the online variant is the harmony VAE's, and the stage is unet"),
        ({"stage": "harmony-vae", "inference_size": 64}, "stage harmony-vae works at one size"),
    ],
)
def test_wrong_settings_are_one_sentence(config, changes, words):
    with pytest.raises(HarmonyError, match=words):
        config(**{"stage": "unet", **changes})
