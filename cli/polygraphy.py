"""`harmonyrt polygraphy`: a bundle as a folder for NVIDIA's Polygraphy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def polygraphy(
    bundle: Annotated[Path, typer.Argument(help="Bundle that build wrote, of PHNet.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write; an older one is replaced.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Checkpoint that the bundle was built from. Default: the shipped weights."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of a bundle with several: fp32, fp16, bf16 or int8. Default: the most exact.")
    ] = None,
) -> None:
    """Write a bundle for NVIDIA's Polygraphy: its graphs, the gate's composites and golden outputs, and the commands.

    harmonyrt polygraphy engines/phnet-128-fp16 -o phnet-128-fp16-polygraphy

    The folder needs nothing of HarmonyRT: copy it to the machine with the GPU. Its README.md has the commands.
    """
    from harmonyrt.cli.console import print_path
    from harmonyrt.common.errors import require
    from harmonyrt.common.progress import say
    from harmonyrt.common.streams import current as streams
    from harmonyrt.runtime.bundle import open_bundle

    streams().results_are_files()
    open_bundle(bundle).of_precision(precision)  # faults of the bundle are reported before what this machine lacks
    require("torch", "build", "harmonyrt polygraphy")
    from harmonyrt.export.phnet.recipe import find_checkpoint
    from harmonyrt.export.polygraphy_kit.folder import write_folder

    told = lambda doing, share: say(doing)  # noqa: E731
    print_path(write_folder(bundle, find_checkpoint(checkpoint), output, told, precision))
