"""From toys to an engine: tiny networks are trained, beat their start on held-out toys, and run as in diffusers."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fakes.diffharmony_toys import SIDE
from harmonyrt.export.build_engines import main
from harmonyrt.models.diffharmony import Noise, load_diffharmony, load_refiner, load_vae
from harmonyrt.runtime.backends import SessionOptions
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.diffusion.model import DiffusionModel, RunOptions
from harmonyrt.runtime.diffusion.noise import NoiseStream
from harmonyrt.training.diffharmony.config import DiffusionConfig
from harmonyrt.training.diffharmony.loop import train_diffusion
from harmonyrt.training.diffharmony.pairs import Pairs
from harmonyrt.training.reporting import Reporter

diffusers = pytest.importorskip("diffusers", reason="needs diffusers, extra 'diffusion'")
pytestmark = pytest.mark.slow
SMALL, STEPS = 32, 2


def train(toys, base, out):
    """The UNet, the harmony VAE, then a refiner for the UNet with either VAE."""
    common = {"precision": "fp32", "workers": 0, "ema": 0.95, "warmup_steps": 0, "batch": 4, "size": SIDE}
    stages = {
        "unet": {"steps": 16, "lr": 2e-3},
        "harmony-vae": {"steps": 20, "lr": 2e-3, "size": SMALL},
        "refiner": {"steps": 24, "lr": 2e-3, "size": SMALL, "inference_size": SIDE, "denoising_steps": STEPS,
                    "start": base / "refiner", "checkpoint": out / "unet" / "model"},
        "with-vae": {"harmony_vae": out / "harmony-vae" / "condition_vae"},
    }  # fmt: skip
    stages["with-vae"] |= stages["refiner"]
    for name, changes in stages.items():
        stage = name.replace("with-vae", "refiner")
        config = DiffusionConfig(stage, toys, out / name, **{"checkpoint": base, **common, **changes})
        train_diffusion(config, Reporter(None, io.StringIO()))


@pytest.fixture(scope="module")
def trained(made_once, toys, base):
    return made_once("trained-diffharmony", lambda folder: train(toys, base, folder))


def held_out(toys):
    """The held-out toys at both sizes: composite, mask, real."""
    pairs = Pairs(toys, "val")
    return list(zip(pairs.fixed(SIDE, 6), pairs.fixed(SMALL, 6), strict=True))


def noise(seed: int, conditional: bool = False) -> Noise:
    stream = NoiseStream(seed)
    draws = [torch.from_numpy(stream.normal((1, 4, SIDE // 8, SIDE // 8))) for _ in range(3 + STEPS)]
    return Noise(draws[0], draws[1], tuple(draws[2 : 2 + STEPS]), draws[-1] if conditional else None)


def psnr(model, toys) -> float:
    """Mean PSNR of the whole pipeline's pictures, dB."""
    found = []
    for seed, ((composite, mask, _), (small, small_mask, real)) in enumerate(held_out(toys)):
        trace = model.refine(model.harmonize(composite, mask, noise(seed, model.conditional)), small, small_mask)
        found.append(-10 * float(torch.log10((trace.final - (real + 1) / 2).square().mean())))
    return float(np.mean(found))


@pytest.mark.parametrize("harmony", [False, True])
def test_a_trained_pipeline_beats_its_start_on_held_out_toys(harmony, trained, toys, base):
    start = load_diffharmony(base, refiner=base / "refiner")
    vae = {"harmony_vae": trained / "harmony-vae" / "condition_vae"} if harmony else {}
    refiner = trained / ("with-vae" if harmony else "refiner") / "refiner"
    end = load_diffharmony(trained / "unet" / "model", refiner=refiner, **vae)
    before, after = psnr(start, toys), psnr(end, toys)
    assert after > before + 3


def test_the_harmony_vae_rebuilds_what_the_plain_one_cannot(trained, toys, base):
    """Both decode the real pictures' latents, with an encoder that was never trained."""
    plain, harmony = load_vae(base / "vae"), load_vae(trained / "harmony-vae" / "condition_vae")
    errors = {"plain": 0.0, "harmony": 0.0}
    zero = torch.zeros(1, 4, SMALL // 8, SMALL // 8)
    with torch.no_grad():
        for _, (composite, mask, real) in held_out(toys):
            latents = plain.encode(real).sample(zero)
            decoded = harmony.decode_with(latents, torch.cat([composite, mask], 1), zero)
            errors["plain"] += float((plain.decode(latents) - real).abs().mean())
            errors["harmony"] += float((decoded - real).abs().mean())
    assert errors["harmony"] < 0.5 * errors["plain"]


def by_diffusers(folder, composite, mask, drawn: Noise) -> torch.Tensor:
    """Stage one's picture in [0, 1] by diffusers' own networks and scheduler, with noise that is given."""
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet", low_cpu_mem_usage=False)
    vae = diffusers.AutoencoderKL.from_pretrained(folder / "vae", low_cpu_mem_usage=False)
    scheduler = diffusers.EulerAncestralDiscreteScheduler.from_pretrained(folder / "scheduler")
    scheduler.set_timesteps(STEPS)
    text = load_diffharmony(folder).text
    scaling = vae.config.scaling_factor
    fresh = iter(drawn.ancestral)
    with torch.no_grad():
        posterior = vae.encode(composite).latent_dist
        condition = (posterior.mean + posterior.std * drawn.posterior) * scaling
        latents = drawn.initial * scheduler.init_noise_sigma
        for time in scheduler.timesteps:
            x = torch.cat([scheduler.scale_model_input(latents, time), mask[:, :, ::8, ::8], condition], 1)
            predicted = unet(x, time, text).sample
            with pytest.MonkeyPatch.context() as patch:
                module = "diffusers.schedulers.scheduling_euler_ancestral_discrete.randn_tensor"
                patch.setattr(module, lambda *a, **k: next(fresh))
                latents = scheduler.step(predicted, time, latents).prev_sample
        return (vae.decode(latents / scaling).sample / 2 + 0.5).clamp(0, 1)


def test_the_engine_gives_the_picture_of_diffusers(trained, toys, tmp_path):
    folder, refiner = trained / "unet" / "model", trained / "refiner" / "refiner"
    sizes = ["--inference-size", str(SIDE), "--output-size", str(SMALL), "--steps", str(STEPS), "--threads", "1"]
    given = ["--checkpoint", str(folder), "--refiner", str(refiner), "--targets", "onnx", "--output", str(tmp_path)]
    assert main(["diffharmony", *given, *sizes]) == 0
    (place,) = tmp_path.glob("diffharmony-*")
    model = DiffusionModel.open(open_bundle(place), "onnxruntime", None, SessionOptions(threads=1))
    (composite, mask, _), (small, small_mask, _) = held_out(toys)[0]
    engine = model.run(
        ((composite + 1) / 2).numpy(), mask.numpy(), ((small + 1) / 2).numpy(), small_mask.numpy(),
        RunOptions(seed=3, steps=STEPS),
    )  # fmt: skip
    image = by_diffusers(folder, composite, mask, noise(3))
    resized = F.interpolate(2 * image - 1, size=(SMALL, SMALL), mode="bilinear", antialias=True).clamp(-1, 1)
    with torch.no_grad():
        refined = load_refiner(refiner)(torch.cat([resized, small_mask, small], 1))
    expected = ((refined.clamp(-1, 1) + 1) / 2).clamp(0, 1)
    assert np.abs(engine - expected.numpy()).max() < 2e-4
    assert float(expected.std()) > 0.05
