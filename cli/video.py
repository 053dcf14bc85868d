"""`harmonyrt video`: a clip and its mask into a harmonized clip."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from harmonyrt.cli.compose import AT_HELP
from harmonyrt.cli.options import (
    AsJson,
    Backend,
    BundleToRun,
    Device,
    Existing,
    Precision,
    Provider,
    Strength,
    Target,
    named,
)


class OnError(str, Enum):
    """What to do about a frame that cannot be read or harmonized."""

    stop = "stop"
    keep = "keep"


class Matrix(str, Enum):
    """Colour matrices of frames that come through a pipe."""

    bt601 = "bt601"
    bt709 = "bt709"
    bt2020 = "bt2020"


def video(
    shot: Annotated[
        str | None, typer.Argument(help="Composite: a clip, or - for bare frames from stdin (with --size).")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="Clip to write; its suffix chooses the container. - for bare frames."),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option("--mask", help="Masks, white on the foreground: a clip, a folder of pictures, or one picture."),
    ] = None,
    alpha_mask: Annotated[bool, typer.Option("--alpha-mask", help="The frames' alpha is the mask.")] = False,
    foreground: Annotated[
        Path | None,
        typer.Option("--foreground", help="Instead of a shot: a clip with alpha, to paste on --background."),
    ] = None,
    background: Annotated[Path | None, typer.Option("--background", help="What the foreground is pasted on.")] = None,
    at: Annotated[str | None, typer.Option("--at", help=f"With --background: {AT_HELP}")] = None,
    premultiplied: Annotated[
        bool, typer.Option("--premultiplied", help="With --background: the colours are multiplied by alpha already.")
    ] = False,
    bundle: BundleToRun = None,
    strength: Strength = 1.0,
    steady: Annotated[
        float, typer.Option("--steady", help="0: each frame by itself, to 1: one change for each scene.")
    ] = 0.5,
    codec: Annotated[
        str | None, typer.Option("--codec", help="Encoder, as FFmpeg names it. Default: the shot's.")
    ] = None,
    crf: Annotated[float | None, typer.Option("--crf", help="Quality of the encoder; smaller is better.")] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="Preset of the encoder, for example veryfast.")] = None,
    pix_fmt: Annotated[
        str | None, typer.Option("--pix-fmt", help="Pixel format, as FFmpeg names it. Default: the shot's.")
    ] = None,
    start: Annotated[str | None, typer.Option("--start", help="Begin here: seconds or h:mm:ss.")] = None,
    end: Annotated[str | None, typer.Option("--end", help="End before this: seconds or h:mm:ss.")] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Write a small clip instead, composite and harmonized side by side.")
    ] = False,
    fit_mask: Annotated[bool, typer.Option("--fit-mask", help="Resize masks of another size.")] = False,
    invert_mask: Annotated[bool, typer.Option("--invert-mask", help="Masks are white on the background.")] = False,
    on_error: Annotated[
        OnError, typer.Option("--on-error", help="A frame that fails: stop, or keep it as it was.")
    ] = OnError.stop,
    keep_partial: Annotated[
        bool, typer.Option("--keep-partial", help="When interrupted, leave a playable clip of the frames until then.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Work in parts next to the output, and go on from what is done already.")
    ] = False,
    size: Annotated[str | None, typer.Option("--size", help="Of frames from stdin, for example 1920x1080.")] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", help="Of frames from stdin, a second: 25 or 30000/1001.")
    ] = None,
    matrix: Annotated[
        Matrix | None, typer.Option("--matrix", help="Of frames from stdin. Default: by their size, as players do.")
    ] = None,
    full_range: Annotated[bool, typer.Option("--full-range", help="Frames from stdin use all codes.")] = False,
    ahead: Annotated[
        int, typer.Option("--ahead", min=0, max=100, help="Coming frames that count, and that each waits for.")
    ] = 8,
    existing: Annotated[
        Existing, typer.Option(help="An output that exists already: replace, skip or refuse it.")
    ] = Existing.replace,
    backend: Backend = "auto",
    device: Device = None,
    target: Target = None,
    precision: Precision = None,
    provider: Provider = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the network. Default: all cores.")] = None,
    as_json: AsJson = False,
) -> None:
    """Harmonize a clip: the same frames, time stamps, colours, sound and subtitles, and a steady change.

    harmonyrt video shot.mp4 --mask mask.mp4 -o harmonized.mp4

    harmonyrt video shot.mov --mask masks/ -o harmonized.mov --strength 0.8 --steady 0.7

    harmonyrt video --foreground cutout.mov --background plate.mp4 -o harmonized.mp4

    ... | harmonyrt video - --size 1280x720 --rate 25 --mask mask.png -o - | ...
    """
    from harmonyrt.cli.harmonize_options import check_device
    from harmonyrt.cli.video_run import Pasting, Pipe, Request, run
    from harmonyrt.video.coding import Coding
    from harmonyrt.video.harmonize import VideoOptions
    from harmonyrt.video.source import Span

    check_device(device)
    options = VideoOptions(
        strength=strength,
        steady=steady,
        ahead=ahead,
        span=Span(_seconds("--start", start), _seconds("--end", end)),
        coding=Coding(codec, crf, preset, pix_fmt),
        fit_mask=fit_mask,
        invert_mask=invert_mask,
        keep_failed=on_error is OnError.keep,
        keep_partial=keep_partial,
        resume=resume,
        preview=preview,
    )
    request = Request(
        shot=shot,
        mask=mask,
        alpha_mask=alpha_mask,
        output=output,
        bundle=bundle,
        options=options,
        engine={
            "backend": backend,
            "device": device,
            "target": target,
            "precision": precision,
            "provider": named(provider),
            "threads": threads,
        },
        existing=existing.value,
        as_json=as_json,
        pasting=Pasting(foreground, background, at, premultiplied),
        pipe=Pipe(size, rate, None if matrix is None else matrix.value, full_range, pix_fmt),
    )
    code = run(request)
    if code:
        raise typer.Exit(code)


def _seconds(option: str, text: str | None) -> float | None:
    """Seconds, from ``90``, ``1:30`` or ``0:01:30.5``.

    Raises:
        HarmonyError: no time.
    """
    if text is None:
        return None
    from harmonyrt.common import HarmonyError

    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 3 or not all(0 <= part < 1e9 for part in parts):
        raise HarmonyError(f"{option} {text} is no time; give seconds or h:mm:ss, for example {option} 1:30")
    return sum(part * 60**place for place, part in enumerate(reversed(parts)))
