"""Measure plain and compiled steps in one interleaved run on this CPU: ``python -m harmonyrt.training.pace``."""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from harmonyrt.common.files import written_whole
from harmonyrt.common.program import run_program
from harmonyrt.models import IHARMONY4, PHNet, PHNetConfig
from harmonyrt.training.accelerated_modules import accelerate, keep_norms_in_float32
from harmonyrt.training.optimizers import build_optimizer
from harmonyrt.training.parallel import Backward, CompiledProcesses, Replicas
from harmonyrt.training.part_loss import PartLoss

SHIPPED = replace(IHARMONY4, output="residual")


def measure(
    size: int = 256, batch: int = 12, rounds: int = 12, threads: int | None = None, config: PHNetConfig = SHIPPED
) -> dict:
    """Time whole steps (gradients, clipping, AdamW) of the plain and the compiled network in turn, on random images.

    Args:
        size: side of the square pictures in pixels.
        batch: pictures a step.
        rounds: measured steps of each network, after one that is not counted.
        threads: threads of the plain network and processes of the compiled one; None = one per core.
        config: the network's shape.

    Returns:
        ``plain`` and ``compiled``: pictures per second, by the median step; ``ratio``: median of the pairs' ratios,
        ``low`` and ``high`` their range; what was measured.
    """
    count = threads or os.cpu_count() or 1
    torch.manual_seed(0)
    mask = (torch.rand(batch, 1, size, size) > 0.5).float()
    sample = torch.rand(batch, 3, size, size), mask, torch.rand(batch, 3, size, size)
    plain = PHNet(config).requires_grad_(True).train()
    compiled = copy.deepcopy(plain)
    keep_norms_in_float32(plain)
    accelerate(compiled)
    steps = [_Step(plain, Replicas(plain, count)), _Step(compiled, CompiledProcesses(compiled, count))]
    try:
        for step in steps:
            step.seconds(sample)
        pairs = [[step.seconds(sample) for step in steps] for _ in range(rounds)]
    finally:
        for step in steps:
            step.replicas.close()
    ratios = [slow / fast for slow, fast in pairs]
    medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
    return {
        "size": size,
        "batch": batch,
        "threads": count,
        "rounds": rounds,
        "torch": torch.__version__,
        "plain": round(batch / medians[0], 2),
        "compiled": round(batch / medians[1], 2),
        "ratio": round(statistics.median(ratios), 3),
        "low": round(min(ratios), 3),
        "high": round(max(ratios), 3),
    }


class _Step:
    def __init__(self, network: nn.Module, replicas: Backward) -> None:
        self.network, self.replicas = network, replicas
        self.optimizer = build_optimizer(network)
        self.loss = PartLoss("foreground", "cpu", mixed=True)

    def seconds(self, sample: tuple[torch.Tensor, ...]) -> float:
        started = time.perf_counter()
        self.replicas.backward(self.loss, sample)
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        return time.perf_counter() - started


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description="Time training steps of the 10 M PHNet, plain and compiled.")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurement")
    given = parser.parse_args(arguments)

    def run() -> None:
        result = measure(given.size, given.batch, given.rounds, given.threads)
        text = json.dumps(result, indent=1) + "\n"
        print(text, end="")
        if given.json is not None:
            with written_whole(given.json) as scratch:
                scratch.write_text(text)

    return run_program(run)


if __name__ == "__main__":
    sys.exit(main())
