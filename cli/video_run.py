"""What `harmonyrt video` does, once its options are read."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from harmonyrt.cli.bundles import chosen_bundle
from harmonyrt.cli.console import collected, print_json, print_path
from harmonyrt.common import HarmonyError
from harmonyrt.common.progress import display, say
from harmonyrt.common.streams import current as streams
from harmonyrt.runtime.images.inputs import read_place
from harmonyrt.video.colours import Tags
from harmonyrt.video.harmonize import Report, VideoOptions, check_output, harmonize_video
from harmonyrt.video.pasting import PastingClip
from harmonyrt.video.pipes import RawClip, RawSink
from harmonyrt.video.reading import Clip

STREAM = "-"
_SECONDS_BETWEEN_LINES = 5.0
_MATRICES = {None: 2, "bt601": 6, "bt709": 1, "bt2020": 9}


@dataclass(frozen=True)
class Pasting:
    """A foreground for a background, instead of a shot."""

    foreground: Path | None
    background: Path | None
    at: str | None
    premultiplied: bool


@dataclass(frozen=True)
class Pipe:
    """What bare frames from stdin are."""

    size: str | None
    rate: str | None
    matrix: str | None
    full_range: bool
    pix_fmt: str | None


@dataclass(frozen=True)
class Request:
    """The options of `video`, as `harmonyrt video --help` explains them."""

    shot: str | None
    mask: Path | None
    alpha_mask: bool
    output: str | None
    bundle: Path | None
    options: VideoOptions
    engine: dict[str, Any]
    existing: str
    as_json: bool
    pasting: Pasting
    pipe: Pipe


def run(request: Request) -> int:
    """Harmonize a clip.

    Returns:
        0; 1 where frames stayed as they were; 130 where Ctrl-C ended it and the file was kept.

    Raises:
        HarmonyError: wrong usage or input.
    """
    output = _checked(request)
    if output != STREAM:
        if not request.as_json:
            streams().results_are_files()
        if _is_there(Path(output), request.existing):
            say(f"{output} is there already: skipped")
            return 0
    from harmonyrt.runtime.harmonizer import Harmonizer

    bundle, chosen = chosen_bundle(request.bundle)
    with _opened(request) as shot:
        with collected() as lines:
            lines += chosen
            harmonizer = Harmonizer.open(bundle, **request.engine)
            if harmonizer.info.random_weights:
                lines.append("warning: the weights of this bundle are random: its pictures mean nothing")
        for line in lines:
            say(line)
        into: Any = output
        if output == STREAM:
            into = RawSink(sys.stdout.buffer, request.options.coding.pix_fmt or _pix_fmt(shot), streams().check_stdout)
        with harmonizer, display() as shown:
            follow = _Follow(shown)
            report = harmonize_video(shot, request.mask, into, harmonizer, request.options, follow.progress)
    return _told(request, report, harmonizer.info)


def _is_there(output: Path, existing: str) -> bool:
    if existing == "refuse" and output.exists():
        raise HarmonyError(f"{output} is there already; choose another output, or pass --existing replace")
    return existing == "skip" and output.exists()


def _checked(request: Request) -> str:
    """The output, once everything that was given goes together."""
    pasting, mask = request.pasting, request.mask
    output = request.output or (STREAM if request.shot == STREAM else None)
    if output is None:
        raise HarmonyError("no output was given; name it with -o harmonized.mp4, or -o - for bare frames on stdout")
    if (pasting.foreground is None) != (pasting.background is None):
        raise HarmonyError("--foreground and --background go together; give both, or a shot and --mask")
    if pasting.foreground is not None:
        for what, given in (("a shot", request.shot), ("--mask", mask), ("--alpha-mask", request.alpha_mask)):
            if given:
                raise HarmonyError(f"both --foreground and {what} were given; the foreground's alpha is the mask")
    else:
        if request.shot is None:
            raise HarmonyError("no shot was given; name a clip, or give --foreground and --background")
        if pasting.at or pasting.premultiplied:
            raise HarmonyError("--at and --premultiplied are for --foreground on --background; leave them out")
        if mask is None and not request.alpha_mask:
            raise HarmonyError(
                "no mask was given; name a clip, a folder or a picture with --mask, or pass --alpha-mask"
            )
    if mask is not None and request.alpha_mask:
        raise HarmonyError(f"both --mask {mask} and --alpha-mask were given; give one")
    if request.shot == STREAM and request.pipe.size is None:
        raise HarmonyError("frames from stdin have no head; give --size, and --pix-fmt and --rate where they differ")
    if output == STREAM:
        _check_stdout(request)
    else:
        check_output(output, *(p for p in (request.shot, mask, pasting.foreground, pasting.background) if p != STREAM))
    return output


def _check_stdout(request: Request) -> None:
    if request.as_json:
        raise HarmonyError("--json and the frames cannot both go to stdout; write the clip to a file with -o")
    if request.options.resume or request.options.preview:
        raise HarmonyError("--resume and --preview are for files; name one with -o")
    if "stdout" in streams().closed:
        raise HarmonyError("stdout is closed, and the frames would be lost; redirect it, or name a file with -o")
    if sys.stdout.isatty():
        raise HarmonyError("stdout is a terminal, which cannot show frames; redirect it, or name a file with -o")


@contextlib.contextmanager
def _opened(request: Request) -> Iterator[Any]:
    """The shot, open."""
    pasting, strict = request.pasting, not request.options.keep_failed
    if pasting.foreground is not None:
        at = read_place(pasting.at or "0,0")
        with PastingClip(pasting.background, pasting.foreground, at, pasting.premultiplied, strict) as clip:
            yield clip
    elif request.shot == STREAM:
        yield _raw(request.pipe)
    else:
        with Clip(request.shot or "", strict=strict) as clip:
            yield clip


def _raw(pipe: Pipe) -> RawClip:
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", pipe.size or "")
    if found is None:
        raise HarmonyError(f"--size {pipe.size} is no size; give width x height, for example --size 1920x1080")
    try:
        rate = Fraction(pipe.rate or 25)
    except (ValueError, ZeroDivisionError):
        raise HarmonyError(f"--rate {pipe.rate} is no rate; give frames a second, such as 25 or 30000/1001") from None
    if sys.stdin is None or "stdin" in streams().closed:
        raise HarmonyError("there are no frames on stdin, which is closed; name a file instead of -")
    tags = Tags(matrix=_MATRICES[pipe.matrix], range=2 if pipe.full_range else 1)
    width, height = int(found[1]), int(found[2])
    return RawClip(sys.stdin.buffer, width, height, pipe.pix_fmt or "yuv420p", rate, tags)


def _pix_fmt(shot: Any) -> str:
    from harmonyrt.video.pixel_formats import workable_name

    return workable_name(shot.info.pix_fmt)


def _told(request: Request, report: Report, info: Any) -> int:
    for note in report.notes:
        say(f"note: {note}")
    for failed in report.failed:
        say(f"warning: {failed}; it stayed as it was")
    if request.as_json:
        print_json({"engine": dataclasses.asdict(info), "result": dataclasses.asdict(report)})
    elif report.output == request.output:
        print_path(report.output)
    rate = report.harmonized / report.seconds if report.seconds else 0.0
    ended = "interrupted; wrote" if report.interrupted else "harmonized"
    say(f"{ended} {report.frames} frames at {rate:.1f} a second; the network saw {report.asked} of them")
    return 130 if report.interrupted else 1 if report.failed else 0


class _Follow:
    """Frames per second and the time left: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, shown: Any) -> None:
        self._shown, self._began, self._said = shown, time.monotonic(), time.monotonic()
        self._first: int | None = None

    def progress(self, done: int, total: int) -> None:
        """Called after each frame."""
        now = time.monotonic()
        if self._first is None:  # a job that goes on begins in the middle
            self._first, self._began = done, now
        rate = (done - self._first) / max(now - self._began, 1e-9)
        if self._shown.has_bar:
            self._shown.update(f"harmonizing, {rate:.1f} frames a second", done, total or done)
        elif now - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = now
            left = f", {(total - done) / rate:.0f} s left" if total > done and rate > 0 else ""
            say(f"harmonizing {done}/{total or '?'} at {rate:.1f} frames a second{left}")
