"""What `harmonyrt video` does, once its options are read."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmonyrt.cli.bundles import chosen_bundle
from harmonyrt.cli.console import collected, print_json, print_path
from harmonyrt.common import HarmonyError
from harmonyrt.common.progress import display, say
from harmonyrt.video.harmonize import Report, VideoOptions, check_output, harmonize_video

_SECONDS_BETWEEN_LINES = 5.0


@dataclass(frozen=True)
class Request:
    """The options of `video` that are not the room's own."""

    shot: str
    mask: Path | None
    alpha_mask: bool
    output: Path
    bundle: Path | None
    options: VideoOptions
    engine: dict[str, Any]
    existing: str
    as_json: bool


def run(request: Request) -> int:
    """Harmonize a clip.

    Returns:
        0; 1 where frames stayed as they were; 130 where Ctrl-C ended it and the file was kept.

    Raises:
        HarmonyError: wrong usage or input.
    """
    from harmonyrt.runtime.harmonizer import Harmonizer

    _check(request)
    if request.output.exists():
        if request.existing == "refuse":
            raise HarmonyError(f"{request.output} is there already; choose another output, or pass --existing replace")
        if request.existing == "skip":
            say(f"{request.output} is there already: skipped")
            return 0
    bundle, chosen = chosen_bundle(request.bundle)
    with collected() as lines:
        lines += chosen
        harmonizer = Harmonizer.open(bundle, **request.engine)
        if harmonizer.info.random_weights:
            lines.append("warning: the weights of this bundle are random: its pictures mean nothing")
    for line in lines:
        say(line)
    with harmonizer, display() as shown:
        follow = _Follow(shown)
        report = harmonize_video(
            request.shot, request.mask, request.output, harmonizer, request.options, follow.progress
        )
    return _told(request, report, harmonizer.info)


def _check(request: Request) -> None:
    if request.mask is None and not request.alpha_mask:
        raise HarmonyError("no mask was given; name a clip, a folder or a picture with --mask, or pass --alpha-mask")
    if request.mask is not None and request.alpha_mask:
        raise HarmonyError(f"both --mask {request.mask} and --alpha-mask were given; give one")
    check_output(request.output, request.shot, request.mask)


def _told(request: Request, report: Report, info: Any) -> int:
    for note in report.notes:
        say(f"note: {note}")
    for failed in report.failed:
        say(f"warning: {failed}; it stayed as it was")
    if request.as_json:
        print_json({"engine": dataclasses.asdict(info), "result": dataclasses.asdict(report)})
    else:
        print_path(report.output)
    rate = report.frames / report.seconds if report.seconds else 0.0
    ended = "interrupted; wrote" if report.interrupted else "harmonized"
    say(f"{ended} {report.frames} frames at {rate:.1f} a second; the network saw {report.asked} of them")
    return 130 if report.interrupted else 1 if report.failed else 0


class _Follow:
    """Frames per second and the time left: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, shown: Any) -> None:
        self._shown, self._began, self._said = shown, time.monotonic(), time.monotonic()

    def progress(self, done: int, total: int) -> None:
        """Called after each frame."""
        now = time.monotonic()
        rate = done / max(now - self._began, 1e-9)
        if self._shown.has_bar:
            self._shown.update(f"harmonizing, {rate:.1f} frames a second", done, total or done)
        elif now - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = now
            left = f", {(total - done) / rate:.0f} s left" if total > done else ""
            say(f"harmonizing {done}/{total or '?'} at {rate:.1f} frames a second{left}")
