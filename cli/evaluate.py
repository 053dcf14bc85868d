"""`harmonyrt evaluate`: a bundle through the papers' protocol, on a dataset in iHarmony4's layout."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harmonyrt.cli.options import Backend

if TYPE_CHECKING:
    from harmonyrt.evaluation.protocol import Report


class Peak(str, Enum):
    """What PSNR is measured against."""

    full = "255"
    phnet = "phnet"


def evaluate(
    data: Annotated[Path, typer.Argument(help="Dataset in iHarmony4's layout, as synthesize writes it.")],
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", "-b", help="Bundle that build wrote. Default: the best one in ./engines."),
    ] = None,
    split: Annotated[str, typer.Option(help="train, val, test, or all composites.")] = "test",
    size: Annotated[int, typer.Option(min=0, help="Side that pictures are resized to; 0 keeps their own size.")] = 256,
    peak: Annotated[
        Peak, typer.Option(help="255: the usual PSNR. phnet: its authors' metric, whose peak is the real photo's.")
    ] = Peak.full,
    backend: Backend = "auto",
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: all.")] = None,
    ray: Annotated[
        str | None,
        typer.Option("--ray", help="Address of a Ray cluster that sees the dataset, or local. Default: this process."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Score a bundle: PSNR, MSE and foreground MSE, over all pictures and by foreground ratio."""
    import dataclasses

    from harmonyrt.cli.bundles import chosen_bundle
    from harmonyrt.cli.console import collected, print_json
    from harmonyrt.common.progress import progress, say
    from harmonyrt.evaluation.iharmony4 import read_split
    from harmonyrt.evaluation.protocol import evaluate as run
    from harmonyrt.runtime import Harmonizer

    pairs = read_split(data, split)
    path, lines = chosen_bundle(bundle)
    against = 255.0 if peak is Peak.full else None
    if ray is not None:
        from harmonyrt.fleet.batch import Crew
        from harmonyrt.fleet.scoring import EvaluateJob, evaluated

        job = EvaluateJob.of(str(path), backend, device, threads or 1, size or None, against)
        with progress(len(pairs), "evaluating") as step:
            report, remarks = evaluated(job, pairs, Crew(ray, cpus=threads or 1), step)
    else:
        with (
            collected() as remarks,
            Harmonizer.open(path, backend, threads, device) as harmonizer,
            progress(len(pairs), "evaluating") as step,
        ):
            report = run(harmonizer, pairs, size or None, against, step)
    for line in [*lines, *dict.fromkeys(remarks)]:
        say(line)
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        print(table(report))


def table(report: Report) -> str:
    """The report as lines of text."""
    composite, harmonized = report.composite, report.harmonized
    lines = [f"{'':<12} {'pictures':>8} {'PSNR dB':>8} {'MSE':>8} {'fMSE':>8}"]
    parts = {"composite": composite, "harmonized": harmonized, **report.by_ratio}
    for name, values in parts.items():
        if values["pictures"]:
            numbers = f"{values['psnr']:>8.2f} {values['mse']:>8.1f} {values['fmse']:>8.1f}"
            lines.append(f"{name:<12} {values['pictures']:>8} {numbers}")
    lines.append(
        f"gain {report.psnr_gain:+.2f} dB, foreground MSE at {report.fmse_ratio:.3f} of the composites',"
        f" {report.worse:.1%} of the pictures worse by more than 1 dB"
    )
    return "\n".join(lines)
