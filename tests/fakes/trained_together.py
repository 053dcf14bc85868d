"""Runs that training/test_processes.py does in one process and, by torchrun, in two. Arguments: data, toys, output.

Steps whose batches a process makes are noted in ``output/made.RANK``, for each run in its order.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import sys
from pathlib import Path

import torch

from harmonyrt.common import HarmonyError
from harmonyrt.models import PHNetConfig
from harmonyrt.models.diffharmony import VAEConfig
from harmonyrt.training import train as training
from harmonyrt.training.config import Stage, TrainConfig
from harmonyrt.training.diffharmony import loop
from harmonyrt.training.diffharmony.config import DiffusionConfig
from harmonyrt.training.diffharmony.loop import train_diffusion
from harmonyrt.training.processes import joined
from harmonyrt.training.reporting import Reporter

SMALL = PHNetConfig(enc_sizes=(3, 8, 8, 16, 16, 32, 32), grid_count=(2, 2, 1), output="residual")
TINY_VAE = VAEConfig(block_out_channels=(32, 32, 64, 64), additional_in_channels=1)
STAGE = Stage(32, 5, lr=2e-3)
PHNET_RUNS = {
    "plain": {"steps": 4},
    "released": {"steps": 2, "loss": "released", "stages": (dataclasses.replace(STAGE, extractor=False),)},
    "paper": {"steps": 2, "loss": "paper"},
    "resumed": {"steps": 4},
}


def phnet_config(name: str, data: Path, out: Path) -> TrainConfig:
    fixed = {"network": SMALL, "stages": (STAGE,), "workers": 0, "threads": 1, "warmup_steps": 2, "precision": "fp32"}
    return TrainConfig(data, out / name, **{**fixed, **PHNET_RUNS[name]})


def vae_config(toys: Path, out: Path) -> DiffusionConfig:
    return DiffusionConfig("harmony-vae", toys / "data", out / "vae", toys / "base", steps=2, size=32, batch=5,
                           accumulate=2, lr=1e-3, warmup_steps=0, precision="fp32", workers=0)  # fmt: skip


def few(composites):
    """One batch of small composites to validate with, instead of many large ones."""
    return lambda root, split, size: composites(root, split, 32)[:1]


def noted(batches, made: list[list[int]]):
    """Batches as before; those that were taken from them are noted by their steps."""

    def noting(source, size, batch, seed, first_step, workers, first_of_stage, every):
        steps: list[int] = []
        made.append(steps)
        stream = batches(source, size, batch, seed, first_step, workers, first_of_stage, every)
        for step, taken in zip(itertools.count(first_step, every), stream):
            steps.append(step)
            yield taken

    return noting


def train_all(data: Path, toys: Path, out: Path) -> None:
    for name in PHNET_RUNS:
        training.train(phnet_config(name, data, out), Reporter(None))
    train_diffusion(vae_config(toys, out), Reporter(None))


def unreadable():
    """What a process makes whose picture cannot be read."""
    raise HarmonyError("no such picture")
    yield


if __name__ == "__main__":
    torch.set_num_threads(1)
    training.fixed_composites = few(training.fixed_composites)
    with joined("cpu") as processes:
        written = []
        save = training.save_checkpoint
        training.save_checkpoint = lambda *a, **k: (written.append(1), save(*a, **k))
        made = []
        for module in (training, loop):
            module.batches = noted(module.batches, made)
        train_all(*map(Path, sys.argv[1:]))
        with contextlib.suppress(HarmonyError):
            next(processes.parts_in_turn(unreadable() if processes.rank == 1 else iter(()), 1))
            raise AssertionError("every process is told what failed in one of them")
        (Path(sys.argv[3]) / f"made.{processes.rank}").write_text(repr(made))
        assert bool(written) == processes.first, "only the first process writes"
