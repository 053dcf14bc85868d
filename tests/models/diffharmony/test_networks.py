"""Each network against its golden cases, and against the released tensor names."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from harmonyrt.models import diffharmony as dh
from harmonyrt.models.diffharmony import folders, refiner, sampler
from harmonyrt.models.diffharmony.unet import TimeEmbedding


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    assert torch.isfinite(found).all()
    return float((found.double() - expected.double()).abs().max())


def test_unet(unet_case, dh_case, golden_network, golden):
    case = dh_case(unet_case)
    unet = golden_network("unet", case["meta"]["config"])
    output = unet(case["input"], case["timestep"], case["encoder_hidden_states"])
    assert error(output, case["output"]) <= golden.tolerance(unet_case)


def test_unet_takes_time_steps_with_their_fraction():
    embedding = TimeEmbedding(32)
    assert not torch.allclose(embedding(torch.tensor([749.25])), embedding(torch.tensor([749.0])))


def test_unet_restores_sizes_that_do_not_halve(golden_network, golden):
    unet = golden_network("unet", golden.weights("dh_unet_tiny_state_dict.json")[1])
    assert unet(torch.randn(1, 9, 10, 9), torch.tensor(1.0), torch.randn(1, 77, 32)).shape == (1, 4, 10, 9)


def test_vae(vae_case, dh_case, golden_network, golden):
    case = dh_case(vae_case)
    vae, tolerance = golden_network("vae", case["meta"]["config"]), golden.tolerance(vae_case)
    posterior = vae.encode(case["image"])
    assert error(posterior.mean, case["mean"]) <= tolerance
    assert error(posterior.std, case["std"]) <= tolerance
    assert error(vae.decode(case["z"]), case["decoded"]) <= tolerance


def test_posterior_is_sampled_with_clamped_variance():
    moments = torch.tensor([1.0, 100.0]).reshape(1, 2, 1, 1)
    sample = dh.vae.Posterior(moments).sample(torch.full((1, 1, 1, 1), 2.0))
    assert float(sample) == pytest.approx(1 + 2 * np.exp(10), rel=1e-5)


def test_harmony_vae(cvae_case, dh_case, golden_network, golden):
    case = dh_case(cvae_case)
    vae, tolerance = golden_network("harmony_vae", case["meta"]["config"]), golden.tolerance(cvae_case)
    z, condition, noise = case["z"], case["cond"], case["cond_noise"]
    moments, skips, mid_skip = vae.conditional_encoder(condition)
    assert error(vae.quant_conv(moments), case["cond_moments"]) <= tolerance
    for index, skip in enumerate(skips):
        assert list(skip.shape[1:]) == case["skip_shapes"][index].tolist()
        assert error(skip[0, :2, :6, :6], case[f"skip{index}_crop"]) <= tolerance
    assert error(mid_skip[:1, :16], case["mid_skip"]) <= tolerance
    assert error(vae.decode_with(z, condition, noise), case["decoded_sample"]) <= tolerance
    assert error(vae.decode_with(z, condition, torch.zeros_like(noise)), case["decoded_mode"]) <= tolerance
    assert error(vae.decode(z), case["decoded_plain"]) <= tolerance


def test_refiner(refiner_case, dh_case, golden_network, golden):
    case = dh_case(refiner_case)
    network = golden_network("refiner", case["meta"]["config"])
    assert error(network(case["input"]), case["output"]) <= golden.tolerance(refiner_case)


def test_text(text_case, dh_case, golden_network, golden):
    case = dh_case(text_case)
    encoder = golden_network("text", case["meta"]["config"])
    assert error(encoder(case["input_ids"]), case["last_hidden_state"]) <= golden.tolerance(text_case)


def test_null_text_is_start_end_and_padding(dh_case, golden_network, golden):
    case = dh_case("dh_null_text_tiny")
    encoder = golden_network("text", case["meta"]["config"])
    assert error(encoder.null_text(), case["last_hidden_state"]) <= golden.tolerance("dh_null_text_tiny")


@pytest.mark.parametrize("spacing", ["linspace", "leading"])
def test_schedules(spacing, golden):
    case = golden.case("dh_scheduler")
    prefix = "leading_" if spacing == "leading" else ""
    config = dh.SamplerConfig(timestep_spacing=spacing)
    counts = [int(key.rsplit("_", 1)[1]) for key in case if key.startswith(f"{prefix}timesteps_")]
    assert counts
    for count in counts:
        np.testing.assert_allclose(sampler.time_steps(config, count), case[f"{prefix}timesteps_{count}"], rtol=1e-6)
        np.testing.assert_allclose(sampler.sigmas(config, count), case[f"{prefix}sigmas_{count}"], rtol=1e-6)
    np.testing.assert_allclose(sampler.alphas_cumprod(config), case["alphas_cumprod"], rtol=1e-6)
    expected = 5.2309088706970215 if prefix else 14.614646911621094
    assert sampler.initial_scale(config, 5) == pytest.approx(expected, rel=1e-6)


def test_last_step_uses_no_noise():
    assert sampler.steps(dh.SamplerConfig())[-1].noise_scale == 0


@pytest.mark.parametrize(
    ("kind", "names", "parameters"),
    [
        ("unet", "dh_unet_sd_inpainting_state_dict.json", 859_535_364),
        ("vae", "dh_vae_kl_f8_state_dict.json", 83_653_863),
        ("harmony_vae", "dh_cvae_full_state_dict.json", 119_740_419),
        ("refiner", "dh_refiner_base_state_dict.json", 91_402_627),
    ],
)
def test_full_size_has_the_released_tensors(kind, names, parameters, golden):
    info = json.loads((golden.folder / names).read_text())
    module, read = {
        "unet": (dh.UNet, folders.unet_config),
        "vae": (dh.AutoencoderKL, folders.vae_config),
        "harmony_vae": (dh.HarmonyVAE, folders.vae_config),
        "refiner": (dh.Refiner, folders.refiner_config),
    }[kind]
    with torch.device("meta"):
        state = module(read(info["config"], golden.folder)).state_dict()
    assert {name: list(value.shape) for name, value in state.items()} == {
        name: entry["shape"] for name, entry in info["tensors"].items()
    }
    assert sum(value.numel() for value in state.values()) == parameters


@pytest.mark.parametrize(
    ("config", "parameters"),
    [(refiner.SMALL, 22_870_211), (refiner.BASE, 91_402_627), (refiner.LARGE, 365_454_083)],
)
def test_refiner_sizes(config, parameters):
    with torch.device("meta"):
        network = dh.Refiner(config)
    assert sum(value.numel() for value in network.parameters()) == parameters
