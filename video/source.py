"""A shot's frames with their masks, and its other packets, in the file's order and between two times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from harmonyrt.common import HarmonyError
from harmonyrt.video.av_library import library
from harmonyrt.video.frames import MaskedFrame
from harmonyrt.video.masks import alpha_mask
from harmonyrt.video.pixel_formats import layout_of, workable


@dataclass(frozen=True)
class Span:
    """A part of a clip, in seconds of its own time.

    Attributes:
        start: first moment; None for the clip's beginning, whose time stamps are then kept.
        end: the moment before which it ends; None for the clip's end.
    """

    start: float | None = None
    end: float | None = None

    def check(self) -> None:
        """Refuse a span that holds nothing.

        Raises:
            HarmonyError: a negative time, or an end that is not after the start.
        """
        if (self.start or 0) < 0 or (self.end is not None and self.end <= (self.start or 0)):
            raise HarmonyError(
                f"--start {self.start or 0:g} and --end {self.end if self.end is not None else 'the end'} hold nothing;"
                " give times in seconds, the end after the start"
            )


WHOLE = Span()


class Source:
    """Frames and packets of an open clip, with masks.

    Attributes:
        skipped: frames before the start.
        invented: frames whose time stamp the file does not give.
    """

    def __init__(self, clip: Any, masks: Any, others: tuple[Any, ...] = (), span: Span = WHOLE, done: int = 0) -> None:
        """Prepare.

        Args:
            clip: the shot.
            masks: one for each frame of the shot, from its beginning; None: each frame's own alpha.
            others: streams whose packets are wanted.
            span: part of the shot.
            done: frames of it that an earlier run has harmonized; they are passed over.
        """
        span.check()
        self._clip, self._masks, self._others, self._span, self._done = clip, masks, others, span, done
        self.packet = library().Packet
        self.may_block = clip.container is None  # a pipe
        self.skipped = self.invented = 0
        self._zero = float(clip.start_time * clip.info.time_base)

    def __iter__(self) -> Iterator[Any]:
        masks = None if self._masks is None else iter(self._masks)
        index = number = 0
        over = False
        for item in self._clip.items(self._others):
            if isinstance(item, self.packet):
                if self.placed(item):
                    yield item
                continue
            if over:
                continue
            pts = item.pts if item.pts is not None else self._invented(number)
            item.pts, item.time_base = pts, self._clip.info.time_base
            seconds = float(pts * self._clip.info.time_base) - self._zero
            number += 1
            mask = self._mask(item, masks, number)
            if self._span.end is not None and seconds >= self._span.end - 1e-6:
                over = True
                if not self._others:
                    return
                continue
            if self._span.start is not None:
                if seconds < self._span.start - 1e-6:
                    self.skipped += 1
                    continue
                item.pts -= self._offset(self._clip.info.time_base)
            if index >= self._done:
                yield MaskedFrame(index, seconds, item, mask)
            index += 1
        if not index:
            raise HarmonyError(f"{self._clip.path} has no frames there (it has {number}); check --start and --end")
        if (
            masks is not None
            and self._masks is not None
            and self._masks.count is not None
            and next(masks, None) is not None
        ):
            raise HarmonyError(
                f"there are more masks than the {number} frames of {self._clip.path}; give one mask for each frame, or"
                " a still mask for all of them"
            )

    def _mask(self, frame: Any, masks: Any, number: int) -> Any:
        if masks is None:
            frame = workable(frame)
            layout = layout_of(frame.format.name)
            if not layout.alpha:
                raise HarmonyError(f"{self._clip.path} has no alpha ({layout.name}); give a mask with --mask")
            return alpha_mask(layout.planes(frame)[-1], layout.bits)
        mask = next(masks, None)
        if mask is None:
            raise HarmonyError(
                f"the masks end before frame {number} of {self._clip.path}; give one mask for each frame, or a still"
                " mask for all of them"
            )
        return mask

    def _offset(self, base: Fraction) -> int:
        """What is taken off time stamps in a base, so that the span begins at 0."""
        return round(Fraction(self._zero + (self._span.start or 0)).limit_denominator(10**6) / base)

    def placed(self, packet: Any) -> bool:
        """Whether a packet lies in the span; moves it there."""
        span, base = self._span, packet.time_base
        if span.start is None and span.end is None:
            return True
        time = packet.pts if packet.pts is not None else packet.dts
        seconds = float(time * base) - self._zero
        if seconds < (span.start or 0) or (span.end is not None and seconds >= span.end):
            return False
        if span.start is not None:
            offset = self._offset(base)
            packet.dts -= offset
            if packet.pts is not None:
                packet.pts -= offset
        return True

    def _invented(self, number: int) -> int:
        self.invented += 1
        info = self._clip.info
        return round(number / (info.rate or 25) / info.time_base)
