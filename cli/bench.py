"""`harmonyrt bench`: how fast engines run here, side by side, in one interleaved run."""

from __future__ import annotations

import os
import shlex
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harmonyrt.cli.options import Provider, named

if TYPE_CHECKING:
    from harmonyrt.benchmarks.cases import Case


class Torch(str, Enum):
    """PyTorch running the same network."""

    torch = "torch"
    compiled = "torch-compile"
    bf16 = "torch-bf16"


_MODES = {Torch.torch: "eager", Torch.compiled: "compile", Torch.bf16: "eager-bf16"}


def bench(
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(help="Bundles to time side by side; the first is the baseline. Default: the best in ./engines."),
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Compare several bundles, at least two.")] = False,
    against: Annotated[
        list[Torch] | None, typer.Option(help="Add PyTorch of the same network; the first one becomes the baseline.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Weights for --against. Default: the shipped weights.")
    ] = None,
    backend: Annotated[
        list[str] | None, typer.Option(help="auto, tensorrt, onnxruntime or openvino; repeat it to time several.")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="Of bundles with several: fp32, fp16, bf16, int8 or fastest; repeat it to time several."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N.")] = None,
    provider: Provider = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: the backend's choice.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures per call, for dynamic bundles.")] = 1,
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Engine size, for dynamic bundles. Default: their working size.")
    ] = None,
    picture: Annotated[
        list[str] | None,
        typer.Option(metavar="HxW", help="Time whole calls too, on a picture of this size; repeat it for several."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each side; one call at least in each.")] = 7,
    seconds: Annotated[float, typer.Option(min=0.001, help="Length of one turn.")] = 0.7,
    save: Annotated[Path | None, typer.Option(help="Write the run as JSON here.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the run here (.png or .svg).")] = None,
    name: Annotated[str, typer.Option(help="Name of the run in tables.")] = "bench",
    as_json: Annotated[bool, typer.Option("--json", help="Print the run as JSON instead of a table.")] = False,
) -> None:
    """Time engines in separate processes, taking turns; a ratio is given only between sides of one run."""
    import dataclasses
    import json

    from harmonyrt.benchmarks.compare import Budget, measure
    from harmonyrt.benchmarks.results import finished_run, write
    from harmonyrt.cli.bundles import chosen_bundle
    from harmonyrt.common import HarmonyError
    from harmonyrt.common.progress import say

    if plot is not None:
        from harmonyrt.benchmarks.plot import kind_of
        from harmonyrt.common.errors import require

        require("matplotlib", "bench", "drawing a benchmark")  # rather now than after minutes of measuring
        kind_of(plot)
    chosen = list(bundles or [chosen_bundle(None)[0]])
    if compare and len(chosen) < 2:
        raise HarmonyError("--compare needs at least two bundles; name another one")
    from harmonyrt.runtime.backends.onnxruntime_providers import check_provider

    for one in backend or ["auto"]:
        check_provider(provider, one)
    common = {"threads": threads, "device": device, "provider": named(provider)}
    cases: list[Case] = []
    for path in chosen:
        each = [{**common, "precision": one} for one in precision] if precision else [common]
        found = [
            case for how in each for case in _of_bundle(path, backend or ["auto"], size, batch, picture or [], how)
        ]
        if not found:
            raise HarmonyError(f"{path} has no engine for backend {' or '.join(backend or [])}; choose another")
        cases += found
    if against:
        cases = _of_torch(against, checkpoint, cases[0], common) + cases
    budget = Budget(rounds=rounds, seconds=seconds)
    run = finished_run(name, _command(), budget, measure(cases, budget, say))
    if save is not None:
        write(run, save)
    if plot is not None:
        from harmonyrt.benchmarks.plot import plot as draw

        draw(run, plot)
    if as_json:
        print(json.dumps(dataclasses.asdict(run), indent=1))
    else:
        _print_table(run)


def _of_bundle(
    path: Path, backends: list[str], size: str | None, batch: int, pictures: list[str], common: dict
) -> list[Case]:
    from harmonyrt.benchmarks.cases import Case
    from harmonyrt.runtime.bundle import open_bundle
    from harmonyrt.runtime.choices import BACKENDS

    manifest = open_bundle(path).manifest
    if len(backends) > 1:  # of several backends, each bundle is timed with those that it has an engine for
        have = {engine.backend for engine in manifest.engines} | {"auto"}
        backends = [name for name in backends if name in have or name not in BACKENDS]
    height, width = manifest.size or _pair(size) or (manifest.working_size, manifest.working_size)
    cases = []
    for backend in backends:
        cases.append(Case("engine", str(path), height, width, batch, backend=backend, **common))
        for rows, columns in filter(None, map(_pair, pictures)):
            cases.append(Case("picture", str(path), rows, columns, backend=backend, **common))
    return cases


def _of_torch(against: list[Torch], checkpoint: Path | None, first: Case, common: dict) -> list[Case]:
    from harmonyrt.benchmarks.cases import Case
    from harmonyrt.export.phnet.recipe import find_checkpoint

    path = os.path.relpath(find_checkpoint(checkpoint))  # a committed run names no folders of its machine
    shape = (first.height, first.width, first.batch)
    return [Case("torch", path, *shape, mode=_MODES[way], **common) for way in dict.fromkeys(against)]


def _pair(text: str | None) -> tuple[int, int] | None:
    from harmonyrt.common import HarmonyError

    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise HarmonyError(f"{text!r} is not a size; give height x width, for example 512x768")
    return int(parts[0]), int(parts[-1])


def _command() -> str:
    """This command line, for others to repeat."""
    return "harmonyrt " + " ".join(shlex.quote(argument) for argument in sys.argv[1:])


def _print_table(run) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from harmonyrt.benchmarks.results import HEADINGS, describe, machine_line, rows, stages_line

    table = Table(title=machine_line(run), title_justify="left", caption=run.method, caption_justify="left")
    for i, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows(run):
        table.add_row(*map(Text, row))  # as they are: paths may hold [brackets]
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    console.print(table)
    for m in run.measured:
        if m.stages:
            console.print(f"{describe(m)}: {stages_line(m)}", markup=False, highlight=False, soft_wrap=True)
