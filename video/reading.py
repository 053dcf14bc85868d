"""Clips as they are read: what a file says of its frames, and its frames and other packets in the file's order."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.video.av_library import library, reading, reason
from harmonyrt.video.colours import Tags
from harmonyrt.video.pixel_formats import layout_of, workable_name

ATTACHED = 0x400  # AV_DISPOSITIONATTACHED_PIC


@dataclass(frozen=True)
class VideoInfo:
    """What a clip's file says of its frames.

    Attributes:
        path: of the file.
        width: in pixels, as stored.
        height: in pixels, as stored.
        codec: FFmpeg's name.
        pix_fmt: of the decoded frames.
        time_base: seconds of one step of a time stamp.
        rate: frames per second, on average; None where the file does not say.
        frames: their number by the file's index; 0 where there is none.
        seconds: length; 0 where the file does not say.
        aspect: width of a pixel by its height; None where the file does not say.
        matrix: display matrix, 9 numbers as MP4 has them; None for none.
        tags: what its colours mean.
        container: FFmpeg's name of the format.
        interlaced: whether frames hold two fields.
        tag: four letters by which the container knows the codec.
    """

    path: str
    width: int
    height: int
    codec: str
    pix_fmt: str
    time_base: Fraction
    rate: Fraction | None
    frames: int
    seconds: float
    aspect: Fraction | None
    matrix: tuple[int, ...] | None
    tags: Tags
    container: str
    interlaced: bool
    tag: str = ""

    @property
    def turns(self) -> int:
        """Quarter turns, counter-clockwise, that make a stored frame upright, once it is mirrored back: 0 to 3."""
        if self.matrix is None:
            return 0
        a, b = self.matrix[0], self.matrix[1]
        if self.flipped:
            a, b = -a, -b
        angle = math.degrees(math.atan2(b, a))  # clockwise
        return round(-angle / 90) % 4

    @property
    def flipped(self) -> bool:
        """Whether the display matrix mirrors, left to right, before it turns."""
        m = self.matrix
        return m is not None and m[0] * m[4] - m[1] * m[3] < 0


class Clip:
    """An open clip.

    >>> with Clip("shot.mp4") as clip:                                     # doctest: +SKIP
    ...     for frame in clip.frames():
    ...         print(frame.pts, frame.width, frame.height)
    """

    def __init__(self, path: str | Path, what: str = "the clip", strict: bool = True) -> None:
        """Open a file.

        Args:
            path: of a file that FFmpeg reads.
            what: the file, as the subject of a sentence.
            strict: damage is an error; otherwise damaged packets are passed over and counted.

        Raises:
            HarmonyError: it is none, or has no frames.
        """
        self._av = library()
        self.path, self._strict = str(path), strict
        self.damaged = 0
        self.early = ""
        self._last: int | None = None
        with reading(path):
            self.container = self._av.open(self.path)
        try:
            videos = [s for s in self.container.streams.video if not int(s.disposition) & ATTACHED]
            if not videos:
                raise HarmonyError(f"{path} has no moving pictures in it; give a clip, and see that it is whole")
            self.stream = videos[0]
            self._decoder = self._prepared()
            self._first = self._decode_first()
            self.info = self._look(what)
        except BaseException:
            self.container.close()
            raise

    def _decode_first(self) -> Any:
        """The first frame, which knows more than the file's head does; the clip is wound back."""
        with reading(self.path):
            packets = self.container.demux(self.stream)
            frame = next((frame for packet in packets for frame in self._decoder(packet)), None)
        if frame is None:
            raise HarmonyError(f"{self.path} holds no frames; give a clip that has some")
        index = self.stream.index  # a closed container's streams know nothing any more
        self.container.close()
        with reading(self.path):
            self.container = self._av.open(self.path)
        self.stream = self.container.streams[index]
        self._decoder = self._prepared()
        return frame

    def _prepared(self) -> Callable[[Any], list[Any]]:
        """What decodes a packet. FFmpeg's own decoder of VP8 and VP9 drops their alpha; libvpx's does not."""
        stream = self.stream
        stream.thread_type = "AUTO"
        name = stream.codec_context.name
        tags = {key.lower(): value for key, value in stream.metadata.items()}
        if name in ("vp8", "vp9") and tags.get("alpha_mode") == "1":
            context = self._av.CodecContext.create({"vp8": "libvpx", "vp9": "libvpx-vp9"}[name], "r")
            context.thread_type = "AUTO"
            return lambda packet: context.decode(packet if packet.size else None)
        return lambda packet: packet.decode()

    def _look(self, what: str) -> VideoInfo:
        stream, frame = self.stream, self._first
        layout_of(workable_name(frame.format.name))
        side = frame.side_data.get("DISPLAYMATRIX")
        matrix = None
        if side is not None:
            numbers = memoryview(bytes(side)).cast("i")
            identity = numbers[0] > 0 and numbers[4] > 0 and not (numbers[1] or numbers[3])
            matrix = None if identity else tuple(numbers)
        context = stream.codec_context
        tags = Tags(frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
        aspect = stream.sample_aspect_ratio or context.sample_aspect_ratio
        return VideoInfo(
            path=self.path,
            width=frame.width,
            height=frame.height,
            codec=context.codec.canonical_name,
            pix_fmt=frame.format.name,
            time_base=stream.time_base,
            rate=stream.average_rate or stream.guessed_rate or None,
            frames=stream.frames,
            seconds=self._seconds(),
            aspect=aspect or None,
            matrix=matrix,
            tags=tags,
            container=self.container.format.name,
            interlaced=bool(frame.interlaced_frame),
            tag=context.codec_tag or "",
        )

    @property
    def _counts_from_zero(self) -> bool:
        """Whether the length that the file says is the time of its end (Matroska), and not that of its frames."""
        return not self.stream.duration

    def _seconds(self) -> float:
        """How long the file says that its frames last; 0 where it does not say that of them."""
        stream = self.stream
        if stream.duration:
            return float(stream.duration * stream.time_base)
        tags = {key.upper(): value for key, value in stream.metadata.items()}  # as Matroska has it
        parts = tags.get("DURATION", "").split(":")
        if len(parts) == 3:
            with contextlib.suppress(ValueError):
                return sum(float(part) * 60**place for place, part in enumerate(reversed(parts)))
        alone = len(self.container.streams) == 1
        return (self.container.duration or 0) / 10**6 if alone else 0.0

    @property
    def start_time(self) -> int:
        """Time stamp at which the file says that it begins."""
        return self.stream.start_time or 0

    @property
    def streams(self) -> tuple[Any, ...]:
        """The file's other streams."""
        return tuple(s for s in self.container.streams if s.index != self.stream.index)

    def items(self, others: tuple[Any, ...] = ()) -> Iterator[Any]:
        """Frames, and the packets of other streams, in the file's order.

        Args:
            others: streams whose packets are wanted.

        Raises:
            HarmonyError: damage, unless the clip is read leniently.
        """
        index = self.stream.index
        try:
            for packet in self.container.demux(self.stream, *demuxed(others)):
                if packet.stream.index != index:  # at the end there is an empty packet of each
                    if packet.size:
                        yield timed(packet)
                    continue
                yield from self._decoded(packet)
        except self._av.FFmpegError as error:
            self._damage(error)
        self._check_end()

    def _check_end(self) -> None:
        """Whether the file holds as much as it says: where it was cut, most containers just end."""
        info = self.info
        step = 1 / float(info.rate) if info.rate else 0.04
        if self._last is None or info.seconds <= 0:
            return
        end = self._last if self._counts_from_zero else self._last - self.start_time
        missing = info.seconds - (float(end * info.time_base) + step)
        if missing > max(0.5, 2 * step) and missing > 0.02 * info.seconds:
            reached = info.seconds - missing
            self.early = f"{self.path} ends early: it says {info.seconds:.1f} s and has frames for {reached:.1f} s"
            if self._strict:
                raise WorkFailed(f"{self.early}; pass --on-error keep to go on with what can be read")

    def _decoded(self, packet: Any) -> Iterator[Any]:
        try:
            frames = self._decoder(packet)
        except self._av.FFmpegError as error:
            self._damage(error)
            return
        for frame in frames:
            if frame.is_corrupt:
                self._damage(None)
            self._check_same(frame)
            self._last = frame.pts if frame.pts is not None else self._last
            yield frame

    def _check_same(self, frame: Any) -> None:
        info = self.info
        if (frame.width, frame.height, frame.format.name) != (info.width, info.height, info.pix_fmt):
            raise HarmonyError(
                f"{self.path} changes from {info.width}x{info.height} {info.pix_fmt} to {frame.width}x{frame.height}"
                f" {frame.format.name} on its way; cut it there and harmonize the parts"
            )

    def _damage(self, error: Any) -> None:
        self.damaged += 1
        if self._strict:
            what = "a frame is damaged" if error is None else reason(error)
            raise WorkFailed(
                f"{self.path} is damaged ({what}); pass --on-error keep to go on with what can be read"
            ) from None

    def frames(self) -> Iterator[Any]:
        """Every frame, in the order of display."""
        return (item for item in self.items() if not isinstance(item, self._av.Packet))

    def count(self) -> int:
        """The number of frames: by the file's index, else by reading all of its packets without decoding them."""
        if self.info.frames:
            return self.info.frames
        with reading(self.path), self._av.open(self.path) as container:
            stream = container.streams[self.stream.index]
            return sum(1 for packet in container.demux(stream) if packet.size and not packet.is_discard)

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def __enter__(self) -> Clip:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def demuxed(streams: Iterable[Any]) -> list[Any]:
    """Those of a file's streams that have packets: attachments lie in its head."""
    return [stream for stream in streams if stream.type != "attachment"]


def timed(packet: Any) -> Any:
    """A packet with a time: a cover picture has none."""
    if packet.dts is None:
        packet.dts = packet.pts if packet.pts is not None else 0
    if packet.pts is None:
        packet.pts = packet.dts
    return packet
