"""`harmonyrt evaluate`: bundles by the papers' protocols, on a dataset in iHarmony4's layout."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from harmonyrt.cli.options import Backend, Precision, Provider, named


class Peak(str, Enum):
    """What PSNR is measured against."""

    full = "255"
    phnet = "phnet"
    range = "range"


class ProtocolName(str, Enum):
    """How pictures are run and compared: keys of :data:`harmonyrt.evaluation.runs.PROTOCOLS`."""

    harmonyrt = "harmonyrt"
    phnet = "phnet"
    phnet_test = "phnet-test"
    phnet_test_antialias = "phnet-test-antialias"
    diffharmony = "diffharmony"
    diffharmony_strict = "diffharmony-strict"


class Refiner(str, Enum):
    """With or without DiffHarmony's second stage."""

    use = "with"
    leave = "without"
    both = "both"


class SeedsCommand(TyperCommand):
    """A command whose `--seeds` takes all numbers that follow it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give each number an option of its own, as the parser wants it."""
        return super().parse_args(ctx, with_seeds_apart(args))


def with_seeds_apart(args: Sequence[str]) -> list[str]:
    """``--seeds 0 1 2`` -> ``--seeds 0 --seeds 1 --seeds 2``; whatever is not a whole number ends the list."""
    apart: list[str] = []
    within = False
    for word in args:
        if within and re.fullmatch(r"\d+", word):
            apart += [word] if apart[-1] == "--seeds" else ["--seeds", word]
        else:
            apart.append(word)
            within = word == "--seeds"
    return apart


def evaluate(
    data: Annotated[Path, typer.Argument(help="Dataset in iHarmony4's layout, as synthesize writes it.")],
    bundle: Annotated[
        list[Path] | None,
        typer.Option(
            "--bundle", "-b", help="Bundle that build wrote; repeat it to compare. Default: the best in ./engines."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="train, val, test, or all composites.")] = "test",
    protocol: Annotated[
        ProtocolName, typer.Option(help="Whose path from files to figures; docs/evaluation.md has the steps.")
    ] = ProtocolName.harmonyrt,
    size: Annotated[
        int | None,
        typer.Option(min=0, help="Side at which pictures are compared; 0 keeps their own. Default: 256."),
    ] = None,
    peak: Annotated[
        Peak | None,
        typer.Option(help="Of PSNR: 255; phnet: the real photo's largest value; range. Default: the protocol's."),
    ] = None,
    ssim: Annotated[bool, typer.Option("--ssim", help="Measure SSIM too.")] = False,
    seeds: Annotated[
        list[int] | None, typer.Option(min=0, help="DiffHarmony's noise: one pass for each number that follows.")
    ] = None,
    refiner: Annotated[
        Refiner | None, typer.Option(help="DiffHarmony's second stage. Default: what the bundle has.")
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of pictures that something else made, named as the composites; may be repeated."),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes, which share the CPU's threads.")] = 1,
    scores: Annotated[Path | None, typer.Option(help="Keep each picture's scores here, as JSON lines.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the file of --scores.")] = False,
    report: Annotated[
        list[Path] | None, typer.Option(help="Write a report: .html, .json, .csv, .md or .tex; may be repeated.")
    ] = None,
    pictures: Annotated[int, typer.Option(min=0, help="How many worst and best pictures the page shows.")] = 4,
    quoted: Annotated[
        bool, typer.Option("--quoted/--no-quoted", help="Add the papers' lines where the data is what they measured.")
    ] = True,
    bench: Annotated[
        list[Path] | None, typer.Option(help="Add the speeds of a run that bench --save wrote; may be repeated.")
    ] = None,
    backend: Backend = "auto",
    precision: Precision = None,
    provider: Provider = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: all.")] = None,
    ray: Annotated[
        str | None,
        typer.Option("--ray", help="Address of a Ray cluster that sees the dataset, or local. Default: this process."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Score bundles by a paper's protocol: PSNR, MSE and foreground MSE, by subset, foreground ratio and seed."""
    from dataclasses import replace

    from harmonyrt.cli.bundles import chosen_bundle
    from harmonyrt.cli.evaluating import Job, evaluate_all
    from harmonyrt.common.progress import say
    from harmonyrt.evaluation.runs import Run

    lines: list[str] = []
    chosen = list(bundle or [])
    if not chosen and not results:
        path, lines = chosen_bundle(None)
        chosen = [path]
    common = Run(
        bundle="",
        protocol=protocol.value,
        size=size,
        peak=peak.value if peak else None,
        ssim=ssim,
        backend=backend,
        device=device,
        threads=threads,
        precision=precision,
        provider=named(provider),
    )
    refined = {None: (None,), Refiner.use: (True,), Refiner.leave: (False,), Refiner.both: (False, True)}[refiner]
    noise = tuple(dict.fromkeys(seeds or ()))
    runs = [replace(common, bundle=str(path), refiner=one, seeds=noise) for path in chosen for one in refined]
    runs += [replace(common, bundle=str(folder), results=str(folder)) for folder in results or ()]
    job = Job(
        data, split, runs, processes, scores, resume, list(report or ()), pictures, quoted, list(bench or ()), ray
    )
    printed = evaluate_all(job, as_json, lines)
    for line in dict.fromkeys(lines):
        say(line)
    print(printed)
