"""Configuration of training runs, and the runs that the project knows by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from harmonyrt.common import HarmonyError
from harmonyrt.models import IHARMONY4, PHNetConfig
from harmonyrt.training.losses import LOSSES
from harmonyrt.training.optimizers import OptimizerName
from harmonyrt.training.plan import CompositePlan


@dataclass(frozen=True)
class Stage:
    """A part of a run.

    Attributes:
        size: side of the square pictures, a multiple of 8.
        batch: pictures per step.
        share: how much of the run it takes, against the other stages' shares.
        lr: learning rate before the schedule's factor.
        freeze: names of submodules whose weights are frozen, for example ``("encoder",)``.
        extractor: False cuts the PFE's gate off the SE block (the paper's first stage), in validation and in what is
            shipped as well.
        settled_norms: measure BatchNorm's statistics again on this stage's pictures, then train with them
            fixed: small batches of large pictures otherwise train one network and ship another.
        head_alone: train a PHNet's colour head by itself: a fiftieth of the work. Composites must be made in layers.
    """

    size: int = 256
    batch: int = 16
    share: float = 1.0
    lr: float = 1e-3
    freeze: tuple[str, ...] = ()
    extractor: bool = True
    settled_norms: bool = False
    head_alone: bool = False


PRACTICAL_STAGES = (
    Stage(size=64, batch=16, share=0.38),
    Stage(size=128, batch=12, share=0.40),
    Stage(size=256, batch=6, share=0.22, settled_norms=True),
)
"""Small pictures first: a step costs a sixteenth at 64 pixels, and most of what it teaches holds at 128."""

PAPER_STAGES = (
    Stage(size=256, batch=16, share=100, lr=1e-4, extractor=False),
    Stage(size=256, batch=16, share=10, lr=1e-5, freeze=("encoder",)),
    Stage(size=256, batch=16, share=50, lr=1e-7),
)
"""Section 5.1: without the PFE, then with it and the encoder frozen, then all of it; shares are its epochs."""
PAPER_EPOCHS = 160.0


def parse_stages(texts: Sequence[str]) -> tuple[Stage, ...]:
    """Stages from ``"SIZE:BATCH:SHARE"``, such as ``["112:16:0.4", "256:8:0.6"]``; the last one settles its norms.

    Raises:
        HarmonyError: a text that is something else.
    """
    stages = []
    for text in texts:
        try:
            size, batch, share = text.split(":")
            stage = Stage(size=int(size), batch=int(batch), share=float(share))
        except ValueError:
            stage = None
        if stage is None or stage.batch < 1 or not 0 < stage.share < float("inf"):
            raise HarmonyError(
                f"stage {text!r} is not SIZE:BATCH:SHARE; give three positive numbers such as 256:8:0.28"
            )
        stages.append(stage)
    return (*stages[:-1], replace(stages[-1], settled_norms=True))


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run's result, but for the clock of a run given in minutes.

    Attributes:
        data: data root (folders of images/ and masks/, folders of photos), or a dataset in iHarmony4's layout.
        out: run folder: checkpoint.pt, log.jsonl, grids/. An existing run is resumed.
        steps, minutes, epochs: length of the run; exactly one. Minutes count while the program runs, pauses included.
            In an epoch as many composites are seen as the training split has: the dataset's, or one of each photo.
        schedule: ``cosine`` falls to 1 % of the stage's rate over the whole run; ``constant`` is what was released (a
            scheduler that is never stepped).
        ema: decay of the averaged weights, which are the ones that are validated and shipped.
        precision: ``bf16`` (autocast; statistics stay in float32) or ``fp32``.
        threads: CPU threads, each with a part of every batch (``parallel.py``); None = one per core.
        compiled: train with ``torch.compile`` and the modules of ``accelerated_modules.py`` (on a CPU; needs a C++
            compiler, and about a minute for each stage before its first step).
        workers: processes that make batches; 0 makes them in the training process.
        ship: where to write the averaged weights at every validation.
        init: weights to start from; their configuration and output kind replace `network`.
        colour_head: add a colour head that changes nothing yet to the weights of `init`, if they have none.
        patch_shrinkage: of the network (:class:`harmonyrt.models.PHNetConfig`); None leaves it as `network` or `init`
            has it.
        validate_steps: validate after every so many steps instead of `validate_every` minutes, so that runs can be
            compared step by step.
        validation_size: side of the pictures that are validated on; None is 256 pixels.
    """

    data: Path
    out: Path
    network: PHNetConfig = field(default_factory=lambda: replace(IHARMONY4, output="residual"))
    stages: tuple[Stage, ...] = PRACTICAL_STAGES
    steps: int | None = None
    minutes: float | None = None
    epochs: float | None = None
    loss: Literal["foreground", "scene", "released", "paper"] = "foreground"
    optimizer: OptimizerName = "adamw"
    weight_decay: float = 0.01
    clip: float = 1.0
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_steps: int = 100
    ema: float = 0.998
    seed: int = 0
    plan: CompositePlan = field(default_factory=CompositePlan)
    precision: Literal["bf16", "fp32"] = "bf16"
    device: str = "cpu"
    threads: int | None = None
    compiled: bool = False
    workers: int = 1
    validate_every: float = 5.0
    checkpoint_every: float = 2.0
    report_every: float = 0.5
    ship: Path | None = None
    init: Path | None = None
    patch_shrinkage: float | None = None
    colour_head: bool = False
    validation_size: int | None = None
    validate_steps: int | None = None

    def __post_init__(self) -> None:
        lengths = [length for length in (self.steps, self.minutes, self.epochs) if length is not None]
        if len(lengths) != 1:
            raise HarmonyError("a run's length is given in steps, in minutes or in epochs: set exactly one")
        if lengths[0] <= 0:
            raise HarmonyError("a run's length must be positive; give more steps, minutes or epochs")
        if self.patch_shrinkage is not None and not 0 <= self.patch_shrinkage <= 1:
            raise HarmonyError(f"patch_shrinkage is a share from 0 to 1, not {self.patch_shrinkage}; give another")
        for name, known in (("loss", (*LOSSES, "scene")), ("optimizer", ("adamw", "lion", "muon"))):
            if getattr(self, name) not in known:
                raise HarmonyError(f"{name} {getattr(self, name)!r} is not known; use one of {', '.join(known)}")
        if self.compiled and not self.device.startswith("cpu"):
            raise HarmonyError(f"compiled training is for the CPU; leave it out with device {self.device}")
        if any(stage.head_alone for stage in self.stages) and not self.plan.in_layers:
            raise HarmonyError("a stage of the colour head alone needs composites in layers; give a plan with moved")
        for stage in self.stages:
            if stage.size % 8 or stage.size < 16:
                raise HarmonyError(f"size {stage.size} is not a multiple of 8 from 16 on; choose another, such as 256")


def paper_config(data: Path, out: Path, **changes: Any) -> TrainConfig:
    """The run of section 5.1: three stages, 160 epochs in all, Lion, constant rates, the paper's loss, sigmoid output.

    `changes` are of :class:`TrainConfig`; a length among them replaces the epochs.
    """
    length = {} if {"steps", "minutes", "epochs"} & changes.keys() else {"epochs": PAPER_EPOCHS}
    settings: dict[str, Any] = {
        **length,
        "network": IHARMONY4,
        "loss": "paper",
        "optimizer": "lion",
        "schedule": "constant",
    }
    return TrainConfig(data, out, **{"stages": PAPER_STAGES, "ema": 0.0, **settings, **changes})
