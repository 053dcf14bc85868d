"""The losses against the released ones and against what they are said to be."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from fakes.diffharmony_toys import write_toys
from harmonyrt.common import HarmonyError
from harmonyrt.models.diffharmony import AutoencoderKL, Noise, load_diffharmony, load_vae
from harmonyrt.models.diffharmony.configurations import vae_config
from harmonyrt.training.diffharmony.objectives import (
    HarmonyVAEObjective,
    NoiseObjective,
    RefinerObjective,
    enlarged,
    noise_loss,
)
from harmonyrt.training.diffharmony.pairs import Pairs
from harmonyrt.training.diffharmony.saving import write_network
from harmonyrt.training.diffharmony.stages import fresh_refiner, harmony_vae_from, recompute_blocks, subject_of
from harmonyrt.training.loading import PairedDataset
from harmonyrt.training.optimizers import build_optimizer


@pytest.mark.parametrize(("foreground", "name"), [(True, "loss"), (False, "loss_nofg")])
def test_the_noise_loss_is_the_released_one(foreground, name, golden):
    case = golden.case("dh_train_loss")
    predicted, target, mask = (torch.from_numpy(case[key]) for key in ("model_pred", "target", "mask"))
    loss = noise_loss(predicted, target, mask, foreground)
    assert float(loss) == pytest.approx(float(case[name]), abs=golden.tolerance("dh_train_loss"))


class Recorder(torch.nn.Module):
    """A network that keeps what it is given and predicts no noise."""

    def forward(self, x, timesteps, text):
        self.given = x, timesteps, text
        return torch.zeros_like(x[:, :4])


@pytest.mark.parametrize("inverse", [False, True])
def test_stage_one_gives_the_unet_nine_channels(inverse, base):
    torch.manual_seed(0)
    vae = load_vae(base / "vae")
    kept = np.linspace(0.99, 0.01, 10, dtype=np.float32)
    objective = NoiseObjective(vae, torch.ones(1, 77, 32), kept, 32, inverse=inverse)
    composite, real, mask = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32), torch.zeros(2, 1, 32, 32)
    mask[:, :, :16] = 1
    draws = objective.draws(composite, torch.Generator().manual_seed(1))
    network = Recorder()
    loss = objective(network, (composite, mask, real, *draws))
    target, condition, noise, timesteps = draws
    x, given_timesteps, text = network.given
    if inverse:
        composite, real = real, composite
    share = torch.from_numpy(kept)[timesteps].reshape(-1, 1, 1, 1)
    clean = vae.encode(real).sample(target) * 0.18215
    torch.testing.assert_close(x[:, :4], share**0.5 * clean + (1 - share) ** 0.5 * noise)
    assert torch.equal(x[:, 4:5], mask[:, :, ::8, ::8])
    torch.testing.assert_close(x[:, 5:], vae.encode(composite).sample(condition) * 0.18215)
    assert torch.equal(given_timesteps, timesteps)
    assert text.shape == (2, 77, 32)
    # half of the picture is foreground: the scale is 2, and no noise was predicted
    expected = 2 * (noise[:, :, :2].square().sum((2, 3)) / 16).mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_enlarged_masks_are_strict_about_one_half():
    mask = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    composite = torch.full((1, 3, 2, 2), 1.0)
    large, binary, _ = enlarged(composite, mask, composite, 6)
    assert large.shape == (1, 3, 6, 6)
    assert set(binary.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(binary[0, 0, 0], torch.tensor([0.0, 0, 0, 1, 1, 1]))  # 0.5 itself is background


def test_a_fresh_refiner_changes_nothing(config):
    refiner = fresh_refiner(config("refiner", start=None, refiner="small", refiner_channels=4))
    x = torch.rand(1, 4, 16, 16)
    assert torch.equal(refiner(x), x[:, :3])
    part = (x[:, :3], x[:, 3:], x[:, :3] + 0.5, x[:, :3])
    assert RefinerObjective(4)(refiner, part).item() == pytest.approx(0.25, rel=1e-5)


def test_a_fresh_harmony_vae_decodes_as_the_plain_one(base):
    plain = load_vae(base / "vae")
    harmony = harmony_vae_from(plain).eval()
    z, condition = torch.rand(1, 4, 4, 4), torch.rand(1, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(harmony.decode_with(z, condition, z), plain.decode(z))


def test_the_online_variant_decodes_what_stage_one_makes_of_the_composite(base):
    """At first the harmony VAE is the plain one, so its picture is the pipeline's with the same noise."""
    model = load_diffharmony(base)
    objective = HarmonyVAEObjective(4, 8, stage_one=model, denoising_steps=2)
    generator = torch.Generator().manual_seed(3)
    composite, real = torch.rand(2, 2, 3, 32, 32, generator=generator) * 2 - 1
    mask = torch.zeros(2, 1, 32, 32)
    mask[:, :, 8:24] = 1
    draws = objective.draws(composite, generator)
    initial, posterior, first, second, _ = draws
    decoded = model.harmonize(composite, mask, Noise(initial, posterior, (first, second))).decoded
    loss = objective(harmony_vae_from(model.vae), (composite, mask, real, *draws))
    assert loss.item() == pytest.approx(float((decoded - real).abs().mean()), rel=1e-5)
    again = objective(harmony_vae_from(model.vae), (composite, mask, real, *objective.draws(composite, generator)))
    assert again.item() != pytest.approx(loss.item(), rel=1e-5)  # new noise, other latents


def test_the_online_variant_takes_a_vae_of_the_checkpoints_kind(base, config, tmp_path):
    other = tmp_path / "vae"
    shape = {**json.loads((base / "vae" / "config.json").read_text())}
    shape["block_out_channels"] = shape["block_out_channels"][1:]
    shape["down_block_types"], shape["up_block_types"] = ["DownEncoderBlock2D"] * 3, ["UpDecoderBlock2D"] * 3
    write_network(AutoencoderKL(vae_config(shape, other)), shape, other)
    with pytest.raises(HarmonyError, match="at 1/4 of the size, stage one's have 4 at 1/8; give a VAE of"):
        subject_of(config("harmony-vae", online=True, start=other))


def test_recomputed_blocks_have_the_same_gradients(base):
    vae = harmony_vae_from(load_vae(base / "vae")).requires_grad_(True)
    z, condition = torch.rand(1, 4, 4, 4), torch.rand(1, 4, 32, 32)
    gradients = []
    for recompute in (False, True):
        if recompute:
            recompute_blocks(vae)
        vae.zero_grad()
        vae.decode_with(z, condition, z).square().mean().backward()
        gradients.append(vae.decoder.conv_in.weight.grad.clone())
    torch.testing.assert_close(gradients[1], gradients[0])


def test_eight_bit_adamw_is_bitsandbytes_or_a_sentence(monkeypatch):
    import sys
    from types import SimpleNamespace

    network = torch.nn.Conv2d(3, 3, 1)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(HarmonyError, match=r"pip install 'harmonyrt\[train-8bit\]'"):
        build_optimizer(network, "adamw-8bit")
    stand_in = SimpleNamespace(optim=SimpleNamespace(AdamW8bit=torch.optim.AdamW))
    monkeypatch.setitem(sys.modules, "bitsandbytes", stand_in)
    optimizer = build_optimizer(network, "adamw-8bit", lr=0.5)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]


def test_pictures_are_read_as_published(toys):
    pairs = Pairs(toys, "val")
    composite, mask, real = pairs.sample(0, 32)
    opened = Image.open(toys / "composite_images" / "val0_1_1.png").resize((32, 32), Image.Resampling.BILINEAR)
    assert np.array_equal(composite, np.asarray(opened, np.float32) / 127.5 - 1)
    assert set(np.unique(mask)) == {0.0, 1.0}
    inside = np.abs(composite - real).max(2) > 0.05
    assert not (inside & (mask[..., 0] == 0))[1:-1, 1:-1].mean() > 0.1


def test_subsets_are_one_dataset(tmp_path):
    for name in ("HOne", "HTwo"):
        write_toys(tmp_path / name, {"train": 3, "val": 1})
    assert (len(Pairs(tmp_path)), len(Pairs(tmp_path, "val").fixed(32, 16))) == (6, 2)
    assert PairedDataset.has(tmp_path, "val")
    (tmp_path / "HTwo" / "val.txt").unlink()
    assert not PairedDataset.has(tmp_path, "val")


def test_batches_follow_from_their_seed(toys):
    pairs = Pairs(toys)
    first, again, other = (pairs.batch(32, 3, [0, step]) for step in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert [tuple(t.shape) for t in first] == [(3, 3, 32, 32), (3, 1, 32, 32), (3, 3, 32, 32)]
