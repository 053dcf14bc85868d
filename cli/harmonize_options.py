"""The options of `harmonyrt harmonize`, and which of them exclude each other."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmonyrt.cli.extras import NO_EXTRAS, Extras
from harmonyrt.common import HarmonyError
from harmonyrt.common.files import is_special
from harmonyrt.common.streams import current as streams

STREAM = "-"


@dataclass(frozen=True)
class Options:
    """The options of `harmonize`, as `harmonyrt harmonize --help` explains them."""

    composite: str
    mask: str | None
    output: str | None
    bundle: Path | None
    fit_mask: bool
    invert_mask: bool
    label: tuple[int, ...]
    alpha_mask: bool
    side_by_side: bool
    format: str | None
    existing: str
    backend: str
    device: str | None
    target: str | None
    threads: int | None
    diffusion: dict[str, Any]
    max_megapixels: float
    as_json: bool
    in_folder: bool = False
    strength: float = 1.0
    keep: str | None = None
    match: Path | None = None
    precision: str | None = None
    provider: str | None = None
    extras: Extras = NO_EXTRAS
    background: str | None = None
    at: str | None = None
    scale: float | None = None
    premultiplied: bool = False


def check_device(device: str | None) -> None:
    """Refuse a device that no backend has.

    Raises:
        HarmonyError: it is neither cpu nor a GPU.
    """
    if device is not None and not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise HarmonyError(f"device {device!r} is not known; give cpu, cuda or cuda:N")


def checked_output(options: Options, output: str | None) -> str:
    """The output, once it and the inputs are compatible."""
    if output is None:
        raise HarmonyError("no output was given; name it with -o harmonized.png, or -o - for stdout")
    _check_background(options)
    if options.mask is None and not options.alpha_mask and options.background is None:
        raise HarmonyError("no mask was given; name a picture whose foreground is white, or pass --alpha-mask")
    if options.mask is not None and options.alpha_mask:
        raise HarmonyError(f"both {options.mask} and --alpha-mask were given; give one mask")
    if options.mask == STREAM:
        raise HarmonyError("the mask cannot come from stdin; name a file (only the composite may be -)")
    if options.mask is not None and Path(options.mask).is_dir():
        raise HarmonyError(
            f"{options.mask} is a folder and {options.composite} is not; give two pictures or two folders"
        )
    if output == STREAM and options.as_json:
        raise HarmonyError("--json and the picture cannot both go to stdout; write the picture to a file with -o")
    if output == STREAM and "stdout" in streams().closed:
        raise HarmonyError("stdout is closed, and the picture would be lost; redirect it, or name a file with -o")
    if output == STREAM and sys.stdout.isatty():
        raise HarmonyError("stdout is a terminal, which cannot show a picture; redirect it, or name a file with -o")
    return output


def _check_background(options: Options) -> None:
    if options.background is None:
        for option, given in (
            ("--at", options.at),
            ("--scale", options.scale),
            ("--premultiplied", options.premultiplied),
        ):
            if given:
                raise HarmonyError(f"{option} is for pasting a cut-out; name the background with --background")
        return
    refused = {
        str(options.mask): options.mask,
        "--alpha-mask": options.alpha_mask,
        "--invert-mask": options.invert_mask,
    }
    for option, also_given in {**refused, "--label": options.label}.items():
        if also_given:
            raise HarmonyError(f"both --background and {option} were given; the cut-out's own alpha is the mask")
    if options.background == STREAM:
        raise HarmonyError("the background cannot come from stdin; name a file (only the cut-out may be -)")


def check_no_input(output: Path, *inputs: str | Path | None) -> None:
    for path in inputs:
        if path and str(path) != STREAM and Path(path).exists() and output.exists() and output.samefile(path):
            raise HarmonyError(f"the output {output} is the input {path}; choose another output")


def is_there(output: Path, existing: str) -> bool:
    """Whether to skip an output that already exists. A named pipe or a device is no output of an earlier run."""
    if is_special(output):
        return False
    if existing == "refuse" and output.exists():
        raise HarmonyError(f"{output} already exists; choose another output, or pass --existing replace")
    return existing == "skip" and output.exists()
