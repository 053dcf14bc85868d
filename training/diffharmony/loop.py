"""The training loop of DiffHarmony's stages: one process or several, resumable, with averaged weights."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harmonyrt.common import HarmonyError
from harmonyrt.common.signals import noticed_signals
from harmonyrt.training.diffharmony.config import DiffusionConfig
from harmonyrt.training.diffharmony.pairs import Made, Pairs, StageOneResults
from harmonyrt.training.diffharmony.stage_one import seed_of, stage_one_results
from harmonyrt.training.diffharmony.stages import (
    Subject,
    recompute_blocks,
    refuse_unknown_data,
    settings_text,
    subject_of,
)
from harmonyrt.training.loading import PairedDataset, batches, deaths_of_workers, steps_per_epoch
from harmonyrt.training.optimizers import build_optimizer
from harmonyrt.training.processes import JointBackward, Processes, joined, share_batch_norms
from harmonyrt.training.reporting import Reporter
from harmonyrt.training.run_folder import claimed
from harmonyrt.training.state import Average, load_checkpoint, save_checkpoint

HELD_OUT = 16
"""Samples of the validation split whose loss is watched, always with the same noise."""


@dataclass(frozen=True)
class DiffusionResult:
    """Where a run ended.

    Attributes:
        steps: optimizer steps so far.
        finished: whether those were all.
        losses: held-out loss of the averaged weights, at the beginning of this session and at its end; empty without
            a validation split.
        written: the folder of the averaged weights.
    """

    steps: int
    finished: bool
    losses: tuple[float, ...]
    written: Path


def train_diffusion(config: DiffusionConfig, reporter: Reporter | None = None) -> DiffusionResult:
    """Train a stage, or resume the run in ``config.out``; under torchrun with the other processes.

    SIGINT and SIGTERM end it after the current step, with a checkpoint; the same call resumes it.

    Raises:
        HarmonyError: the data, a folder of weights, a package, the run folder or the device cannot be used.
    """
    refuse_unknown_data(config)
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise HarmonyError(f"device {config.device} was asked for, but PyTorch finds no CUDA GPU; use device cpu")
    with joined(config.device) as processes, contextlib.ExitStack() as stack:
        if processes.first:
            stack.enter_context(claimed(config.out))
        processes.wait()
        report = reporter or Reporter(config.out / "log.jsonl" if processes.first else None)
        with report, deaths_of_workers(), noticed_signals() as interrupted:
            inputs = None
            if config.stage == "refiner":
                _refuse_unpaired(config)
                inputs = stage_one_results(config, processes, report, interrupted)
                if inputs is None:
                    return DiffusionResult(0, False, (), config.out)
            return _Run(config, subject_of(config), processes, report, inputs).go(interrupted)


def _refuse_unpaired(config: DiffusionConfig) -> None:
    if not PairedDataset.is_one(config.data):
        raise HarmonyError(
            f"{config.data} is not a dataset of pairs, and stage {config.stage} keeps a file of each composite;"
            " write one with harmonyrt synthesize"
        )


class _Run:
    """State of one run; `step` counts optimizer steps."""

    def __init__(
        self,
        config: DiffusionConfig,
        subject: Subject,
        processes: Processes,
        report: Reporter,
        inputs: StageOneResults | None,
    ) -> None:
        self.config, self.subject, self.processes, self.report = config, subject, processes, report
        self.device = processes.device(config.device)
        self.network = subject.network.to(self.device).train()
        subject.objective.to(self.device)
        self.average = Average(self.network, config.ema)
        share_batch_norms(self.network, processes)
        if config.checkpointing:
            recompute_blocks(self.network)
        self.optimizer = build_optimizer(self.network, config.optimizer, config.rate, config.weight_decay)
        self.description = f"{config.stage}: {subject.about} with {config.optimizer}, seed {config.seed}"
        progress = load_checkpoint(config.out, self.network, self.average, self.optimizer, self.description) or {}
        processes.wait()  # the first process will replace the file
        self.step = int(progress.get("step", 0))
        report.resume(self.step)
        self.minutes_before = float(progress.get("minutes", 0.0))
        self.started = time.monotonic()
        self.source, self.held_out = self._data(inputs)
        self.steps = config.steps or 0
        if config.epochs is not None:
            self.steps = max(1, round(config.epochs * steps_per_epoch(self.source, config.batch)))
            report.say(f"{config.epochs:g} epochs of {len(self.source)} samples: {self.steps} steps")
        trained = sum(p.numel() for p in self.network.parameters() if p.requires_grad)
        report.say(
            f"{'resuming at' if progress else 'starting at'} step {self.step}, {config.stage}: {trained:,} parameters"
            f" are trained by {processes.count} process{'es' if processes.count > 1 else ''}"
        )

    def _data(self, inputs: StageOneResults | None) -> tuple[Pairs | Made, list[tuple[Tensor, ...]]]:
        config = self.config
        if not PairedDataset.is_one(config.data):
            return Made(config.data), []
        source = Pairs(config.data, stage_one=inputs)
        held_out = []
        watched = PairedDataset.has(config.data, "val")
        if not watched:
            self.report.say(f"note: {config.data} has no list val.txt; no held-out loss is watched")
        if self.processes.first and watched:
            generator = torch.Generator().manual_seed(config.seed)
            for sample in Pairs(config.data, "val", inputs).fixed(config.side, HELD_OUT):
                held_out.append((*sample, *self.subject.objective.draws(sample[0], generator)))
        return source, held_out

    @property
    def minutes(self) -> float:
        return self.minutes_before + (time.monotonic() - self.started) / 60

    def go(self, interrupted: list[int]) -> DiffusionResult:
        losses = [loss for loss in [self._held_out_loss(None)] if loss is not None]
        stopped = self._train(interrupted, losses[0] if losses else None)
        last = None if stopped or self.step == 0 else self._held_out_loss(losses[0] if losses else None)
        losses += [] if last is None else [last]
        written = self.config.out
        if self.processes.first:
            self._save()
            written = self.subject.write(self.average.network, self.config.out)
        self.processes.wait()
        return DiffusionResult(self.step, self.step >= self.steps, tuple(losses), written)

    def _train(self, interrupted: list[int], at_first: float | None) -> bool:
        """Train to the end; True when a signal to any process ended it before."""
        config = self.config
        backward = JointBackward(self.network, self.processes, config.accumulate)
        stream = self.processes.parts_in_turn(self._made(), self.step)
        while self.step < self.steps:
            if self.processes.sums(len(interrupted))[0]:
                return True
            rate = config.rate * min(1.0, (self.step + 1) / max(config.warmup_steps, 1))
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            part = tuple(tensor.to(self.device) for tensor in next(stream))
            loss = backward.backward(self.subject.objective, part)
            norm = nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
            if torch.isfinite(norm):
                self.optimizer.step()
                self.average.update(self.network)
            else:
                self.report.say(f"step {self.step}: the gradient is not finite; the step is left out")
            self.step += 1
            self.report.step(
                self.step, self.step / self.steps, self.minutes, config.side, loss, rate, config.report_every
            )
            if self.step < self.steps and self.processes.first:
                if self.step % config.checkpoint_every == 0:
                    self._save()
                if self.step % config.validate_every == 0:
                    self._held_out_loss(at_first)
        return False

    def _made(self) -> Iterator[tuple[Tensor, ...]]:
        """Pictures and random numbers of this process's steps, which follow from seed and step alone."""
        config, every = self.config, self.processes.count
        first = self.processes.first_turn(self.step)
        made = batches(self.source, config.side, config.batch, config.seed, first, config.workers, 0, every)
        for step, pictures in zip(itertools.count(first, every), made):
            generator = torch.Generator().manual_seed(seed_of([config.seed, step]))
            yield (*pictures, *self.subject.objective.draws(pictures[0], generator))

    @torch.no_grad()
    def _held_out_loss(self, at_first: float | None) -> float | None:
        if not self.held_out:
            return None
        self.average.network.eval()
        total = 0.0
        for sample in self.held_out:
            total += float(self.subject.objective(self.average.network, tuple(t.to(self.device) for t in sample)))
        loss = total / len(self.held_out)
        self.report.held_out(self.step, self.minutes, loss, at_first)
        return loss

    def _save(self) -> None:
        progress: dict[str, Any] = {"step": self.step, "minutes": self.minutes, "description": self.description}
        save_checkpoint(self.config.out, self.network, self.average, self.optimizer, **progress)
        (self.config.out / "config.json").write_text(settings_text(self.config))
