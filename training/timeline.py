"""How far a run is: its length in steps or minutes, the stage that is due, and that stage's learning rate."""

from __future__ import annotations

import math
from collections.abc import Sized
from dataclasses import dataclass

from harmonyrt.training.config import TrainConfig
from harmonyrt.training.loading import steps_per_epoch

FINAL_RATE = 0.01
"""Where the cosine ends, as a share of the stage's learning rate."""


@dataclass(frozen=True)
class Timeline:
    """A run's course.

    Attributes:
        config: of the run.
        shares: of its stages in its length; of a run in epochs, their steps.
        steps: length; None for a run in minutes.
    """

    config: TrainConfig
    shares: tuple[float, ...]
    steps: int | None

    @classmethod
    def of(cls, config: TrainConfig, source: Sized) -> Timeline:
        """The course of a run over a training split."""
        shares = tuple(stage.share for stage in config.stages)
        if config.epochs is None:
            return cls(config, shares, config.steps)
        each = config.epochs / sum(shares)
        steps = tuple(stage.share * each * steps_per_epoch(source, stage.batch) for stage in config.stages)
        return cls(config, steps, max(1, round(sum(steps))))

    def described(self, source: Sized) -> str:
        """Epochs as steps, in words."""
        assert self.config.epochs is not None
        each = self.config.epochs / sum(stage.share for stage in self.config.stages)
        lengths = ", ".join(f"{stage.share * each:g}" for stage in self.config.stages)
        return f"{self.config.epochs:g} epochs ({lengths}) of {len(source)} composites: {self.steps} steps"

    def progress(self, step: int, minutes: float) -> float:
        """Share of the run that is done, 0 to 1."""
        if self.steps:
            return min(step / self.steps, 1.0)
        assert self.config.minutes is not None  # a run has one length
        return min(minutes / self.config.minutes, 1.0)

    def stage_index(self, progress: float) -> int:
        """The stage that is due."""
        total = sum(self.shares)
        end = 0.0
        for index, share in enumerate(self.shares):
            end += share / total
            if progress < end - 1e-9:
                return index
        return len(self.config.stages) - 1

    def first_step(self, stage: int) -> int | None:
        """The step that a stage's epochs are counted from; None for a run that is not given in epochs."""
        return None if self.config.epochs is None else round(sum(self.shares[:stage]))

    def rate(self, stage: int, step: int, progress: float) -> float:
        """Learning rate of a step: it rises over the warm-up, then is constant or a cosine over the whole run."""
        config = self.config
        warm = min(1.0, (step + 1) / max(config.warmup_steps, 1))
        rate = config.stages[stage].lr * warm
        if config.schedule == "constant":
            return rate
        return rate * (FINAL_RATE + (1 - FINAL_RATE) * (1 + math.cos(math.pi * progress)) / 2)
