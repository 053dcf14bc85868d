"""Bare frames through pipes: no container, just one frame's planes after the other, as FFmpeg's `rawvideo` has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.video.av_library import library
from harmonyrt.video.colours import Tags
from harmonyrt.video.frames import HarmonizedFrame
from harmonyrt.video.pixel_formats import Layout, layout_of
from harmonyrt.video.reading import VideoInfo


class RawClip:
    """Frames from a stream of bytes. Stands where a :class:`harmonyrt.video.reading.Clip` does."""

    start_time = 0
    damaged = 0
    early = ""
    streams: tuple[Any, ...] = ()
    container = None

    def __init__(self, stream: BinaryIO, width: int, height: int, pix_fmt: str, rate: Fraction, tags: Tags) -> None:
        """Prepare.

        Args:
            stream: to read from, to its end.
            width: of a frame.
            height: of a frame.
            pix_fmt: FFmpeg's name: planar, or packed RGB.
            rate: frames a second.
            tags: what the colours mean.

        Raises:
            HarmonyError: a size or pixel format that cannot be.
        """
        if width < 1 or height < 1 or rate <= 0:
            raise HarmonyError(f"frames of {width}x{height} at {rate} a second cannot be; give --size and --rate")
        try:
            self._layout = layout_of(pix_fmt)
        except ValueError:
            raise HarmonyError(f"there is no pixel format {pix_fmt}; give one of FFmpeg's, such as yuv420p") from None
        self._stream, self.path = stream, "the pipe"
        self.info = VideoInfo(
            path=self.path,
            width=width,
            height=height,
            codec="rawvideo",
            pix_fmt=pix_fmt,
            time_base=1 / rate,
            rate=rate,
            frames=0,
            seconds=0.0,
            aspect=None,
            matrix=None,
            tags=tags,
            container="rawvideo",
            interlaced=False,
        )

    def items(self, others: tuple[Any, ...] = ()) -> Iterator[Any]:
        """The frames.

        Raises:
            WorkFailed: the last one is not whole.
        """
        info, tags = self.info, self.info.tags
        size = sum(height * width for height, width in _planes(self._layout, info)) * self._layout.dtype.itemsize
        index = 0
        while data := _read(self._stream, size):
            if len(data) < size:
                raise WorkFailed(
                    f"the pipe ends inside frame {index}: {len(data)} of {size} bytes came; check --size and --pix-fmt"
                )
            frame = library().VideoFrame(info.width, info.height, info.pix_fmt)
            frame.colorspace, frame.color_range = tags.matrix, tags.range
            frame.pts, frame.time_base, frame.duration = index, info.time_base, 1
            values, start = np.frombuffer(data, self._layout.dtype), 0
            for plane, (height, width) in zip(frame.planes, _planes(self._layout, info), strict=True):
                _rows(plane, self._layout, height, width)[...] = values[start : start + height * width].reshape(
                    height, width
                )
                start += height * width
            yield frame
            index += 1

    def frames(self) -> Iterator[Any]:
        """The same: there is nothing else in a pipe."""
        return self.items()

    def count(self) -> int:
        """0: nobody knows."""
        return 0

    def close(self) -> None:
        """Nothing to close: the stream is the caller's."""

    def __enter__(self) -> RawClip:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RawSink:
    """Writes frames as bare planes."""

    def __init__(self, stream: BinaryIO, pix_fmt: str, check: Callable[[], None] = lambda: None) -> None:
        """Prepare.

        Args:
            stream: to write to.
            pix_fmt: to write; frames of another are converted.
            check: called after each frame; raises when nobody reads any more.
        """
        self._stream, self._pix_fmt, self._layout, self._check = stream, pix_fmt, layout_of(pix_fmt), check
        self.frames = 0
        self.notes: list[str] = []

    def write(self, item: HarmonizedFrame) -> None:
        """Write a frame at once."""
        frame = item.frame if item.frame.format.name == self._pix_fmt else item.frame.reformat(format=self._pix_fmt)
        for plane, (height, width) in zip(frame.planes, _planes(self._layout, frame), strict=True):
            self._stream.write(np.ascontiguousarray(_rows(plane, self._layout, height, width)).tobytes())
        self._stream.flush()
        self._check()
        self.frames += 1

    def copy(self, packet: Any) -> None:
        """A pipe of frames has no place for other packets."""

    def close(self) -> None:
        """Nothing is held back."""

    def abandon(self) -> None:
        """What went out is gone."""


def _planes(layout: Layout, size: Any) -> list[tuple[int, int]]:
    """Rows and values of a row, of each of a format's planes, in memory's order."""
    return [
        (high, wide * step)
        for high, wide, step in (
            (*layout.size_of(index, size.height, size.width), step) for index, step in layout.in_memory()
        )
    ]


def _rows(plane: Any, layout: Layout, height: int, width: int) -> np.ndarray:
    length = plane.line_size // layout.dtype.itemsize
    return np.frombuffer(plane, layout.dtype)[: height * length].reshape(height, length)[:, :width]


def _read(stream: BinaryIO, size: int) -> bytes:
    """So many bytes, or fewer at the end."""
    pieces, missing = [], size
    while missing and (piece := stream.read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)
