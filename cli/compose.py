"""`harmonyrt compose`: a cut-out on a background, as a composite and its mask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harmonyrt.cli.options import MaxMegapixels

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
    max_megapixels: MaxMegapixels = 200.0,
) -> None:
    """Paste a cut-out on a background, in the background's size, depth and colours.

    harmonyrt compose cutout.png background.jpg --at 120,40 --scale 0.5 -o composite.png --mask-out mask.png
    """
    from harmonyrt.cli.console import collected, print_path, silent_libraries
    from harmonyrt.common.progress import say
    from harmonyrt.common.streams import current as streams
    from harmonyrt.common.streams import read_stdin
    from harmonyrt.runtime.images.compose import mask_picture
    from harmonyrt.runtime.images.encode import write_picture_file
    from harmonyrt.runtime.images.inputs import Placing, Reading, read_composed, read_place
    from harmonyrt.runtime.images.masks import MaskFile

    streams().results_are_files()
    check_outputs({"-o": output, "--mask-out": mask_out}, (cutout, background))
    with collected() as remarks:
        piped = cutout == "-"
        name = "the picture from stdin" if piped else cutout
        placing = Placing(read_place(at), scale, premultiplied)
        how = Reading(max_megapixels=max_megapixels)
        with silent_libraries():
            source = read_stdin() if piped else cutout
            composed = read_composed(source, background, placing, how, name, background)
    notes = [*composed.notes, *write_picture_file(composed.picture, output)]
    if mask_out is not None:
        notes += write_picture_file(mask_picture(MaskFile(composed.mask)), mask_out)
    for line in [*remarks, *(f"note: {note}" for note in notes)]:
        say(line)
    print_path(output)
    if mask_out is not None:
        print_path(mask_out)


def check_outputs(outputs: dict[str, Path | None], inputs: tuple[str | None, ...]) -> None:
    """Check before the work what writing would refuse: formats, folders, an output that is an input or another output.

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
            raise HarmonyError(f"{seen[real]} and {option} both name {path}; give each its own file")
        seen[real] = option
