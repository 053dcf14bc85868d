"""From a clip to a harmonized clip."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import written_whole
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.controls import checked_controls
from harmonyrt.video.background import in_background
from harmonyrt.video.coding import Coding
from harmonyrt.video.colours import UNSPECIFIED, assumed_matrix, matrix_name
from harmonyrt.video.frames import FrameHarmonizer, HarmonizedFrame
from harmonyrt.video.masks import Masks, check_count
from harmonyrt.video.pixel_formats import layout_of, workable_name
from harmonyrt.video.reading import Clip
from harmonyrt.video.source import WHOLE, Source, Span
from harmonyrt.video.steadiness import AHEAD, DEFAULT
from harmonyrt.video.writing import Writer

_WAITING = 4  # frames between two stages
_COPIED = ("audio", "subtitle", "data", "attachment")


@dataclass(frozen=True)
class Report:
    """What became of a clip.

    Attributes:
        output: the file.
        frames: harmonized.
        asked: frames that the network saw; the others hardly differed from one that it did.
        cuts: scene changes found.
        seconds: from the first frame to the last.
        notes: sentences for the user.
        failed: frames that stayed as they were, each with its reason.
        interrupted: whether it ended early and the file holds the frames until then.
    """

    output: str
    frames: int
    asked: int
    cuts: int
    seconds: float
    notes: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    interrupted: bool = False


@dataclass(frozen=True)
class VideoOptions:
    """How a clip is harmonized.

    Attributes:
        strength: share of the change, 0 to 1.5.
        steady: 0 (each frame by itself) to 1 (one change for each scene).
        ahead: coming frames that count.
        span: part of the clip.
        coding: how to encode.
        fit_mask: resize masks of another size.
        invert_mask: masks are white on the background.
        keep_failed: a frame that cannot be harmonized stays as it was, and damage is passed over.
        keep_partial: an interrupted run leaves a playable file of the frames until then.
    """

    strength: float = 1.0
    steady: float = DEFAULT
    ahead: int = AHEAD
    span: Span = WHOLE
    coding: Coding = field(default_factory=Coding)
    fit_mask: bool = False
    invert_mask: bool = False
    keep_failed: bool = False
    keep_partial: bool = False


Progress = Callable[[int, int], None]
"""Told the frames written, and how many there will be (0 where nobody knows)."""


def harmonize_video(
    shot: str | Path,
    mask: str | Path | np.ndarray | None,
    output: str | Path,
    harmonizer: Harmonizer,
    options: VideoOptions = VideoOptions(),
    progress: Progress | None = None,
) -> Report:
    """Harmonize a clip into another one: same frames, time stamps, colours, sound and subtitles.

    Args:
        shot: the composite, a clip.
        mask: a clip or a folder of pictures with one mask for each frame, a still picture or array for all of them, or
            None for the frames' own alpha.
        output: to write; its suffix chooses the container. It appears whole or not at all.
        harmonizer: an open bundle of PHNet.
        options: everything else.
        progress: called after each frame.

    Raises:
        HarmonyError: a clip, mask or option that cannot be used.
        WorkFailed: damage, a full disk, or a frame that could not be harmonized, unless these are kept.

    >>> from harmonyrt.runtime import Harmonizer
    >>> from harmonyrt.video import harmonize_video
    >>> with Harmonizer.open("engines/phnet-256-int8") as harmonizer:      # doctest: +SKIP
    ...     report = harmonize_video("shot.mp4", "mask.mp4", "out.mp4", harmonizer)
    """
    checked_controls(options.strength, None)
    with ExitStack() as stack:
        clip = stack.enter_context(Clip(shot, strict=not options.keep_failed))
        masks = None
        if mask is not None:
            masks = stack.enter_context(closing(Masks(mask, clip.info, options.fit_mask, options.invert_mask)))
        total = clip.count()
        if masks is not None:
            check_count(masks, total, shot)
        worker = FrameHarmonizer(
            harmonizer, clip.info, options.strength, options.steady, options.ahead, options.keep_failed
        )
        others = tuple(s for s in clip.container.streams if s.type in _COPIED or s.index != clip.stream.index)
        source = Source(clip, masks, others, options.span)
        scratch = stack.enter_context(written_whole(output))
        pix_fmt = workable_name(clip.info.pix_fmt)
        writer = Writer(scratch, clip.info, pix_fmt, options.coding, others, clip.container, output)
        began = time.perf_counter()
        interrupted = _run(worker, source, writer, options, progress, _expected(clip, total, options.span))
        notes = [*_notes(clip), *(masks.notes if masks else ()), *writer.notes]
        if source.invented:
            notes.append(f"{source.invented} frames have no time stamp in the file; they follow its frame rate")
        if clip.damaged:
            notes.append(f"{clip.damaged} damaged places of {shot} were passed over")
        counts = worker.counts
    return Report(
        str(output),
        writer.frames,
        counts.asked,
        counts.cuts,
        time.perf_counter() - began,
        tuple(notes),
        tuple(counts.failed),
        interrupted,
    )


def harmonized_frames(
    shot: str | Path,
    mask: str | Path | np.ndarray | None,
    harmonizer: Harmonizer,
    options: VideoOptions = VideoOptions(),
) -> Iterator[HarmonizedFrame]:
    """The harmonized frames of a clip, one after another, for programs that write or show them themselves.

    Arguments and errors are those of :func:`harmonize_video`; nothing is encoded.

    >>> for frame in harmonized_frames("shot.mp4", "mask.png", harmonizer):   # doctest: +SKIP
    ...     show(frame.to_rgb(), frame.seconds)
    """
    checked_controls(options.strength, None)
    with ExitStack() as stack:
        clip = stack.enter_context(Clip(shot, strict=not options.keep_failed))
        masks = None
        if mask is not None:
            masks = stack.enter_context(closing(Masks(mask, clip.info, options.fit_mask, options.invert_mask)))
            check_count(masks, clip.count(), shot)
        worker = FrameHarmonizer(
            harmonizer, clip.info, options.strength, options.steady, options.ahead, options.keep_failed
        )
        yield from worker.harmonized(Source(clip, masks, (), options.span))


def _run(
    worker: FrameHarmonizer,
    source: Source,
    writer: Writer,
    options: VideoOptions,
    progress: Progress | None,
    total: int,
) -> bool:
    """Reader, network, change and encoder, each in a thread of its own. Returns whether it was interrupted."""
    packet = source._packet
    try:
        with (
            in_background(source, _WAITING, "reader") as items,
            in_background(worker.steadied(worker.seen(items)), _WAITING, "network") as steadied,
            in_background(worker.changed(steadied), _WAITING, "change") as changed,
        ):
            for item in changed:
                if isinstance(item, packet):
                    writer.copy(item)
                    continue
                writer.write(item.frame)
                if progress is not None:
                    progress(writer.frames, total)
        writer.close()
        return False
    except KeyboardInterrupt:
        if not options.keep_partial or not writer.frames:
            writer.abandon()
            raise
        writer.close()
        return True
    except BaseException:
        writer.abandon()
        raise


def _expected(clip: Clip, total: int, span: Span) -> int:
    """Frames that will come, as far as anybody knows."""
    rate = float(clip.info.rate or 0)
    if span is WHOLE or span == WHOLE or not rate:
        return total
    length = (span.end if span.end is not None else total / rate) - (span.start or 0)
    return max(0, min(total, round(length * rate)))


def _notes(clip: Clip) -> list[str]:
    info, notes = clip.info, []
    layout = layout_of(workable_name(info.pix_fmt))
    if layout.kind == "yuv" and info.tags.matrix == UNSPECIFIED:
        name = matrix_name(assumed_matrix((info.width, info.height)))
        notes.append(f"{info.path} names no colour matrix; it is taken as {name}, by its size")
    if info.interlaced:
        notes.append(f"{info.path} is interlaced; its frames are harmonized as they are, both fields at once")
    return notes


def check_output(output: str | Path, *inputs: str | Path | None) -> None:
    """Refuse an output that is one of the inputs.

    Raises:
        HarmonyError: it is.
    """
    path = Path(output)
    for given in inputs:
        if given is not None and path.exists() and Path(given).exists() and path.samefile(given):
            raise HarmonyError(f"the output {output} is the input {given}; choose another output")
