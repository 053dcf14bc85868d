"""A clip's frames, harmonized one after another: from frames and masks to frames, with any number in between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.colour_maps import ColourMaps, ColourSums, sum_colours
from harmonyrt.video.change import Change, apply_change, change_of
from harmonyrt.video.colours import check_transfer, colour_space
from harmonyrt.video.looking import Look, fit_mask, look
from harmonyrt.video.masks import stored, upright
from harmonyrt.video.pixel_formats import copied, layout_of, workable, workable_name
from harmonyrt.video.reading import VideoInfo
from harmonyrt.video.steadiness import AHEAD, State, Steadied, Steadier
from harmonyrt.video.watching import DEFAULT, Seen, Watcher, check_steady


@dataclass(frozen=True)
class MaskedFrame:
    """A frame with its mask, as both are stored.

    Attributes:
        index: counted from 0.
        seconds: its time.
        frame: an `av.VideoFrame`.
        mask: height x width uint8, 255 = foreground.
    """

    index: int
    seconds: float
    frame: Any
    mask: np.ndarray


@dataclass(frozen=True)
class Looked:
    """A frame, and how the network will see it."""

    frame: MaskedFrame
    view: Look


@dataclass(frozen=True)
class HarmonizedFrame:
    """A harmonized frame.

    Attributes:
        index: counted from 0.
        seconds: its time in the clip.
        frame: an `av.VideoFrame` of the shot's pixel format, size, colours and time stamp.
        composite: the frame as it was, of the same kind.
        mask: height x width uint8.
        state: to go on after this frame another time.
    """

    index: int
    seconds: float
    frame: Any
    composite: Any
    mask: np.ndarray
    state: State | None = field(default=None, repr=False)

    def to_rgb(self) -> np.ndarray:
        """The frame as height x width x 3 uint8, as it is stored (rotation is not applied)."""
        return self.frame.to_ndarray(format="rgb24")


@dataclass
class Counts:
    """What became of a clip's frames so far."""

    frames: int = 0
    asked: int = 0
    cuts: int = 0
    failed: list[str] = field(default_factory=list)


class FrameHarmonizer:
    """Harmonizes the frames of one shot.

    Everything is an iterator, so that any stage may run in a separate thread: `looked` fits frames to the network,
    `seen` asks it, `steadied` weighs what it said (:class:`harmonyrt.video.steadiness.Steadier`), and `changed` makes
    frames.
    """

    def __init__(
        self,
        harmonizer: Harmonizer,
        info: VideoInfo,
        strength: float = 1.0,
        steady: float = DEFAULT,
        ahead: int = AHEAD,
        keep_failed: bool = False,
    ) -> None:
        """Prepare for frames of a kind.

        Args:
            harmonizer: an open bundle of PHNet.
            info: of the shot.
            strength: share of the change, 0 to 1.5.
            steady: 0 (each frame by itself) to 1 (one change for each scene).
            ahead: coming frames that count; each waits for that many.
            keep_failed: a frame whose work fails stays as it was, and is counted; otherwise it ends the work.

        Raises:
            HarmonyError: HDR, a matrix or pixel format that is not known, or DiffHarmony.
        """
        if harmonizer.info.model != "phnet":
            raise HarmonyError(
                f"clips are for bundles of phnet, and this one holds {harmonizer.info.model}: its pictures take seconds"
                " each and differ in their noise; build a bundle with harmonyrt build phnet"
            )
        check_transfer(info.tags, info.path)
        self.info, self.counts = info, Counts()
        self._harmonizer, self._strength, self._keep_failed = harmonizer, strength, keep_failed
        self._layout = layout_of(workable_name(info.pix_fmt))
        self._space = colour_space(
            info.tags, self._layout.kind, self._layout.bits, (info.width, info.height), self._layout.full_by_name
        )
        shown = (info.width, info.height) if info.turns % 2 else (info.height, info.width)
        high, wide = harmonizer.engine_size(*shown)
        self._size = (wide, high) if info.turns % 2 else (high, wide)
        self._watcher = Watcher(self._answer, check_steady(steady))
        self._steadier = Steadier(check_steady(steady), ahead)
        self._fitted_mask: tuple[np.ndarray, np.ndarray] | None = None
        self._change: tuple[ColourMaps, Change] | None = None

    def harmonized(self, items: Iterable[Any]) -> Iterator[Any]:
        """All stages, one after another."""
        return self.changed(self.steadied(self.seen(self.looked(items))))

    def looked(self, items: Iterable[Any]) -> Iterator[Any]:
        """:class:`MaskedFrame` in, :class:`Looked` out; anything else passes through."""
        for item in items:
            if isinstance(item, MaskedFrame):
                frame, coverage = workable(item.frame), self._coverage(item.mask)
                item = Looked(item, look(frame, self._layout, coverage, self._space, self._size))
            yield item

    def seen(self, looked: Iterable[Any]) -> Iterator[Any]:
        """:class:`Looked` in, :class:`harmonyrt.video.watching.Seen` out; anything else passes through."""
        for item in looked:
            yield self._watch(item.frame, item.view) if isinstance(item, Looked) else item

    def go_on(self, state: State) -> None:
        """Go on after a frame of an earlier run."""
        self._watcher, self._steadier = replace(state.watcher, answer=self._answer), state.steadier

    def steadied(self, seen: Iterable[Any]) -> Iterator[Steadied]:
        """Frames with their maps, which wait for the frames that come."""
        return self._steadier.steadied(seen)

    def changed(self, steadied: Iterable[Steadied]) -> Iterator[Any]:
        """:class:`HarmonizedFrame` out; anything else passes through."""
        for each in steadied:
            item, maps = each.item, each.maps
            if not isinstance(item, MaskedFrame):
                yield item
                continue
            frame = item.frame
            if maps is not None and self._strength > 0:
                frame = copied(workable(frame))
                planes = self._layout.planes(frame)[: self._layout.colours]
                apply_change(planes, item.mask, self._change_of(maps))
            self.counts.frames += 1
            self.counts.asked, self.counts.cuts = self._watcher.asked, self._watcher.cuts
            yield HarmonizedFrame(item.index, item.seconds, frame, item.frame, item.mask, each.state)

    def _watch(self, item: MaskedFrame, view: Look) -> Seen:
        try:
            return self._watcher.watch(item, item.seconds, view)
        except WorkFailed as error:
            if not self._keep_failed:
                raise WorkFailed(f"frame {item.index}: {error}") from None
            self.counts.failed.append(f"frame {item.index}: {error}")
            return Seen(item, item.seconds, None, False, False, after=replace(self._watcher))

    def _coverage(self, mask: np.ndarray) -> np.ndarray:
        """The mask at the network's size; a still mask is fitted once."""
        if self._fitted_mask is None or self._fitted_mask[0] is not mask:
            self._fitted_mask = (mask, fit_mask(mask, self._size))
        return self._fitted_mask[1]

    def _answer(self, view: Look) -> ColourSums:
        """Ask the network, upright, and sum up its answer as the frame is stored, in the clip's own colours."""
        fitted, info = view.fitted, self.info
        turned = info.matrix is not None
        if turned:
            image = np.ascontiguousarray(upright(fitted.image.transpose(1, 2, 0), info).transpose(2, 0, 1))
            mask = np.ascontiguousarray(upright(fitted.mask, info))
            fitted = replace(fitted, image=image, mask=mask, network_mask=mask)
        output = self._harmonizer.answer(fitted)
        if turned:
            output = np.ascontiguousarray(stored(output.transpose(1, 2, 0), info).transpose(2, 0, 1))
        if self._space.to_srgb is not None:
            changed = self._space.stored(np.clip(output, 0, 1)) - self._space.stored(view.fitted.image)
            output = view.own + changed
        return sum_colours(replace(view.fitted, image=view.own), output)

    def _change_of(self, maps: ColourMaps) -> Change:
        if self._change is None or self._change[0] is not maps:
            self._change = (maps, change_of(maps, self._space, self._strength))
        return self._change[1]
