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


class Network(str, Enum):
    """Networks by name (:func:`harmonyrt.training.shipping.configuration_name`)."""

    ffhqh = "ffhqh"
    iharmony4 = "iharmony4"
    paper = "paper"
    paper_10m = "paper-10m"


class Optimizer(str, Enum):
    """Optimizers."""

    adamw = "adamw"
    lion = "lion"
    muon = "muon"


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
    epochs: Annotated[
        float | None,
        typer.Option(min=0.001, help="Length of the run in passes through the training split. Recipe paper: 160."),
    ] = None,
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
    network: Annotated[
        Network | None,
        typer.Option(
            help="39.9 M parameters: ffhqh (as released), paper (as printed). 10 M: iharmony4 (the default), paper-10m."
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=16, help="Recipe paper: side of the pictures, such as 256, 512 or 1024.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Recipe paper: pictures a step. Default: 16.")] = None,
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

    length = {"steps": steps, "minutes": minutes, "epochs": epochs}
    length = {name: value for name, value in length.items() if value is not None}
    if preset is None and (len(length) > 1 or (recipe is TrainingRecipe.practical and not length)):
        raise HarmonyError("a run's length is given once; pass --epochs, --minutes or --steps")
    if recipe is TrainingRecipe.practical and not (size is None and batch is None):
        raise HarmonyError("--size and --batch are of --recipe paper; pass --stage SIZE:BATCH:SHARE instead")
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
    if preset is not None:
        _refuse_what_presets_set({"--plan": plan, "--stage": stage, "--lr": lr, "--network": network,
                                  "--recipe": recipe is TrainingRecipe.paper or None})  # fmt: skip
        del chosen["init"], chosen["ship"]
        given = {key: value for key, value in chosen.items() if value is not None and key != "seed"}
        given |= {"seed": seed} if seed else {}
        _run_preset(preset, data, output, init, {**given, **length}, as_json)
        return
    chosen["stages"] = _stages(recipe, lr, stage, size, batch)
    if network is not None:
        chosen["network"] = _network(network, recipe)
    if size is not None:
        chosen["validation_size"] = size
    if not PairedDataset.is_one(data):
        say_passed_over(data)
    if not as_json:
        streams().results_are_files()
    result = run(_config(recipe, data, output, {**length, **chosen}))
    if as_json:
        print_json({"steps": result.steps, "minutes": result.minutes, "finished": result.finished,
                    "weights": str(result.weights), "validation": result.validation})  # fmt: skip
    else:
        print(result.weights)
    if not result.finished:
        say(f"stopped at step {result.steps}; run the same command again to continue")
        raise typer.Exit(130)


def _refuse_what_presets_set(given: dict[str, Any]) -> None:
    from harmonyrt.common import HarmonyError

    for option, value in given.items():
        if value:
            raise HarmonyError(f"a preset has its own {option.removeprefix('--')}; leave out {option} or --preset")


def _run_preset(name: str, data: Path, output: Path, init: Path | None, given: dict[str, Any], as_json: bool) -> None:
    from harmonyrt.cli.console import print_json
    from harmonyrt.common import HarmonyError
    from harmonyrt.common.files import make_folder
    from harmonyrt.common.progress import say
    from harmonyrt.training import ablation, presets
    from harmonyrt.training.train import train as run

    if name not in (*presets.courses(), *ablation.ablations()):
        known = ", ".join((*presets.courses(), *ablation.ablations()))
        raise HarmonyError(f"there is no preset {name!r}; use one of {known}")
    if name in ablation.ablations():
        if init is not None:
            raise HarmonyError("an ablation trains every setup from the same seed; leave out --init")
        asked = ablation.read_ablation(name)
        say(f"preset {name}: {asked.about} It takes {asked.hours}.")
        make_folder(output)
        table, last = ablation.run_ablation(asked, ablation.configs(asked, data, output, **given), output, run)
        shown = None if table is None else table if as_json else ablation.markdown(table).rstrip("\n")
    else:
        if given.keys() & {"steps", "minutes", "epochs"}:
            raise HarmonyError(f"preset {name} is runs of given lengths; leave out --steps, --minutes and --epochs")
        course = presets.read_course(name)
        say(f"preset {name}: {course.about} It takes {course.hours}.")
        weights, last = presets.run_course(course, presets.configs(course, data, output, init, **given), output, run)
        shown = None if weights is None else str(weights)
        if as_json and weights is not None:
            shown = {"weights": str(weights), "validation": last.validation}
    if shown is None:
        say(f"stopped at step {last.steps} of a run of the preset; run the same command again to continue")
        raise typer.Exit(130)
    if as_json:
        print_json(shown)
    else:
        print(shown)


def _network(name: Network, recipe: TrainingRecipe) -> Any:
    import dataclasses

    from harmonyrt.training.shipping import NAMED

    network = NAMED[name.value]
    return dataclasses.replace(network, output="residual") if recipe is TrainingRecipe.practical else network


def _config(recipe: TrainingRecipe, data: Path, output: Path, chosen: dict[str, Any]) -> Any:
    from harmonyrt.training.config import TrainConfig, paper_config

    return (TrainConfig if recipe is TrainingRecipe.practical else paper_config)(data, output, **chosen)


def _stages(
    recipe: TrainingRecipe, lr: float | None, given: list[str] | None, size: int | None, batch: int | None
) -> tuple[Any, ...]:
    import dataclasses

    from harmonyrt.common import HarmonyError
    from harmonyrt.training.config import PAPER_STAGES, PRACTICAL_STAGES, parse_stages

    if given and recipe is TrainingRecipe.paper:
        raise HarmonyError(
            "--recipe paper is three stages (without the PFE, with a frozen encoder, whole) that --stage would replace;"
            " leave --stage out, or choose --recipe practical"
        )
    stages = parse_stages(given) if given else PRACTICAL_STAGES if recipe is TrainingRecipe.practical else PAPER_STAGES
    changes: dict[str, Any] = {"lr": lr, "size": size, "batch": batch}
    changes = {name: value for name, value in changes.items() if value is not None}
    return tuple(dataclasses.replace(s, **changes) for s in stages)
