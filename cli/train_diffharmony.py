"""`harmonyrt train-diffharmony`: the stages of DiffHarmony's training."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from harmonyrt.cli.train import Precision


class Stage(str, Enum):
    """What to train."""

    unet = "unet"
    inverse = "inverse"
    refiner = "refiner"
    harmony_vae = "harmony-vae"
    classifier = "classifier"


class DiffusionOptimizer(str, Enum):
    """Optimizers."""

    adamw = "adamw"
    adamw_8bit = "adamw-8bit"


class RefinerSize(str, Enum):
    """Widths of the refiner."""

    small = "small"
    base = "base"
    large = "large"


def train_diffharmony(
    stage: Annotated[
        Stage,
        typer.Argument(help="unet: stage one. refiner: stage two. harmony-vae, inverse, classifier: DiffHarmony++."),
    ],
    data: Annotated[Path, typer.Argument(help="A dataset of pairs, or photos and masks to make composites from.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Run folder; an existing run is resumed.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Where the networks begin: a Stable Diffusion inpainting folder, or a tuned one."),
    ] = None,
    base: Annotated[Path | None, typer.Option(help="Supplies the subfolders that the checkpoint lacks.")] = None,
    harmony_vae: Annotated[
        Path | None, typer.Option(help="For the refiner: the harmony VAE whose pictures it will refine.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Refiner, harmony VAE or classifier to begin with, instead of a fresh one.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Length of the run in steps.")] = None,
    epochs: Annotated[float | None, typer.Option(min=0.001, help="Length of the run in epochs.")] = None,
    size: Annotated[
        int | None, typer.Option(help="Pixels. Default: 512, refiner and harmony VAE 256, classifier 224.")
    ] = None,
    inference_size: Annotated[
        int | None, typer.Option(help="Pixels at which stage one works. Default: --size; 512 for the refiner's inputs.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures a step, over all processes.")] = 16,
    accumulate: Annotated[int, typer.Option(min=1, help="Pieces that a batch is computed in, to save memory.")] = 1,
    lr: Annotated[float | None, typer.Option(help="Learning rate. Default: 1e-5 for UNets, else 1e-4.")] = None,
    weight_decay: Annotated[float, typer.Option(min=0)] = 0.01,
    warmup_steps: Annotated[int, typer.Option(min=0, help="Steps in which the rate rises.")] = 500,
    optimizer: Annotated[
        DiffusionOptimizer, typer.Option(help="adamw-8bit needs the package bitsandbytes.")
    ] = DiffusionOptimizer.adamw,
    ema: Annotated[float, typer.Option(min=0, max=1, help="Decay of the averaged weights.")] = 0.9999,
    nofg: Annotated[
        bool, typer.Option("--nofg", help="Stage one's loss counts the whole picture, not the foreground.")
    ] = False,
    refiner: Annotated[RefinerSize, typer.Option(help="Widths of a fresh refiner.")] = RefinerSize.base,
    refiner_channels: Annotated[
        int, typer.Option(help="7: harmonised, mask, composite. 4: harmonised, mask. 3: harmonised.")
    ] = 7,
    stage_one: Annotated[
        Path | None, typer.Option(help="Folder of the refiner's inputs, shared by runs. Default: in the run folder.")
    ] = None,
    variants: Annotated[int, typer.Option(min=1, help="Stage-one results per composite for the refiner.")] = 1,
    online: Annotated[
        bool,
        typer.Option(
            "--online", help="Harmony VAE: decode stage one's latents of composites, not encoded real pictures."
        ),
    ] = False,
    denoising_steps: Annotated[
        int, typer.Option(min=1, help="Of stage one, for the refiner's inputs and --online.")
    ] = 5,
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Gradient checkpointing: less memory, a third more time.")
    ] = False,
    precision: Annotated[Precision, typer.Option(help="Of the network that is trained.")] = Precision.bf16,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds make equal batches and noise.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    workers: Annotated[int, typer.Option(min=0, help="Processes that read pictures.")] = 1,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 500,
    validate_every: Annotated[int, typer.Option(min=1, help="Steps between validations.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print how it ended as JSON.")] = False,
) -> None:
    """Train a stage of DiffHarmony, or DiffHarmony++'s harmony VAE.

    Ctrl-C ends it after the current step; the same command continues. Several processes: torchrun (docs/training.md).
    """
    from harmonyrt.cli.console import print_json
    from harmonyrt.common.errors import require
    from harmonyrt.common.progress import say
    from harmonyrt.common.streams import current as streams

    for package in ("torch", "safetensors"):
        require(package, "train", "harmonyrt train-diffharmony")
    from harmonyrt.training.diffharmony.config import DiffusionConfig
    from harmonyrt.training.diffharmony.loop import train_diffusion as run

    if not as_json:
        streams().results_are_files()
    settings: dict[str, Any] = {"checkpoint": checkpoint, "base": base, "harmony_vae": harmony_vae, "start": start}
    settings |= {"steps": steps, "epochs": epochs, "size": size, "inference_size": inference_size, "batch": batch}
    settings |= {"accumulate": accumulate, "lr": lr, "weight_decay": weight_decay, "warmup_steps": warmup_steps}
    settings |= {"optimizer": optimizer.value, "ema": ema, "foreground": not nofg, "refiner": refiner.value}
    settings |= {"refiner_channels": refiner_channels, "stage_one": stage_one, "refiner_variants": variants}
    settings |= {
        "online": online,
        "denoising_steps": denoising_steps,
        "checkpointing": checkpointing,
        "precision": precision.value,
    }
    settings |= {"seed": seed, "device": device, "workers": workers, "checkpoint_every": checkpoint_every}
    settings |= {"validate_every": validate_every}
    result = run(DiffusionConfig(stage.value, data, output, **settings))
    if as_json:
        print_json({"steps": result.steps, "finished": result.finished, "held_out_losses": list(result.losses),
                    "written": str(result.written)})  # fmt: skip
    else:
        print(result.written)
    if not result.finished:
        say(f"stopped at step {result.steps}; run the same command again to continue")
        raise typer.Exit(130)
