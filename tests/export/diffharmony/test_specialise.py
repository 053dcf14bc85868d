"""Every specialised component gives what the plain networks give."""

from __future__ import annotations

import pytest
import torch

from harmonyrt.export.diffharmony import specialise
from harmonyrt.export.diffharmony.random_weights import random_diffharmony
from harmonyrt.models import diffharmony as dh
from harmonyrt.models.diffharmony import sampler


@pytest.fixture(scope="module")
def model():
    return random_diffharmony("tiny", harmony_vae=True)


def close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return found.shape == expected.shape and float((found - expected).abs().max()) <= 2e-5 * float(expected.abs().max())


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("spacing", ["linspace", "leading"])
def test_a_step_is_unet_and_sampler(spacing, model):
    config = dh.SamplerConfig(timestep_spacing=spacing)
    rows, programs = specialise.programs(config, [5, 2])
    module = specialise.DenoisingStep(model.unet, model.text, rows)
    latents, condition, noise = random(1, 4, 8, 8), random(1, 5, 8, 8, seed=1), random(1, 4, 8, 8, seed=2)
    for index, step in enumerate(sampler.steps(config, 5)):
        predicted = model.unet(
            torch.cat([latents * step.input_scale, condition], 1), torch.tensor(step.timestep), model.text
        )
        found = module(latents, condition, noise, torch.tensor([programs[5].rows[index]]))
        assert close(found[1], predicted)
        assert close(found[0], sampler.advance(latents, predicted, step, noise))


def test_programs_share_one_table():
    rows, programs = specialise.programs(dh.SamplerConfig(), [5, 2, 5])
    assert sorted(programs) == [2, 5]
    assert len(rows) == 7
    assert [rows[r].timestep for r in programs[5].rows] == [999, 749.25, 499.5, 249.75, 0]
    assert programs[5].initial_scale == pytest.approx(14.6146, abs=1e-4)


def test_the_given_unet_stays_whole_and_lends_its_weights(model):
    rows, _ = specialise.programs(dh.SamplerConfig(), [1])
    module = specialise.DenoisingStep(model.unet, model.text, rows)
    assert hasattr(model.unet, "time_embedding")
    assert module.unet.conv_in.weight.data_ptr() == model.unet.conv_in.weight.data_ptr()
    names = {name for name, _ in module.named_parameters()}
    assert not any("time_emb" in name or "attn2.to_k" in name or "attn2.to_v" in name for name in names)


def test_the_encoder_gives_mask_and_scaled_sample(model):
    image, noise = torch.rand(1, 3, 32, 40), random(1, 4, 4, 5)
    mask = (torch.rand(1, 1, 32, 40) > 0.5).float()
    found = specialise.EncodeComposite(model.vae)(image, mask, noise)
    expected = model.vae.encode(2 * image - 1).sample(noise) * model.vae.config.scaling_factor
    assert close(found[:, 1:], expected)
    assert torch.equal(found[:, :1], mask[:, :, ::8, ::8])


def test_the_decoder_takes_scaled_latents(model):
    latents = random(1, 4, 4, 5)
    expected = (model.vae.decode(latents / model.vae.config.scaling_factor) / 2 + 0.5).clamp(0, 1)
    assert close(specialise.DecodeLatents(model.vae)(latents), expected)


def test_the_harmony_decoder_sees_the_composite(model):
    latents, image, noise = random(1, 4, 4, 5), torch.rand(1, 3, 32, 40), random(1, 4, 4, 5, seed=3)
    mask = (torch.rand(1, 1, 32, 40) > 0.5).float()
    condition = torch.cat([2 * image - 1, mask], 1)
    decoded = model.vae.decode_with(latents / model.vae.config.scaling_factor, condition, noise)
    found = specialise.DecodeWithCondition(model.vae)(latents, image, mask, noise)
    assert close(found, (decoded / 2 + 0.5).clamp(0, 1))


@pytest.mark.parametrize("channels", [7, 4, 3])
@pytest.mark.parametrize("size", [(24, 32), (48, 64)])
def test_the_refiner_resizes_and_refines(channels, size, model):
    config = dh.RefinerConfig(in_channels=channels, block_out_channels=(32, 32))
    refiner = dh.Refiner(config).eval().requires_grad_(False)
    image, composite = torch.rand(1, 3, 48, 64), torch.rand(1, 3, *size)
    mask = (torch.rand(1, 1, *size) > 0.5).float()
    pipeline = dh.DiffHarmony(model.unet, model.vae, model.text, refiner=refiner)
    expected = pipeline.refine(dh.Trace(image=image), 2 * composite - 1, mask).final
    module = specialise.RefinePicture(refiner, (48, 64), size)
    assert close(module(image, *[mask, composite][: {7: 2, 4: 1, 3: 0}[channels]]), expected)
