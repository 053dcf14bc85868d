"""`harmonyrt synthesize`: a dataset of composites on disk."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer


class SynthesisPreset(str, Enum):
    """How composites are made."""

    plan = "plan"
    ffhqh = "ffhqh"


def synthesize(
    data: Annotated[Path, typer.Argument(help="Folder of photos and masks.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Dataset folder: new, or empty.")],
    preset: Annotated[
        SynthesisPreset,
        typer.Option(help="plan: changes of every kind, as training makes them. ffhqh: the PHNet paper's portraits."),
    ] = SynthesisPreset.plan,
    mattes: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|MODULE:FUNCTION",
            help="Where masks come from instead of masks/: a folder of mattes (the photos' stems), or a matting step.",
        ),
    ] = None,
    variants: Annotated[
        int | None, typer.Option(min=1, help="Composites per photo. Default: 2; 1 with --preset ffhqh.")
    ] = None,
    photos: Annotated[
        bool, typer.Option("--photos/--no-photos", help="Use photos without masks too, with regions as foregrounds.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds write equal files.")] = 0,
    ray: Annotated[
        str | None,
        typer.Option("--ray", help="Address of a Ray cluster that sees the folders, or local. Default: this process."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write a dataset of composites in iHarmony4's folder layout, with train, val and test lists."""
    import dataclasses

    from harmonyrt.cli.console import print_json, say_passed_over
    from harmonyrt.common import HarmonyError
    from harmonyrt.common.errors import require
    from harmonyrt.common.progress import growing_progress, say
    from harmonyrt.common.streams import current as streams

    require("torch", "train", "harmonyrt synthesize")
    if not data.is_dir():
        raise HarmonyError(f"{data} is not a folder; give a folder of photos and masks (see docs/training.md)")
    from harmonyrt.training.synthesize import SynthesisConfig
    from harmonyrt.training.synthesize import synthesize as run

    if not as_json:
        streams().results_are_files()
    each = variants or (1 if preset is SynthesisPreset.ffhqh else 2)
    if mattes is not None and Path(mattes).is_dir():
        mattes = str(Path(mattes).absolute())
    config = SynthesisConfig(data.absolute(), output, each, photos=photos, seed=seed)
    config = dataclasses.replace(config, preset=preset.value, mattes=mattes)
    with growing_progress("synthesizing") as progress:
        result = run(config, progress) if ray is None else _on_ray(config, ray, progress)
    say_passed_over(data)
    if as_json:
        print_json({"output": str(result.out), "composites": result.composites})
        return
    print(result.out)
    say(f"{sum(result.composites.values())} composites: " + ", ".join(f"{n} {s}" for s, n in result.composites.items()))


def _on_ray(config: Any, address: str, progress: Callable[[int, int], None]) -> Any:
    import dataclasses

    from harmonyrt.fleet.batch import Crew
    from harmonyrt.fleet.loop import results
    from harmonyrt.training.synthesize import finished, prepared

    config = dataclasses.replace(config, out=config.out.absolute())
    job, done = prepared(config), []
    with Crew(address).pool(job, len(job.pictures)) as pool:
        for result in results(job, range(len(job.pictures)), pool, len(job.pictures)):
            done.append(result)
            progress(len(done), len(job.pictures))
    return finished(config, done)
