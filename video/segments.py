"""A long job in parts: what is done stays done, and another run goes on from there.

Beside the output lies a folder, OUTPUT.parts, with the frames so far as segments of encoded video, what the job is, and
what the next frame needs to know of the ones before. The last run joins the segments, copies the shot's other streams
and removes the folder.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import make_folder, written_whole
from harmonyrt.video.av_library import library, reading, writing
from harmonyrt.video.coding import Chosen, Coding, choose, takes
from harmonyrt.video.frames import HarmonizedFrame
from harmonyrt.video.reading import VideoInfo, demuxed, timed
from harmonyrt.video.source import Source
from harmonyrt.video.states import read_state, write_state
from harmonyrt.video.steadiness import State
from harmonyrt.video.writing import Writer

FRAMES = 240  # of a segment: what a machine that dies loses at most
_CONTAINERS = {".nut": "nut", ".mov": "mov", ".mkv": "matroska"}
"""Of segments: the first that takes the codec. Times are kept apart, since no container keeps all of them exactly."""
_JOB, _STATE = "job.json", "state.npz"


@dataclass
class Parts:
    """The folder of a job in parts.

    Attributes:
        folder: next to the output.
        job: what is done, in words: another job's parts are refused.
        segments: files and frames of what is done.
    """

    folder: Path
    job: dict[str, Any]
    segments: list[tuple[str, int]]

    @classmethod
    def of(cls, output: str | Path, job: dict[str, Any]) -> Parts:
        """Find a job's parts, or begin.

        Raises:
            HarmonyError: the folder is another job's.
        """
        folder = make_folder(f"{output}.parts")
        parts = cls(folder, json.loads(json.dumps(job, default=str)), [])
        if (folder / _JOB).is_file():
            found = json.loads((folder / _JOB).read_text(encoding="utf-8"))
            if found["job"] != parts.job:
                differ = sorted(key for key in parts.job if parts.job[key] != found["job"].get(key))
                raise HarmonyError(
                    f"{folder} is of another job (its {', '.join(differ)} differ); give the same options, or remove it"
                )
            parts.segments = [(name, frames) for name, frames in found["segments"]]
        return parts

    @property
    def frames(self) -> int:
        """How many are done."""
        return sum(frames for _, frames in self.segments)

    def state(self) -> State | None:
        """What the next frame needs to know; None at the beginning."""
        return read_state(self.folder / _STATE) if self.segments else None

    def add(self, name: str, frames: int, state: State) -> None:
        """A segment is whole. Its frames count once the job's file says so."""
        with written_whole(self.folder / _STATE) as scratch:
            write_state(scratch, state)
        self.segments.append((name, frames))
        with written_whole(self.folder / _JOB) as scratch:
            scratch.write_text(json.dumps({"job": self.job, "segments": self.segments}), encoding="utf-8")

    def remove(self) -> None:
        """The job is done."""
        shutil.rmtree(self.folder, ignore_errors=True)


class SegmentSink:
    """Encodes frames into segments."""

    def __init__(self, parts: Parts, info: VideoInfo, pix_fmt: str, chosen: Chosen) -> None:
        self._parts, self._info, self._pix_fmt, self._chosen = parts, info, pix_fmt, chosen
        self._suffix = next((s for s in _CONTAINERS if takes(_CONTAINERS[s], chosen.encoder)), ".mkv")
        if chosen.encoder.startswith("libvpx"):
            self._suffix = ".mkv"  # which keeps alpha with the packets
        self._writer: Writer | None = None
        self._state: State | None = None
        self.frames = parts.frames
        self.notes: list[str] = []

    def write(self, item: HarmonizedFrame) -> None:
        """Encode a frame; at the end of a segment, make it count."""
        if self._writer is None:
            self._writer = Writer(
                self._path(), self._info, self._pix_fmt, Coding(), chosen=self._chosen, is_segment=True
            )
        self._writer.write(item.frame)
        self._state = item.state
        self.frames += 1
        if self._writer.frames >= FRAMES:
            self.close()

    def copy(self, packet: Any) -> None:
        """Other streams are copied when the segments are joined."""

    def close(self) -> None:
        """End the segment that is being written."""
        if self._writer is None or self._state is None:
            return
        self._writer.close()
        np.save(self._path().with_suffix(".npy"), np.array(self._writer.times, np.int64).reshape(-1, 3))
        self._parts.add(self._path().name, self._writer.frames, self._state)
        self._writer = None

    def abandon(self) -> None:
        """Keep what can be kept: the frames until now are a segment of their own, if it can be ended."""
        with contextlib.suppress(HarmonyError):
            self.close()

    def _path(self) -> Path:
        return self._parts.folder / f"{len(self._parts.segments):05d}{self._suffix}"


def chosen_for(path: Path, coding: Coding, info: VideoInfo, pix_fmt: str) -> Chosen:
    """The encoder for a container that is not open yet; `path` is a scratch file of its suffix."""
    with writing(path), library().open(str(path), "w") as container:
        return choose(coding, info, pix_fmt, container)


def join(parts: Parts, path: Path, clip: Any, source: Source, pix_fmt: str, chosen: Chosen, named: Any) -> list[str]:
    """Make the output of the segments and the shot's other streams, without encoding anything.

    Args:
        parts: all of the shot's segments.
        path: to write.
        clip: the shot, freshly opened.
        source: of it, to say which packets lie in the span, and where.
        pix_fmt: of the segments' frames.
        chosen: the encoder that made the segments: opened like theirs, it heads the file as it headed them.
        named: how to call the output in sentences.

    Returns:
        Notes.
    """
    writer = Writer(path, clip.info, pix_fmt, Coding(), clip.streams, clip.container, named, chosen)
    writer.finish(_in_time(_segments(parts, clip.info.time_base), _packets(clip, source)))
    return writer.notes


def _segments(parts: Parts, base: Fraction) -> Iterator[Any]:
    """The packets of all segments, with the encoder's own times: a container of its own keeps them less exactly."""
    last = None
    for name, _ in parts.segments:
        path = parts.folder / name
        times = iter(np.load(path.with_suffix(".npy"), allow_pickle=False).tolist())
        with reading(path), library().open(str(path)) as container:
            for packet in container.demux(container.streams.video[0]):
                if not packet.size:
                    continue
                pts, dts, duration = next(times)
                dts = dts if last is None else max(dts, last + 1)  # a segment begins a little before its first frame
                last = dts
                packet.time_base = base
                packet.pts, packet.dts, packet.duration = pts, dts, duration
                yield packet


def _packets(clip: Any, source: Source) -> Iterator[Any]:
    if streams := demuxed(clip.streams):
        for packet in clip.container.demux(*streams):
            if packet.size and source.placed(timed(packet)):
                yield packet


def _in_time(video: Iterator[Any], rest: Iterator[Any]) -> Iterator[tuple[Any, bool]]:
    """Both by their decoding times, and whether it is the video's."""
    waiting, other = next(video, None), next(rest, None)
    while waiting is not None or other is not None:
        if other is None or (waiting is not None and _time(waiting) <= _time(other)):
            yield waiting, True
            waiting = next(video, None)
        else:
            yield other, False
            other = next(rest, None)


def _time(packet: Any) -> float:
    return float((packet.dts if packet.dts is not None else packet.pts) * packet.time_base)


def job_of(shot: Any, mask: Any, options: Any, info: Any) -> dict[str, Any]:
    """What a job is: its inputs as they are now, its options, and the precision that was opened, which is not to change
    within a clip.
    """
    return {
        "shot": _file(shot),
        "mask": _file(mask),
        "bundle": _file(Path(info.bundle) / "manifest.json"),
        "precision": info.precision,
        "options": {k: v for k, v in asdict(options).items() if k not in ("resume", "keep_partial")},
    }


def _file(path: Any) -> Any:
    if path is None or not isinstance(path, (str, Path)):
        return None if path is None else f"array of {getattr(path, 'shape', '?')}"
    stat = Path(path).stat()
    return [str(Path(path).resolve()), stat.st_size, stat.st_mtime_ns]
