"""The training loop: stages, mixed precision, averaged weights, validation. A killed run resumes where it stopped.

Under torchrun several processes train one network (:mod:`harmonyrt.training.processes`): all of them do what is below,
and the first one alone validates and writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from harmonyrt.common import HarmonyError
from harmonyrt.common.signals import noticed_signals
from harmonyrt.models.meaning import CARRIER, carrier
from harmonyrt.training.accelerated_modules import accelerate, keep_norms_in_float32
from harmonyrt.training.composites import Batch
from harmonyrt.training.config import Stage, TrainConfig
from harmonyrt.training.grids import save_grid
from harmonyrt.training.loading import PairedDataset, Synthesis, batches, deaths_of_workers
from harmonyrt.training.optimizers import build_optimizer
from harmonyrt.training.parallel import Backward, CompiledProcesses, Replicas
from harmonyrt.training.part_loss import PartLoss
from harmonyrt.training.processes import JointBackward, Processes, joined, share_batch_norms
from harmonyrt.training.reporting import Reporter
from harmonyrt.training.run_folder import claimed
from harmonyrt.training.scoring import SIZE, compare, fixed_composites, harmonized
from harmonyrt.training.settling import BATCHES, batch_norms, settle_norms
from harmonyrt.training.shipping import ship
from harmonyrt.training.state import Average, load_checkpoint, save_checkpoint
from harmonyrt.training.timeline import Timeline
from harmonyrt.training.warm_start import starting_network


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """Where a run ended: `validation` is :func:`harmonyrt.training.scoring.compare` of the averaged weights."""

    steps: int
    minutes: float
    finished: bool
    validation: dict
    weights: Path


def train(config: TrainConfig, reporter: Reporter | None = None) -> TrainResult:
    """Train, or resume, the run in ``config.out``.

    SIGINT and SIGTERM end it after the current step, with a checkpoint; the same call resumes it, with any number of
    processes.

    Raises:
        HarmonyError: the data, the run folder or the device cannot be used.
    """
    _check_machine(config)
    with joined(config.device) as processes, contextlib.ExitStack() as stack:
        if processes.first:
            stack.enter_context(claimed(config.out))
        processes.wait()
        config = dataclasses.replace(config, device=processes.device(config.device))
        report = reporter or Reporter(config.out / "log.jsonl" if processes.first else None)
        with report, deaths_of_workers(), noticed_signals() as interrupted:
            return _Run(config, report, processes).go(interrupted)


def _check_machine(config: TrainConfig) -> None:
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise HarmonyError(f"device {config.device} was asked for, but PyTorch finds no CUDA GPU; use device cpu")
    if config.compiled and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise HarmonyError("compiled training starts processes of its own; leave it out under torchrun")
    compilers = [os.environ.get("CXX", ""), "g++", "clang++"]
    if config.compiled and not any(name and shutil.which(name) for name in compilers):
        raise HarmonyError(
            "compiled training needs a C++ compiler, and none is installed; install g++, or train without"
        )


class _Run:
    """State of one run; `step` counts optimizer steps, `minutes` wall-clock time over all its sessions."""

    def __init__(self, config: TrainConfig, report: Reporter, processes: Processes | None = None) -> None:
        self.config, self.report = config, report
        self.processes = processes or Processes()
        network = starting_network(config, report.say)
        self.network = network.requires_grad_(True).to(config.device).train()
        self.has_extractor = network.config.extractor
        self.average = Average(self.network, config.ema)
        (accelerate if config.compiled else keep_norms_in_float32)(self.network)
        share_batch_norms(self.network, self.processes)
        self.optimizer = build_optimizer(self.network, config.optimizer, config.stages[0].lr, config.weight_decay)
        how = f"{config.optimizer}, compiled" if config.compiled else config.optimizer
        self.description = f"{self.network.config} with {how}, seed {config.seed}"
        progress = load_checkpoint(config.out, self.network, self.average, self.optimizer, self.description) or {}
        self.processes.wait()  # the first one will replace the file
        self.step = int(progress.get("step", 0))
        report.resume(self.step)
        self.minutes_before = float(progress.get("minutes", 0.0))
        self.settled_stage = int(progress.get("settled_stage", -1))
        paired = PairedDataset.is_one(config.data)
        self.source = PairedDataset(config.data) if paired else Synthesis(config.data, config.plan)
        self.timeline = Timeline.of(config, self.source)
        if config.epochs is not None:
            report.say(self.timeline.described(self.source))
        side = config.validation_size or SIZE
        self.held_out: list[Batch] = []
        if self.processes.first:
            self.held_out = self._fixed_pairs(side) if paired else fixed_composites(config.data, "val", side)
        self.validation: dict = {}
        self.started = time.monotonic()
        self.stopped = False
        self.agreed_minutes: float | None = None
        report.say(f"{'resuming at' if progress else 'starting at'} step {self.step}, {self.description}")
        if self.processes.count > 1:
            report.say(f"the run is trained by {self.processes.count} processes, each with its part of every batch")

    def _fixed_pairs(self, side: int) -> list[Batch]:
        root = self.config.data
        if PairedDataset.has(root, "val"):
            return PairedDataset(root, "val").fixed(side)
        self.report.say(
            f"note: {root} has no list val.txt (iHarmony4 has none); validation shows composites of the list test.txt,"
            " and nothing is chosen by it"
        )
        return PairedDataset(root, "test").fixed(side)

    @property
    def minutes(self) -> float:
        if self.agreed_minutes is not None:
            return self.agreed_minutes
        return self.minutes_before + (time.monotonic() - self.started) / 60

    def _agree(self, interrupted: list[int]) -> None:
        """Before each step: whether a signal came to any process, and the first one's clock, in all of them."""
        if self.processes.count == 1:
            self.stopped = bool(interrupted)
            return
        self.agreed_minutes = None
        minutes, signals = self.processes.sums(self.minutes if self.processes.first else 0.0, len(interrupted))
        self.agreed_minutes, self.stopped = minutes, signals > 0

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0 to 1."""
        return self.timeline.progress(self.step, self.minutes)

    def stage_index(self) -> int:
        return self.timeline.stage_index(self.progress)

    def go(self, interrupted: list[int]) -> TrainResult:
        self._set_extractor(self.config.stages[self.stage_index()])  # for a run that is over already
        self._agree(interrupted)
        while self.progress < 1 and not self.stopped:
            index = self.stage_index()
            with self._staged(index) as stage:
                self._train_stage(index, stage, interrupted)
        weights = self.config.out / "weights.safetensors"
        if self.processes.first:
            if self.step and not self.stopped:
                self._validate()
            self._save()
            self._ship(weights)
        self.processes.wait()
        return TrainResult(self.step, self.minutes, self.progress >= 1, self.validation, weights)

    @contextlib.contextmanager
    def _staged(self, index: int) -> Iterator[Stage]:
        """Freeze, cut and settle what the stage asks for, and undo it after."""
        stage = self.config.stages[index]
        self.report.say(f"stage {index + 1} of {len(self.config.stages)}: {stage}")
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(not any(name.startswith(f"{frozen}.") for frozen in stage.freeze))
        self._set_extractor(stage)
        self.network.train()
        if stage.settled_norms:
            if self.settled_stage != index:
                self._settle_norms(index, stage)
            for norm in batch_norms(self.network):
                norm.eval()
        try:
            yield stage
        finally:
            self.network.requires_grad_(True)

    def _set_extractor(self, stage: Stage) -> None:
        """With or without the feature extractor, as the stage says: what is trained, validated and shipped alike."""
        for network in (self.network, self.average.network):
            network.config = dataclasses.replace(network.config, extractor=stage.extractor and self.has_extractor)

    def _settle_norms(self, index: int, stage: Stage) -> None:
        def inputs() -> Iterator[tuple[Tensor, ...]]:
            for n in range(BATCHES):
                made = self.source.batch(stage.size, stage.batch, [self.config.seed, 1_000_000_000 + n])
                yield tuple(tensor.to(self.config.device) for tensor in made[:2])

        settle_norms(self.network, self.average.network, inputs(), self._autocast())
        self.settled_stage = index

    def _autocast(self) -> torch.autocast:
        kind = torch.device(self.config.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.config.precision == "bf16")

    def _train_stage(self, index: int, stage: Stage, interrupted: list[int]) -> None:
        config = self.config
        kind = torch.device(config.device).type
        start = self.timeline.first_step(index)
        first, every = self.processes.first_turn(self.step), self.processes.count
        made = batches(self.source, stage.size, stage.batch, config.seed, first, config.workers, start, every)
        stream = self.processes.parts_in_turn(made, self.step)
        last_validation = last_checkpoint = self.minutes
        threads = (config.threads or os.cpu_count() or 1) if kind == "cpu" else 1
        loss_of = PartLoss(config.loss, kind, config.precision == "bf16", stage.head_alone, self.processes.batch())
        if config.compiled:
            self.report.say("compiling; the first step takes half a minute to two minutes")
        replicas = self._backward(threads)
        while self.stage_index() == index and self.progress < 1 and not self.stopped:
            batch = tuple(tensor.to(config.device) for tensor in next(stream))
            rate = self.timeline.rate(index, self.step, self.progress)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss = replicas.backward(loss_of, batch)
            norm = nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
            if not torch.isfinite(norm):
                self.report.say(f"step {self.step}: the gradient is not finite; the step is left out")
            else:
                self.optimizer.step()
                self.average.update(self.network)
            self.step += 1
            self.report.step(self.step, self.progress, self.minutes, stage.size, loss, rate, config.report_every)
            if self.processes.first and self.minutes - last_checkpoint >= config.checkpoint_every:
                self._save()
                last_checkpoint = self.minutes
            if config.validate_steps is not None:
                due = self.step % config.validate_steps == 0 and self.progress < 1
            else:
                due = self.minutes - last_validation >= config.validate_every
            if due and self.processes.first:
                self._validate()
                last_validation = self.minutes
            self._agree(interrupted)
        replicas.close()

    def _backward(self, threads: int) -> Backward:
        if self.processes.count == 1:
            return (CompiledProcesses if self.config.compiled else Replicas)(self.network, threads)
        if self.config.threads and threads > 1:
            torch.set_num_threads(threads)  # torchrun gives each process one
        return JointBackward(self.network, self.processes, partly_used=True)  # released networks have idle parameters

    def _validate(self) -> None:
        network = self.average.network
        self.validation = compare(network, self.held_out, self.config.precision)
        self.report.validation(self.step, self.minutes, self.validation)
        self._grid(network, self.held_out[:2])
        if self.config.ship is not None:
            self._ship(self.config.ship)

    def _grid(self, network: nn.Module, held_out: list[Batch]) -> None:
        folder = self.config.out / "grids"
        folder.mkdir(exist_ok=True)
        results = [harmonized(network, batch, self.config.precision) for batch in held_out]
        columns = [torch.cat([getattr(b, name) for b in held_out]) for name in ("composite", "mask", "real")]
        save_grid(folder / f"{self.step:07d}.png", [columns[0], columns[1], torch.cat(results), columns[2]])

    def _ship(self, path: Path) -> Path:
        facts: dict[str, object] = {"steps": self.step, "minutes": round(self.minutes, 1), "seed": self.config.seed}
        if self.validation:
            facts["validation"] = {k: self.validation[k] for k in ("composite", "harmonized", "worse")}
        return ship(self.average.network.state_dict(), self.network.config, path, **facts)

    def _save(self) -> None:
        save_checkpoint(
            self.config.out,
            self.network,
            self.average,
            self.optimizer,
            {CARRIER: carrier(self.network.config)},  # what the weights mean, for load_phnet
            step=self.step,
            minutes=self.minutes,
            settled_stage=self.settled_stage,
            description=self.description,
        )
        text = json.dumps(dataclasses.asdict(self.config), default=str, indent=1)
        (self.config.out / "config.json").write_text(text)
