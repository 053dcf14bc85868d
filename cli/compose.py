"""`harmonyrt compose`: a cut-out on a background, as a composite and its mask."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harmonyrt.runtime.images.compose import Composed
    from harmonyrt.runtime.images.pictures import PictureFile

AT_HELP = "Pixel of the background, x,y, on which the cut-out's upper left corner goes. Default: 0,0."
SCALE_HELP = "Scale of the cut-out. Default: 1."
PREMULTIPLIED_HELP = "The cut-out's colours are multiplied by its alpha already."


def compose(
    cutout: Annotated[str, typer.Argument(help="Cut-out: a picture with transparency, or - for stdin.")],
    background: Annotated[str, typer.Argument(help="Background: a picture.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Composite to write.")],
    mask_out: Annotated[Path | None, typer.Option("--mask-out", help="Mask to write: the cut-out's alpha.")] = None,
    at: Annotated[str, typer.Option("--at", help=AT_HELP)] = "0,0",
    scale: Annotated[float, typer.Option("--scale", help=SCALE_HELP)] = 1.0,
    premultiplied: Annotated[bool, typer.Option("--premultiplied", help=PREMULTIPLIED_HELP)] = False,
    max_megapixels: Annotated[float, typer.Option(min=0.000001, help="Refuse larger pictures.")] = 200.0,
) -> None:
    """Paste a cut-out on a background, in the background's size, depth and colours.

    harmonyrt compose cutout.png background.jpg --at 120,40 --scale 0.5 -o composite.png --mask-out mask.png
    """
    from harmonyrt.cli.console import collected, print_path
    from harmonyrt.common.progress import say
    from harmonyrt.common.streams import current as streams
    from harmonyrt.runtime.images.compose import mask_picture
    from harmonyrt.runtime.images.encode import write_picture_file

    streams().results_are_files()
    check_outputs({"-o": output, "--mask-out": mask_out}, (cutout, background))
    with collected() as remarks:
        composed = read_and_compose(cutout, background, at, scale, premultiplied, max_megapixels)
    notes = [*composed.notes, *write_picture_file(composed.composite, output)]
    if mask_out is not None:
        notes += write_picture_file(mask_picture(composed.mask), mask_out)
    for line in [*remarks, *(f"note: {note}" for note in notes)]:
        say(line)
    print_path(output)
    if mask_out is not None:
        print_path(mask_out)


def read_and_compose(
    cutout: str, background: str, at: str | None, scale: float | None, premultiplied: bool, max_megapixels: float
) -> Composed:
    """Read both files and paste one on the other. The composite's notes are those of both files and of the pasting.

    Raises:
        HarmonyError: either cannot be read, or they do not go together.
    """
    import dataclasses

    from harmonyrt.runtime.images.compose import compose as pasted

    place = read_place(at or "0,0")
    pictures = [_read(source, max_megapixels) for source in (cutout, background)]
    result = pasted(
        pictures[0],
        pictures[1],
        place,
        1.0 if scale is None else scale,
        premultiplied=premultiplied,
        megapixel_limit=max_megapixels,
    )
    return dataclasses.replace(result, notes=(*pictures[0].notes, *pictures[1].notes, *result.notes))


def _read(source: str, max_megapixels: float) -> PictureFile:
    from harmonyrt.cli.console import silent_libraries
    from harmonyrt.common.streams import read_stdin
    from harmonyrt.runtime.images.pictures import read_picture_file

    piped = source == "-"
    with silent_libraries():
        name = "the picture from stdin" if piped else source
        return read_picture_file(read_stdin() if piped else source, name=name, max_megapixels=max_megapixels)


def read_place(text: str) -> tuple[int, int]:
    """The pixel that `--at` names.

    Raises:
        HarmonyError: no two whole numbers.
    """
    from harmonyrt.common import HarmonyError

    found = re.fullmatch(r"\s*([+-]?\d{1,9})\s*,\s*([+-]?\d{1,9})\s*", text)
    if found is None:
        raise HarmonyError(f"--at {text} is no place; give two whole numbers of pixels, for example --at 120,40")
    return int(found[1]), int(found[2])


def check_outputs(outputs: dict[str, Path | None], inputs: tuple[str | None, ...]) -> None:
    """Say early what writing would say late: formats, folders, an output that is an input or another output.

    Raises:
        HarmonyError: one of these.
    """
    from harmonyrt.common import HarmonyError
    from harmonyrt.common.files import is_special
    from harmonyrt.runtime.images.encode import check_writable

    seen: dict[Path, str] = {}
    for option, path in outputs.items():
        if path is None or is_special(path):
            continue
        check_writable(path)
        for given in inputs:
            if given and given != "-" and Path(given).exists() and path.exists() and path.samefile(given):
                raise HarmonyError(f"the output {path} is the input {given}; choose another output")
        real = path.resolve()
        if real in seen:
            raise HarmonyError(f"{seen[real]} and {option} both name {path}; give each a file of its own")
        seen[real] = option
