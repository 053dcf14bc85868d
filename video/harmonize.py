"""From a clip to a harmonized clip."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import written_whole
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.controls import checked_controls
from harmonyrt.video.coding import Coding
from harmonyrt.video.colours import UNSPECIFIED, assumed_matrix, matrix_name
from harmonyrt.video.frames import FrameHarmonizer, HarmonizedFrame
from harmonyrt.video.masks import Masks, check_count
from harmonyrt.video.pasting import PastingClip
from harmonyrt.video.pipeline import FileSink, run
from harmonyrt.video.pipes import RawClip, RawSink
from harmonyrt.video.pixel_formats import layout_of, workable_name
from harmonyrt.video.preview import CODING, Preview
from harmonyrt.video.reading import Clip
from harmonyrt.video.segments import Parts, SegmentSink, chosen_for, job_of, join
from harmonyrt.video.source import WHOLE, Source, Span
from harmonyrt.video.steadiness import AHEAD
from harmonyrt.video.watching import DEFAULT
from harmonyrt.video.writing import Writer


@dataclass(frozen=True)
class Report:
    """What became of a clip.

    Attributes:
        output: the file.
        frames: in the output.
        harmonized: of these, in this run.
        asked: frames that the network saw; the others hardly differed from one that it did.
        cuts: scene changes found.
        seconds: from the first frame to the last.
        notes: sentences for the user.
        failed: frames that stayed as they were, each with its reason.
        interrupted: whether it ended early and the file holds the frames until then.
    """

    output: str
    frames: int
    harmonized: int
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
        resume: work in parts next to the output, and go on from what an earlier run has done.
        preview: a small clip, composite and harmonized side by side, instead.
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
    resume: bool = False
    preview: bool = False


Progress = Callable[[int, int], None]
"""Told the frames written, and how many there will be (0 where nobody knows)."""
Shot = str | Path | Clip | RawClip
"""A path, or an open clip, which stays open: :class:`PastingClip` and :class:`RawClip` are some."""


def harmonize_video(
    shot: Shot,
    mask: str | Path | np.ndarray | None,
    output: str | Path | RawSink,
    harmonizer: Harmonizer,
    options: VideoOptions = VideoOptions(),
    progress: Progress | None = None,
) -> Report:
    """Harmonize a clip into another one: same frames, time stamps, colours, sound and subtitles.

    Args:
        shot: the composite, a clip.
        mask: a clip or a folder of pictures with one mask for each frame, a still picture or array for all of them, or
            None for the frames' own alpha, or that of a pasted foreground.
        output: to write; its suffix chooses the container. It appears whole or not at all. Or a pipe.
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
    with _opened(shot, mask, harmonizer, options) as job:
        began = time.perf_counter()
        interrupted, sink = _written(job, output, harmonizer, progress)
        notes = [*job.notes(), *sink.notes]
        counts = job.worker.counts
        return Report(
            str(output) if isinstance(output, str | Path) else "the pipe",
            sink.frames,
            counts.frames,
            counts.asked,
            counts.cuts,
            time.perf_counter() - began,
            tuple(notes),
            tuple(counts.failed),
            interrupted,
        )


def harmonized_frames(
    shot: Shot,
    mask: str | Path | np.ndarray | None,
    harmonizer: Harmonizer,
    options: VideoOptions = VideoOptions(),
) -> Iterator[HarmonizedFrame]:
    """The harmonized frames of a clip, one after another, for programs that write or show them themselves.

    Arguments and errors are those of :func:`harmonize_video`; nothing is encoded.

    >>> for frame in harmonized_frames("shot.mp4", "mask.png", harmonizer):   # doctest: +SKIP
    ...     show(frame.to_rgb(), frame.seconds)
    """
    with _opened(shot, mask, harmonizer, options) as job:
        yield from job.worker.harmonized(job.source())


@dataclass
class _Job:
    """Everything about the shot that is open."""

    clip: Any
    masks: Any
    mask: Any
    worker: FrameHarmonizer
    options: VideoOptions
    total: int
    last: Source | None = None

    def source(self, others: tuple[Any, ...] = (), done: int = 0) -> Source:
        self.last = Source(self.clip, self.masks, others, self.options.span, done)
        return self.last

    def notes(self) -> list[str]:
        notes = [*_notes(self.clip), *(self.masks.notes if self.masks else ())]
        if self.last is not None and self.last.invented:
            notes.append(f"{self.last.invented} frames have no time stamp in the file; they follow its frame rate")
        if self.clip.early:
            notes.append(self.clip.early)
        if self.clip.damaged:
            notes.append(f"{self.clip.damaged} damaged places of {self.clip.path} were passed over")
            if self.masks is not None and self.masks.count is not None:
                notes.append("masks belong to frames by their number: after lost frames they may be off")
        return notes


@contextmanager
def _opened(shot: Shot, mask: Any, harmonizer: Harmonizer, options: VideoOptions) -> Iterator[_Job]:
    checked_controls(options.strength, None)
    with ExitStack() as stack:
        clip: Any = shot
        if isinstance(shot, str | Path):
            clip = stack.enter_context(Clip(shot, strict=not options.keep_failed))
        total = clip.count()
        masks: Any = None
        if isinstance(clip, PastingClip):
            masks = clip.masks
        elif mask is not None:
            masks = stack.enter_context(closing(Masks(mask, clip.info, options.fit_mask, options.invert_mask)))
            check_count(masks, total, clip.path)
        worker = FrameHarmonizer(
            harmonizer, clip.info, options.strength, options.steady, options.ahead, options.keep_failed
        )
        yield _Job(clip, masks, mask, worker, options, total)


def _written(job: _Job, output: Any, harmonizer: Harmonizer, progress: Progress | None) -> tuple[bool, Any]:
    """Write the output; whether it was interrupted and kept, and what wrote it."""
    options, clip, info = job.options, job.clip, job.clip.info
    if not isinstance(output, str | Path):
        return run(job.worker, job.source(), output, options.keep_partial, progress, job.total), output
    pix_fmt = workable_name(info.pix_fmt)
    total = _expected(clip, job.total, options.span)
    others = clip.streams
    if options.resume:
        return False, _resumed(job, output, harmonizer, progress, total)
    with written_whole(output) as scratch:
        preview = Preview(info) if options.preview else None
        shown, coding = (info, options.coding) if preview is None else (preview.info, CODING)
        pix_fmt = pix_fmt if preview is None else preview.pix_fmt
        writer = Writer(scratch, shown, pix_fmt, coding, others, clip.container, output)
        sink = FileSink(writer, None if preview is None else preview.frame)
        return run(job.worker, job.source(others), sink, options.keep_partial, progress, total), sink


def _resumed(job: _Job, output: str | Path, harmonizer: Harmonizer, progress: Progress | None, total: int) -> Any:
    """Work in parts, and join them."""
    options, clip, info = job.options, job.clip, job.clip.info
    if options.preview or not isinstance(clip, Clip) or isinstance(clip, PastingClip):
        raise HarmonyError("--resume is for a shot with its masks; leave it out of previews, pipes and --foreground")
    parts = Parts.of(output, job_of(clip.path, job.mask, options, harmonizer.info))
    with written_whole(output) as scratch:
        pix_fmt = workable_name(info.pix_fmt)
        chosen = chosen_for(scratch, options.coding, info, pix_fmt)
        sink = SegmentSink(parts, info, pix_fmt, chosen)
        state = parts.state()
        if state is not None:
            job.worker.go_on(state)
            sink.notes.append(f"{parts.frames} frames were done already, in {parts.folder}")
        if not (job.total and parts.frames >= total):
            run(job.worker, job.source(done=parts.frames), sink, False, progress, total)
        with Clip(clip.path) as fresh:
            source = Source(fresh, None, fresh.streams, options.span)
            sink.notes += join(parts, scratch, fresh, source, pix_fmt, chosen, output)
    parts.remove()
    return sink


def _expected(clip: Any, total: int, span: Span) -> int:
    """Frames that will come, as far as anybody knows."""
    rate = float(clip.info.rate or 0)
    if span == WHOLE or not rate:
        return total
    length = (span.end if span.end is not None else total / rate) - (span.start or 0)
    return max(0, min(total, round(length * rate)))


def _notes(clip: Any) -> list[str]:
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
