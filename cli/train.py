"""`harmonyrt train`: the options of the training loop."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer


class TrainingRecipe(str, Enum):
    """Named presets of stages and optimizer."""

    practical = "practical"
    paper = "paper"


class Optimizer(str, Enum):
    """Optimizers."""

    adamw = "adamw"
    lion = "lion"


class Loss(str, Enum):
    """Training losses."""

    foreground = "foreground"
    scene = "scene"
    released = "released"
    paper = "paper"


class Precision(str, Enum):
    """Precision of the training loop."""

    bf16 = "bf16"
    fp32 = "fp32"


def train(
    data: Annotated[Path, typer.Argument(help="Photos and masks to make composites from, or a dataset of pairs.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Run folder; an existing run is resumed.")],
    minutes: Annotated[float | None, typer.Option(min=0.001, help="Length of the run in minutes.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Length of the run in steps.")] = None,
    recipe: Annotated[
        TrainingRecipe,
        typer.Option(help="practical: residual output, minutes to hours. paper: section 5.1, 160 epochs."),
    ] = TrainingRecipe.practical,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A training course from training/plans/: shipped is how the shipped weights were made (hours);"
            " paper-ablation trains and scores the PHNet paper's table 1 in small.",
        ),
    ] = None,
    optimizer: Annotated[Optimizer | None, typer.Option(help="Default: the recipe's.")] = None,
    loss: Annotated[Loss | None, typer.Option(help="Default: the recipe's.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of every stage. Default: the recipe's.")] = None,
    weight_decay: Annotated[float | None, typer.Option(min=0, help="Default: the recipe's.")] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SIZE:BATCH:SHARE",
            help="A part of the run: pixels, pictures a step, share of its length; repeat. Default: the recipe's.",
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(help="JSON: how composites are made (docs/training.md), or the config.json of another run."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds make equal composites.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    precision: Annotated[Precision, typer.Option(help="Statistics stay in fp32 either way.")] = Precision.bf16,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Faster on a CPU; needs a C++ compiler and a minute before each stage.")
    ] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that make composites.")] = 1,
    init: Annotated[Path | None, typer.Option(help="Weights to start from.")] = None,
    patch_shrinkage: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="How far patches with little background are discounted (docs/training.md)."),
    ] = None,
    ship: Annotated[
        Path | None,
        typer.Option(help="Write the averaged weights here too, at every validation."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the final validation as JSON.")] = False,
) -> None:
    """Train PHNet on composites that are made from photos as it goes.

    Ctrl-C ends it after the current step; the same command continues.
    """
    from harmonyrt.cli.console import print_json, say_passed_over
    from harmonyrt.common import HarmonyError
    from harmonyrt.common.errors import require
    from harmonyrt.common.progress import say
    from harmonyrt.common.streams import current as streams

    if preset is None and recipe is TrainingRecipe.practical and (steps is None) == (minutes is None):
        raise HarmonyError("a run's length is given once; pass --minutes or --steps")
    for package in ("torch", "safetensors"):
        require(package, "train", "harmonyrt train")
    if not data.is_dir():
        raise HarmonyError(
            f"{data} is not a folder; give a folder of photos and masks, or of pairs (see docs/training.md)"
        )
    from harmonyrt.training.loading import PairedDataset
    from harmonyrt.training.plan import read_plan
    from harmonyrt.training.train import train as run

    chosen: dict[str, Any] = {"seed": seed, "device": device, "precision": precision.value, "threads": threads}
    chosen |= {"compiled": compiled, "workers": workers, "init": init, "ship": ship}
    chosen |= {"patch_shrinkage": patch_shrinkage}
    chosen |= {key: choice.value for key, choice in (("optimizer", optimizer), ("loss", loss)) if choice is not None}
    chosen |= {} if weight_decay is None else {"weight_decay": weight_decay}
    if plan is not None:
        if PairedDataset.is_one(data):
            raise HarmonyError(f"{data} is a dataset of pairs, which are taken as they are; leave out --plan")
        chosen["plan"] = read_plan(plan)
    chosen["stages"] = _stages(recipe, lr, stage)
    if not PairedDataset.is_one(data):
        say_passed_over(data)
    if not as_json:
        streams().results_are_files()
    result = run(_config(recipe, data, output, steps, minutes, chosen))
    if as_json:
        print_json({"steps": result.steps, "minutes": result.minutes, "finished": result.finished,
                    "weights": str(result.weights), "validation": result.validation})  # fmt: skip
    else:
        print(result.weights)
    if not result.finished:
        say(f"stopped at step {result.steps}; run the same command again to continue")
        raise typer.Exit(130)


def _run_preset(name: str, data: Path, output: Path, init: Path | None, machine: dict[str, Any], as_json: bool) -> None:
    from harmonyrt.cli.console import print_json, say
    from harmonyrt.training.presets import configs, read_course, run_course
    from harmonyrt.training.train import train as run

    course = read_course(name)
    say(f"preset {name}: {course.about} It takes {course.hours}.")
    weights, last = run_course(course, configs(course, data, output, init, **machine), output, run)
    if weights is None:
        say(f"stopped at step {last.steps} of a run of the preset; run the same command again to continue")
        raise typer.Exit(130)
    if as_json:
        print_json({"weights": str(weights), "validation": last.validation})
    else:
        print(weights)


def _config(
    recipe: TrainingRecipe, data: Path, output: Path, steps: int | None, minutes: float | None, chosen: dict[str, Any]
) -> Any:
    from harmonyrt.training.config import TrainConfig, paper_config

    if recipe is TrainingRecipe.practical:
        return TrainConfig(data, output, steps=steps, minutes=minutes, **chosen)
    length = {} if steps is None and minutes is None else {"steps": steps, "minutes": minutes}
    return paper_config(data, output, **length, **chosen)


def _stages(recipe: TrainingRecipe, lr: float | None, given: list[str] | None) -> tuple[Any, ...]:
    import dataclasses

    from harmonyrt.common import HarmonyError
    from harmonyrt.training.config import PAPER_STAGES, PRACTICAL_STAGES, parse_stages

    if given and recipe is TrainingRecipe.paper:
        raise HarmonyError(
            "--recipe paper is three stages (without the PFE, with a frozen encoder, whole) that --stage would replace;"
            " leave --stage out, or choose --recipe practical"
        )
    stages = parse_stages(given) if given else PRACTICAL_STAGES if recipe is TrainingRecipe.practical else PAPER_STAGES
    return stages if lr is None else tuple(dataclasses.replace(s, lr=lr) for s in stages)
