"""`harmonyrt evaluate` once its options are read: runs, their rows, and what is written and printed of them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from harmonyrt.cli.console import collected
from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import require
from harmonyrt.common.files import written_whole
from harmonyrt.common.progress import progress
from harmonyrt.evaluation.iharmony4 import Pair, read_split
from harmonyrt.evaluation.measure import Measured, ScoresFile, measure
from harmonyrt.evaluation.protocol import Report
from harmonyrt.evaluation.report_files import as_csv, as_data, as_json, as_latex, as_markdown, report_of_system
from harmonyrt.evaluation.runs import Run
from harmonyrt.evaluation.systems import System, named, subsets_of
from harmonyrt.evaluation.tables import Table, all_tables

FORMATS = (".html", ".json", ".csv", ".md", ".tex")


@dataclass(frozen=True)
class Job:
    """The options of `evaluate`, as `harmonyrt evaluate --help` explains them; `runs` holds those of each bundle."""

    data: Path
    split: str
    runs: list[Run]
    processes: int
    scores: Path | None
    resume: bool
    reports: list[Path]
    pictures: int
    quoted: bool
    bench: list[Path]
    ray: str | None


def evaluate_all(job: Job, json_wanted: bool, lines: list[str]) -> str:
    """Do the work and write the reports.

    Args:
        job: what to do.
        json_wanted: return JSON instead of tables.
        lines: remarks for the user are added here.

    Returns:
        What to print.

    Raises:
        HarmonyError: options, data or bundles that cannot be used.
    """
    _check(job)
    speeds = _speeds(job.bench)
    pairs = read_split(job.data, job.split)
    systems = named(_on_ray(job, pairs, lines) if job.ray is not None else _here(job, pairs, lines))
    tables = all_tables(systems, job.quoted, speeds)
    with collected() as remarks:
        for path in job.reports:
            _write(path, job, pairs, systems, tables)
    lines += [line for line in remarks if line not in lines]
    if json_wanted:
        return json.dumps(as_data(systems, tables), indent=2, allow_nan=False)
    parts = [(f"{s.label}\n" if len(systems) > 1 else "") + table(report_of_system(s)) for s in systems]
    run = systems[0].measured.run
    if len(systems) > 1 or run.seeds or run.protocol != "harmonyrt" or len(subsets_of(systems)) > 1 or speeds:
        parts.append(as_markdown(all_tables(systems, False, speeds)).rstrip())
    return "\n\n".join(parts)


def _check(job: Job) -> None:
    """What can be said before minutes of work."""
    for path in job.reports:
        if path.suffix.lower() not in FORMATS:
            raise HarmonyError(f"{path} is no report; give a name that ends in {', '.join(FORMATS)}")
        if not path.parent.is_dir():
            raise HarmonyError(f"cannot write {path}: there is no folder {path.parent}; make it first")
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            raise HarmonyError(f"cannot write {path}; choose another name, or make the folder writable")
    if job.resume and job.scores is None:
        raise HarmonyError("--resume goes on from a file of scores; name it with --scores")
    if any(run.ssim for run in job.runs):
        require("skimage.metrics", "evaluation", "SSIM")
    if job.ray is None:
        return
    if len(job.runs) > 1 or job.runs[0].results is not None:
        raise HarmonyError("--ray evaluates one bundle at a time; give one --bundle and nothing to compare it with")
    if job.processes > 1 or job.scores is not None:
        raise HarmonyError("--ray has workers of its own and keeps no scores; leave --processes and --scores out")


def _here(job: Job, pairs: list[Pair], lines: list[str]) -> list[Measured]:
    with contextlib.ExitStack() as stack:
        remarks = stack.enter_context(collected())
        kept = None
        if job.scores is not None:
            kept = ScoresFile(job.scores, job.runs, pairs, job.resume)
            stack.callback(kept.close)
        known = [kept.known[n] if kept else {} for n in range(len(job.runs))]
        total = sum(len(pairs) * len(run.passes) for run in job.runs) - sum(map(len, known))
        step = stack.enter_context(progress(total, "evaluating"))
        measured = []
        for n, run in enumerate(job.runs):

            def on_row(row, n=n) -> None:
                if kept is not None:
                    kept.add(n, row)
                step(row.name)

            measured.append(measure(run, pairs, job.processes, known[n], on_row, remarks.append))
    lines += remarks
    return measured


def _on_ray(job: Job, pairs: list[Pair], lines: list[str]) -> list[Measured]:
    from harmonyrt.fleet.batch import Crew
    from harmonyrt.fleet.scoring import EvaluateJob, evaluated

    run = job.runs[0]
    assert job.ray is not None
    with progress(len(pairs), "evaluating") as step:
        crew = Crew(job.ray, cpus=run.threads or 1)
        measured, remarks = evaluated(EvaluateJob.of(run), pairs, crew, step)
    lines += remarks
    return [measured]


def _speeds(paths: Sequence[Path]) -> list[tuple[str, float]]:
    """What and frames per second, of every case of runs that `bench --save` wrote."""
    if not paths:
        return []
    from harmonyrt.benchmarks.results import describe, read

    return [(describe(m), m.latency.fps * m.case.batch) for path in paths for m in read(path).measured]


def _write(path: Path, job: Job, pairs: list[Pair], systems: list[System], tables: list[Table]) -> None:
    kind = path.suffix.lower()
    if kind == ".html":
        text = _page(job, pairs, systems, tables)
    elif kind == ".json":
        text = as_json(systems, tables)
    elif kind == ".csv":
        text = as_csv(systems)
    else:
        text = as_markdown(tables) if kind == ".md" else as_latex(tables)
    with written_whole(path) as scratch:
        scratch.write_text(text, encoding="utf-8", errors="backslashreplace")


def _page(job: Job, pairs: list[Pair], systems: list[System], tables: list[Table]) -> str:
    from importlib.metadata import version

    from harmonyrt.evaluation.report_page import page
    from harmonyrt.evaluation.report_pictures import differences, gallery

    galleries = []
    if job.pictures:
        compared = differences(systems, pairs, job.pictures)
        galleries = [*([compared] if compared else []), *(gallery(one, pairs, job.pictures) for one in systems)]
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    name = job.data.name or job.data.resolve().name
    made = f"Made {now} by harmonyrt {version('harmonyrt')}, split {job.split}."
    return page(f"{name}: evaluation", systems, tables, galleries, made)


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
