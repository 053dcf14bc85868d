"""Writing a clip: frames are encoded with the shot's time stamps and tags, other packets are copied as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from harmonyrt.common import HarmonyError
from harmonyrt.video.av_library import library, reading, reason, writing
from harmonyrt.video.coding import Chosen, Coding, choose, counts_frames, keeps_fields
from harmonyrt.video.reading import ATTACHED, VideoInfo

_OF_THE_CONTAINER = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration", "alpha_mode")
_KEEPS_MATRIX = {"mov", "mp4", "matroska", "webm", "ipod", "3gp"}


class Writer:
    """An output clip. Frames and packets go in, in any order that the shot has them in; `close` makes the file whole.

    Attributes:
        notes: sentences for the user about what the container does not keep.
        frames: how many were written.
        times: of each packet of the video, in the shot's time base: pts, dts and duration.
    """

    def __init__(
        self,
        path: str | Path,
        info: VideoInfo,
        pix_fmt: str,
        coding: Coding,
        others: Sequence[Any] = (),
        like: Any = None,
        named: str | Path | None = None,
        chosen: Chosen | None = None,
        is_segment: bool = False,
    ) -> None:
        """Open an output.

        Args:
            path: to write; its suffix chooses the container.
            info: of the shot: size, rate, aspect, rotation and colours.
            pix_fmt: of the frames that come.
            coding: how to encode.
            others: streams of the shot to copy.
            like: the shot's open container, whose metadata and chapters are copied; or None.
            named: how to call the output in sentences.
            chosen: an encoder that is chosen already, instead of one by `coding`.
            is_segment: the file is a part of a clip: its times are the clip's, and `times` keeps them.

        Raises:
            HarmonyError: a suffix, encoder or pixel format that does not go together with the rest.
        """
        self._av, self._named, self._info = library(), named or path, info
        self.notes: list[str] = []
        self.frames = 0
        self.times: list[tuple[int, int, int]] | None = [] if is_segment else None
        self._others, self._given = list(others), chosen
        self._durations: dict[int, int] = {}
        self._last: int | None = None
        self._counted: list[int] | None = None
        try:
            self._open(path, pix_fmt, coding, like)
        except BaseException:
            self._abandon()
            raise

    def _open(self, path: str | Path, pix_fmt: str, coding: Coding, like: Any) -> None:
        """Open, leaving out what the container refuses: a header is written at once, and says so at once."""
        refused: list[str] = []
        for leave_out in ((), ("data", "attachment"), ("data", "attachment", "subtitle")):
            kept = [s for s in self._others if s.type not in leave_out and not is_made_anew(s)]
            refused = [_name(s) for s in self._others if s.type in leave_out and not is_made_anew(s)]
            self.notes = []
            self._start(path, pix_fmt, coding, kept, like)
            try:
                self.container.start_encoding()
            except (self._av.FFmpegError, ValueError) as error:
                self._abandon()
                if len(kept) == sum(stream.type in ("video", "audio") for stream in self._others):
                    raise HarmonyError(
                        f"{self._named} cannot be begun ({reason(error)}); choose another --codec, --pix-fmt or suffix"
                    ) from None
                continue
            break
        if refused:
            self.notes.append(f"{self.container.format.name} does not take the shot's {', '.join(refused)}: left out")

    def _start(self, path: str | Path, pix_fmt: str, coding: Coding, others: list[Any], like: Any) -> None:
        try:
            options = {} if self.times is None else {"avoid_negative_ts": "disabled"}
            self.container = self._av.open(str(path), "w", options=options)
        except (self._av.FFmpegError, ValueError) as error:
            raise HarmonyError(
                f"{self._named} cannot be opened for writing ({reason(error)}); its suffix chooses the container: .mp4,"
                " .mov, .mkv or .webm"
            ) from None
        info = self._info
        chosen = self._given or choose(coding, info, pix_fmt, self.container)
        self._pix_fmt = chosen.pix_fmt
        self.stream = self._video_stream(chosen)
        self.notes += chosen.notes
        copy_tags(self.stream, like)
        self._copies, left_out = copied_streams(self.container, others)
        self.notes += left_out
        copy_head(self.container, like)

    def _video_stream(self, chosen: Chosen) -> Any:
        info = self._info
        rate = info.rate or 25
        with writing(self._named):
            stream = self.container.add_stream(chosen.encoder, rate=rate, options=dict(chosen.options))
        context = stream.codec_context
        stream.width, stream.height, stream.pix_fmt = info.width, info.height, chosen.pix_fmt
        context.time_base = stream.time_base = info.time_base
        if counts_frames(chosen.encoder, info.time_base):
            context.time_base, self._counted = 1 / Fraction(rate), []
        if info.interlaced and keeps_fields(chosen.encoder):
            context.flags |= self._av.codec.context.Flags.interlaced_dct | self._av.codec.context.Flags.interlaced_me
        elif info.interlaced:
            self.notes.append(f"{chosen.encoder} is not told of fields: players will show both of a frame at once")
        if info.aspect:
            context.sample_aspect_ratio = info.aspect
        tags = info.tags
        context.colorspace, context.color_range = tags.matrix, tags.range
        context.color_primaries, context.color_trc = tags.primaries, tags.transfer
        if chosen.encoder == "libx265" and self.container.format.name in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # what Apple's players want
        self.notes += set_matrix(self.container, stream, info)
        return stream

    def write(self, frame: Any) -> None:
        """Encode a frame.

        Raises:
            HarmonyError: the encoder or the container refuses it.
            WorkFailed: the disk is full.
        """
        if frame.format.name != self._pix_fmt:
            pts, base, duration = frame.pts, frame.time_base, frame.duration
            frame = frame.reformat(format=self._pix_fmt)
            frame.pts, frame.time_base, frame.duration = pts, base, duration
        frame.pict_type = 0  # the encoder's choice, not the shot's
        if self._last is not None and frame.pts <= self._last:
            frame.pts = self._last + 1
        self._last = frame.pts
        if frame.duration:
            self._durations[frame.pts] = frame.duration
        if self._counted is not None:
            self._counted.append(frame.pts)
            frame.pts, frame.time_base = len(self._counted) - 1, self.stream.codec_context.time_base
        with writing(self._named):
            for packet in self.stream.encode(frame):
                self._mux(packet)
        self.frames += 1

    def _timed(self, packet: Any) -> None:
        """Give a packet of numbered frames their time stamps again; those before the first are a frame apart."""
        counted, base = self._counted or [0], self._info.time_base
        apart = max(1, round(packet.time_base / base))
        number = packet.dts if packet.dts is not None else packet.pts
        dts = counted[number] if number >= 0 else counted[0] + number * apart
        packet.pts, packet.dts, packet.time_base = counted[packet.pts], dts, base

    def _mux(self, packet: Any) -> None:
        if self._counted is not None:
            self._timed(packet)
        duration = self._durations.pop(packet.pts, None)
        if duration is not None:
            packet.duration = duration
        if self.times is not None:
            scale = packet.time_base / self._info.time_base
            self.times.append((int(packet.pts * scale), int(packet.dts * scale), int((packet.duration or 0) * scale)))
        self.container.mux_one(packet)

    def copy(self, packet: Any) -> None:
        """Write a packet of another stream of the shot, untouched; one whose stream was left out is dropped."""
        copy = self._copies.get(packet.stream.index)
        if copy is None:
            return
        packet.stream = copy
        with writing(self._named):
            self.container.mux_one(packet)

    def close(self) -> None:
        """Write what the encoder holds back, and the file's end."""
        with writing(self._named):
            for packet in self.stream.encode(None):
                self._mux(packet)
            self.container.close()

    def finish(self, packets: Iterable[tuple[Any, bool]]) -> None:
        """Write packets that are encoded already, and the file's end.

        Args:
            packets: of all streams, by time; each with whether it is one of the harmonized frames.
        """
        with writing(self._named):
            for packet, is_video in packets:
                if is_video:
                    packet.stream = self.stream
                    self.container.mux_one(packet)
                else:
                    self.copy(packet)
            self.container.close()

    def _abandon(self) -> None:
        """Let go of a file that nobody wants; what it holds is of no matter."""
        container = getattr(self, "container", None)
        if container is not None:
            with reading(self._named):
                container.close()

    def abandon(self) -> None:
        """Close without an end; the file is to be deleted."""
        with contextlib.suppress(self._av.FFmpegError):
            self.container.close()


def copied_streams(container: Any, streams: Sequence[Any]) -> tuple[dict[int, Any], list[str]]:
    """Add streams of a shot to an output.

    Returns:
        The output's streams by the shot's numbers, and a sentence about those that the container does not take.
    """
    copies: dict[int, Any] = {}
    left_out = []
    for stream in streams:
        try:
            copy = container.add_stream_from_template(stream, opaque=True)
        except (ValueError, library().FFmpegError):
            left_out.append(_name(stream))
            continue
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        _name_layout(copy)
        copies[stream.index] = copy
    if not left_out:
        return copies, []
    return copies, [f"{container.format.name} does not take the shot's {', '.join(left_out)}: left out"]


def copy_tags(stream: Any, like: Any) -> None:
    """Copy what a shot's container says of its moving pictures: language, name, time code (MOV makes a track of it)."""
    if like is None:
        return
    pictures = next(s for s in like.streams.video if not int(s.disposition) & ATTACHED)
    stream.metadata.update({k: v for k, v in pictures.metadata.items() if k.lower() not in _OF_THE_CONTAINER})


def is_made_anew(stream: Any) -> bool:
    """Whether a data stream is one that MOV and MP4 make themselves, of a time code and of chapters."""
    return stream.type == "data" and ("timecode" in stream.metadata or stream.name == "bin_data")


def _name_layout(stream: Any) -> None:
    """Name the layout of sound of one or two channels that has no name, without which MP4 takes no PCM."""
    if stream.type == "audio" and stream.codec_context.layout.name in ("1 channels", "2 channels"):
        stream.codec_context.layout = "mono" if stream.codec_context.layout.nb_channels == 1 else "stereo"


def copy_head(container: Any, like: Any) -> None:
    """Copy a container's metadata and chapters."""
    if like is None:
        return
    container.metadata.update({k: v for k, v in like.metadata.items() if k.lower() not in _OF_THE_CONTAINER})
    if chapters := like.chapters():
        container.set_chapters(chapters)


def set_matrix(container: Any, stream: Any, info: VideoInfo) -> list[str]:
    """Keep a shot's rotation; a sentence where the container cannot."""
    if info.matrix is None:
        return []
    if not set(container.format.name.split(",")) & _KEEPS_MATRIX:
        return [f"{container.format.name} keeps no rotation: players will show the clip unturned"]
    stream.set_display_matrix(info.matrix)
    return []


def _name(stream: Any) -> str:
    codec = stream.codec_context.name if stream.codec_context is not None else "data"
    return f"{stream.type} stream {stream.index} ({codec})"
