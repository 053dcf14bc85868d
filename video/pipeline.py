"""Reader, network, change and encoder side by side, each in a separate thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from harmonyrt.common.signals import held_signals
from harmonyrt.video.background import in_background
from harmonyrt.video.frames import FrameHarmonizer, HarmonizedFrame
from harmonyrt.video.source import Source
from harmonyrt.video.writing import Writer

_WAITING = 4  # frames between two stages


class Sink(Protocol):
    """Where frames go.

    Attributes:
        frames: how many it has.
        notes: sentences for the user.
    """

    frames: int
    notes: list[str]

    def write(self, item: HarmonizedFrame) -> None:
        """A frame."""

    def copy(self, packet: Any) -> None:
        """A packet of another stream of the shot."""

    def close(self) -> None:
        """All is there."""

    def abandon(self) -> None:
        """Nothing more comes, and what is there is not wanted."""


class FileSink:
    """Frames into a file."""

    def __init__(self, writer: Writer, drawn: Callable[[HarmonizedFrame], Any] | None = None) -> None:
        """Prepare.

        Args:
            writer: of the file.
            drawn: makes the frame to write of a harmonized one; None for the harmonized frame itself.
        """
        self._writer, self._drawn = writer, drawn
        self.copy, self.close, self.abandon = writer.copy, writer.close, writer.abandon

    @property
    def frames(self) -> int:
        """Frames written."""
        return self._writer.frames

    @property
    def notes(self) -> list[str]:
        """What the file does not keep."""
        return self._writer.notes

    def write(self, item: HarmonizedFrame) -> None:
        """Encode a frame."""
        self._writer.write(item.frame if self._drawn is None else self._drawn(item))


def run(
    worker: FrameHarmonizer,
    source: Source,
    sink: Any,
    keep_partial: bool,
    progress: Callable[[int, int], None] | None,
    total: int,
) -> bool:
    """Harmonize all that a source gives.

    Args:
        worker: what harmonizes.
        source: of frames and packets.
        sink: see :class:`Sink`.
        keep_partial: whether Ctrl-C ends the file as it is.
        progress: told the frames written and the total.
        total: frames that will come, or 0.

    Returns:
        Whether it was interrupted.
    """
    stop = threading.Event()
    try:
        with (
            in_background(worker.looked(source), _WAITING, "reader", stop, source.may_block) as items,
            in_background(worker.steadied(worker.seen(items)), _WAITING, "network", stop) as steadied,
            in_background(worker.changed(steadied), _WAITING, "change", stop) as changed,
        ):
            for item in changed:
                with held_signals():  # an encoder that is left midway has lost a frame
                    is_packet = isinstance(item, source.packet)
                    (sink.copy if is_packet else sink.write)(item)
                if progress is not None and not is_packet:
                    progress(sink.frames, total)
    except KeyboardInterrupt:
        if not keep_partial or not sink.frames:
            sink.abandon()
            raise
        _end(sink)
        return True
    except BaseException:
        sink.abandon()
        raise
    try:
        _end(sink)
    except KeyboardInterrupt:
        if not keep_partial:
            raise
    return False


def _end(sink: Any) -> None:
    """Close a sink, whole or not at all."""
    with held_signals():
        try:
            sink.close()
        except BaseException:
            sink.abandon()
            raise
