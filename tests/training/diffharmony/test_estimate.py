"""What training at full size is computed to need."""

from __future__ import annotations

import pytest
import torch

from harmonyrt.models.diffharmony import Refiner, RefinerConfig
from harmonyrt.training.diffharmony import estimate as module
from harmonyrt.training.diffharmony.estimate import Estimate, estimate, table
from harmonyrt.training.diffharmony.objectives import RefinerObjective


def test_activations_are_what_autograd_keeps():
    network = torch.nn.Sequential(torch.nn.Conv2d(7, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 3, 3))
    kept = module._Kept(network)
    with torch.autograd.graph.saved_tensors_hooks(kept.add, lambda tensor: tensor):
        network(torch.zeros(1, 7, 10, 10)).sum()
    # the first convolution's input, and ReLU's result, which the second keeps as well; weights are not counted
    assert kept.bytes == 4 * (7 * 10 * 10 + 4 * 8 * 8)


def test_checkpointing_keeps_less():
    objective = RefinerObjective()
    network = Refiner(RefinerConfig(block_out_channels=(32, 32, 32, 32)))
    part = tuple(torch.zeros(1, channels, 64, 64) for channels in (3, 1, 3, 3))
    plain, checkpointed = (module._activations(network, objective, part, c) for c in (False, True))
    assert 0 < checkpointed < 0.7 * plain
    assert "forward" not in vars(network.down_blocks[0].resnets[0])


@pytest.mark.slow
def test_a_full_size_refiner_is_counted():
    found = estimate("refiner base")
    assert (found.trained, found.frozen) == (91_402_627, 0)
    assert found.activations["bf16, checkpointing"] < found.activations["bf16"] < found.activations["fp32"]
    # the backward pass costs two forward passes of 1076.3 GFLOP (docs/diffharmony.md)
    assert found.flops == pytest.approx(3 * 1076.3e9, rel=0.02)


@pytest.mark.slow
def test_the_online_harmony_vae_adds_a_frozen_stage_one():
    plain, online = estimate("harmony-vae"), estimate("harmony-vae online")
    assert online.frozen - plain.frozen == 859_535_364 + 83_653_863
    assert (online.trained, online.activations) == (plain.trained, plain.activations)
    # five steps of the UNet at a quarter of 512's 803.4 GFLOP (docs/diffharmony.md), its attention less than that
    assert 0.8 < (online.flops - plain.flops) / (5 * 803.4e9 / 4) < 1


def test_the_table_adds_up():
    kept, copies = {"fp32": 2**30, "bf16": 2**29}, {"fp32": 0, "bf16": 2**28}
    row = table([Estimate("unet", 512, 1_000_000_000, 0, kept, copies, 10**12)]).splitlines()[-1]
    assert "| 18.6 GiB | 13.0 GiB | 1.00 + 0.00 GiB | 0.50 + 0.25 GiB | 1.00 |" in row
