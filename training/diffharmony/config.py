"""What a training run of DiffHarmony is asked for.

The released scripts leave learning rate, batch size and epochs blank; the defaults here are this project's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harmonyrt.common import HarmonyError
from harmonyrt.training.optimizers import OptimizerName

StageName = Literal["unet", "inverse", "refiner", "harmony-vae", "classifier"]
STAGES: tuple[StageName, ...] = ("unet", "inverse", "refiner", "harmony-vae", "classifier")
OPTIMIZERS = ("adamw", "adamw-8bit")
REFINERS = ("small", "base", "large")
SIZES: dict[StageName, int] = {"unet": 512, "inverse": 512, "refiner": 256, "harmony-vae": 256, "classifier": 224}
RATES: dict[StageName, float] = {
    "unet": 1e-5,
    "inverse": 1e-5,
    "refiner": 1e-4,
    "harmony-vae": 1e-4,
    "classifier": 1e-4,
}


@dataclass(frozen=True)
class DiffusionConfig:
    """One run.

    Attributes:
        stage: ``unet`` (stage one), ``inverse`` (real -> composite, for making composites), ``refiner`` (stage two),
            ``harmony-vae`` (DiffHarmony++'s autoencoder) or ``classifier`` (tells composites from real photos).
        data: a dataset of pairs in iHarmony4's layout, or photos and masks to make composites from.
        out: run folder; an existing run is resumed.
        checkpoint: where the networks begin: a Stable Diffusion inpainting folder, or a tuned one. The refiner takes
            its inputs from it. The classifier needs none.
        base: supplies the subfolders that `checkpoint` lacks.
        harmony_vae: the trained harmony VAE's folder, where the refiner follows it; None for the checkpoint's VAE.
        start: folder of the refiner, the harmony VAE or the classifier to begin with, instead of a fresh one.
        steps, epochs: length of the run; one of them. In an epoch every pair comes once; of
            photos, it is as many composites as there are photos.
        size: side of the square pictures, a multiple of 8; None for the stage's (:data:`SIZES`).
        inference_size: side at which stage one works: smaller pictures are enlarged to it. None: `size` for the UNets
            and 512 for the refiner's inputs.
        batch: samples per optimizer step, over all processes.
        accumulate: pieces that a process's part of the batch is computed in.
        lr, weight_decay, warmup_steps, clip: of the optimizer; the rate is constant after its warm-up.
        optimizer: ``adamw``, or ``adamw-8bit`` (bitsandbytes; state of a quarter of the size).
        ema: decay of the averaged weights, which are what is written.
        foreground: stage one's loss counts the foreground alone (as released); False is the released ``--nofg``.
        refiner: widths of a fresh refiner: small, base or large.
        refiner_channels: 7 (harmonised, mask, composite), 4 (harmonised, mask) or 3.
        stage_one: folder of the refiner's inputs, to share them between runs; None for one in the run folder.
        refiner_variants: stage-one results per composite that the refiner's inputs are drawn from.
        online: the harmony VAE decodes what stage one (`checkpoint`) makes of the composites, run in each step with
            new noise, instead of encoded real pictures (DiffHarmony++'s online variant).
        denoising_steps: of stage one, where it makes the refiner's inputs or the online variant's latents.
        precision: ``bf16`` autocast, or ``fp32``; frozen networks compute in float32 either way.
        checkpointing: compute blocks again in the backward pass instead of keeping their features.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        workers: processes that read pictures.
        checkpoint_every, validate_every: in steps.
        report_every: in minutes.
    """

    stage: StageName
    data: Path
    out: Path
    checkpoint: Path | None = None
    base: Path | None = None
    harmony_vae: Path | None = None
    start: Path | None = None
    steps: int | None = None
    epochs: float | None = None
    size: int | None = None
    inference_size: int | None = None
    batch: int = 16
    accumulate: int = 1
    lr: float | None = None
    weight_decay: float = 0.01
    warmup_steps: int = 500
    clip: float = 1.0
    optimizer: OptimizerName = "adamw"
    ema: float = 0.9999
    foreground: bool = True
    refiner: str = "base"
    refiner_channels: int = 7
    stage_one: Path | None = None
    refiner_variants: int = 1
    online: bool = False
    denoising_steps: int = 5
    precision: str = "bf16"
    checkpointing: bool = False
    seed: int = 0
    device: str = "cpu"
    workers: int = 1
    checkpoint_every: int = 500
    validate_every: int = 1000
    report_every: float = 0.5

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise HarmonyError(f"stage {self.stage!r} is not known; choose {', '.join(STAGES)}")
        if (self.steps is None) == (self.epochs is None):
            raise HarmonyError("a run's length is given once; pass steps or epochs")
        if self.stage != "classifier" and self.checkpoint is None:
            raise HarmonyError(
                f"stage {self.stage} begins with a Stable Diffusion inpainting folder; give one as checkpoint"
            )
        if self.harmony_vae is not None and self.stage != "refiner":
            raise HarmonyError(
                f"stage {self.stage} has no use for a harmony VAE; leave it out (one to go on with is given as start)"
            )
        if self.online and self.stage != "harmony-vae":
            raise HarmonyError(f"the online variant is the harmony VAE's, and the stage is {self.stage}; leave it out")
        if self.inference_size is not None and self.stage in ("harmony-vae", "classifier"):
            raise HarmonyError(f"stage {self.stage} works at one size; leave the inference size out, and give its size")
        if self.optimizer not in OPTIMIZERS:
            raise HarmonyError(f"optimizer {self.optimizer!r} is not known; choose {' or '.join(OPTIMIZERS)}")
        if self.refiner not in REFINERS or self.refiner_channels not in (7, 4, 3):
            raise HarmonyError(
                f"a refiner of size {self.refiner!r} with {self.refiner_channels} input channels is not known; choose"
                f" {', '.join(REFINERS)} and 7, 4 or 3"
            )
        for side in (self.side, self.stage_one_side):
            if side % 8 or side < 32:
                raise HarmonyError(f"size {side} is not a multiple of 8 from 32 on; choose another, such as 512")
        if self.stage in ("unet", "inverse") and self.stage_one_side < self.side:
            raise HarmonyError(
                f"inference size {self.stage_one_side} is below the pictures' {self.side}; pictures are enlarged to it,"
                " never reduced: give a smaller size"
            )

    @property
    def side(self) -> int:
        """Pixels of the square pictures."""
        return self.size or SIZES[self.stage]

    @property
    def stage_one_side(self) -> int:
        """Pixels at which stage one works."""
        return self.inference_size or (512 if self.stage == "refiner" and self.size is None else self.side)

    @property
    def rate(self) -> float:
        """The learning rate after its warm-up."""
        return RATES[self.stage] if self.lr is None else self.lr
