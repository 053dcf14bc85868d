"""`harmonyrt candidates`: composites by DiffHarmony++'s inverse model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def candidates(
    data: Annotated[Path, typer.Argument(help="A dataset of pairs, whose real pictures and masks are used.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Dataset to write; what it holds is kept.")],
    checkpoint: Annotated[Path, typer.Option(help="The inverse model: model/ of its run folder.")],
    base: Annotated[Path | None, typer.Option(help="Supplies the subfolders that the checkpoint lacks.")] = None,
    classifier: Annotated[
        Path | None, typer.Option(help="Keeps the least harmonious candidate. Default: every candidate is kept.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Candidates per picture and mask.")] = 4,
    size: Annotated[int, typer.Option(help="Pixels at which the inverse model works.")] = 512,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 5,
    split: Annotated[str, typer.Option(help="Which of the dataset's lists: train, val or test.")] = "train",
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds write equal files.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
) -> None:
    """Make composites from real pictures with a trained inverse model, and keep the least harmonious."""
    from harmonyrt.common.errors import require
    from harmonyrt.common.progress import growing_progress, say
    from harmonyrt.common.streams import current as streams

    for package in ("torch", "safetensors"):
        require(package, "train", "harmonyrt candidates")
    from harmonyrt.training.diffharmony.candidates import CandidatesConfig, write_candidates

    streams().results_are_files()
    config = CandidatesConfig(data, output, checkpoint, base, classifier, count, size, steps, seed, split, device)
    with growing_progress("making candidates") as progress:
        written = write_candidates(config, progress)
    print(output)
    say(f"{written} composites")
