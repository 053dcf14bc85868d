"""The unspecialised export: what is written, and that Hugging Face's pipelines run it as our PyTorch pipeline does."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from harmonyrt.export.build import running
from harmonyrt.export.build_engines import main
from harmonyrt.export.diffharmony import plain_folder
from harmonyrt.export.diffharmony.random_weights import random_diffharmony
from harmonyrt.models.diffharmony import Noise

SIDE, STEPS = 64, 2
PLAIN = ["diffharmony", "--random-weights", "tiny", "--plain", "--inference-size", str(SIDE), "--threads", "1"]


@pytest.fixture(scope="module")
def plain_export(tmp_path_factory):
    output = tmp_path_factory.mktemp("plain")
    assert main([*PLAIN, "--output", str(output)]) == 0
    return output / f"diffharmony-random-plain-{SIDE}"


@pytest.fixture(scope="module")
def model():
    return random_diffharmony("tiny")


@pytest.fixture(scope="module")
def picture():
    """A composite and a mask, as PIL has them and as the PyTorch pipeline takes them."""
    rng = np.random.default_rng(0)
    composite = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[16:40, 8:48] = 255
    tensor = torch.from_numpy(composite.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    foreground = torch.from_numpy(np.float32(mask >= 128))[None, None]
    return Image.fromarray(composite), Image.fromarray(mask), tensor, foreground


def normal(count: int, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1, 4, SIDE // 8, SIDE // 8, generator=generator) for _ in range(count)]


def error(found: np.ndarray, expected: torch.Tensor) -> float:
    assert np.std(found) > 0.1
    return float(np.abs(found - expected.permute(0, 2, 3, 1).numpy()).max())


@pytest.mark.slow
def test_diffusers_runs_it(plain_export, model, picture):
    """Its own ONNX pipeline hides the foreground from the VAE and takes the mean of the posterior, without noise."""
    diffusers = pytest.importorskip("diffusers", reason="needs diffusers, extra 'dev'")
    pytest.importorskip("transformers", reason="that pipeline needs transformers, extra 'dev'")
    if not hasattr(diffusers, "OnnxStableDiffusionInpaintPipeline"):
        pytest.skip(f"diffusers {diffusers.__version__} has no ONNX inpainting pipeline")

    class Scheduler(diffusers.EulerAncestralDiscreteScheduler):
        """That pipeline multiplies a NumPy array with it, which a tensor refuses."""

        @property
        def init_noise_sigma(self):
            return np.float32(super().init_noise_sigma)

    absent = dict.fromkeys(("text_encoder", "tokenizer", "safety_checker", "feature_extractor"))
    scheduler = Scheduler.from_pretrained(plain_export, subfolder="scheduler")
    pipeline = diffusers.OnnxStableDiffusionInpaintPipeline.from_pretrained(
        plain_export, scheduler=scheduler, local_files_only=True, **absent
    )
    pipeline.set_progress_bar_config(disable=True)
    composite, mask, tensor, foreground = picture
    (latents,) = normal(1, seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)  # the pipeline draws each step's noise from the global generator
        found = pipeline(
            prompt=None,
            prompt_embeds=np.load(plain_export / plain_folder.TEXT),
            image=composite,
            mask_image=mask,
            height=SIDE,
            width=SIDE,
            num_inference_steps=STEPS,
            guidance_scale=1.0,
            latents=latents.numpy(),
            output_type="np",
        ).images
    noise = Noise(latents, torch.zeros_like(latents), tuple(normal(STEPS, seed=2)))
    hidden = tensor * (1 - foreground)
    assert error(found, model.harmonize(hidden, foreground, noise).image) < 1e-4


def test_optimum_runs_it(plain_export, model, picture):
    """Given the composite's own latents, optimum's pipeline is DiffHarmony's stage one."""
    runtime = pytest.importorskip(
        "optimum.onnxruntime",
        reason="needs optimum-onnx, which asks for transformers before 5: see docs/diffharmony.md",
    )
    pipeline = runtime.ORTStableDiffusionInpaintPipeline.from_pretrained(plain_export, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    composite, mask, tensor, foreground = picture
    initial, posterior = normal(2, seed=1)
    distribution = pipeline.vae.encode(tensor).latent_dist
    found = pipeline(
        prompt_embeds=torch.from_numpy(np.load(plain_export / plain_folder.TEXT)),
        image=composite,
        mask_image=mask,
        masked_image_latents=(distribution.mean + distribution.std * posterior) * model.vae.config.scaling_factor,
        height=SIDE,
        width=SIDE,
        num_inference_steps=STEPS,
        guidance_scale=1.0,
        strength=1.0,
        latents=initial,
        generator=torch.Generator().manual_seed(2),
        output_type="np",
    ).images
    noise = Noise(initial, posterior, tuple(normal(STEPS, seed=2)))
    assert error(found, model.harmonize(tensor, foreground, noise).image) < 1e-4


def test_the_folder_says_what_it_was_made_from(plain_export, model):
    facts = json.loads((plain_export / plain_folder.MARK).read_text())
    assert facts["random_weights"] is True
    assert facts["size"] == [SIDE, SIDE]
    parameters = {one["component"]: one["parameters"] for one in facts["components"]}
    assert parameters["unet"] == sum(p.numel() for p in model.unet.parameters())
    assert all(one["relative_error"] < 1e-4 for one in facts["components"])


def test_an_unchanged_folder_is_not_written_again(plain_export, monkeypatch, capsys):
    monkeypatch.setattr(plain_folder, "_write_component", lambda *_: pytest.fail("it was written again"))
    assert main([*PLAIN, "--output", str(plain_export.parent)]) == 0
    assert "(unchanged)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1.01, "the fp32 plain vae_encoder is outside its gate: found relative error 1.0e-02"),
        (float("nan"), "the plain vae_encoder's latent_sample"),
    ],
)
@pytest.mark.slow
def test_a_component_that_answers_otherwise_leaves_nothing_behind(tmp_path, monkeypatch, capsys, factor, words):
    opened = running.run_file

    def otherwise(path, threads):
        run, who = opened(path, threads)
        return lambda feeds: {name: factor * answer for name, answer in run(feeds).items()}, who

    monkeypatch.setattr(running, "run_file", otherwise)
    assert main([*PLAIN, "--output", str(tmp_path)]) == 1
    assert words in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_a_folder_of_something_else_is_not_replaced(tmp_path, capsys):
    theirs = tmp_path / f"diffharmony-random-plain-{SIDE}" / "model_index.json"
    theirs.parent.mkdir()
    theirs.write_text("{}")
    assert main([*PLAIN, "--force", "--output", str(tmp_path)]) == 2
    assert "exists and is not a folder with harmonyrt.json; move it away" in capsys.readouterr().err
    assert theirs.read_text() == "{}"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--random-harmony-vae"], "--random-harmony-vae has no use with --plain"),
        (["--output-size", "32"], "--output-size has no use with --plain"),
        (["--precisions", "fp16"], "--plain writes fp32 for onnx"),
        (["--targets", "openvino"], "--plain writes fp32 for onnx"),
    ],
)
def test_what_does_not_go_with_it_is_one_sentence(more, words, capsys):
    assert main([*PLAIN, *more]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
