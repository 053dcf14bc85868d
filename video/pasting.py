"""A clip with transparency on another clip: the composite is made frame by frame, in the background's own planes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.video.av_library import library
from harmonyrt.video.change import mean_of_blocks
from harmonyrt.video.colours import UNSPECIFIED, Tags, assumed_matrix, check_transfer, colour_space
from harmonyrt.video.masks import alpha_mask
from harmonyrt.video.pixel_formats import copied, layout_of, workable, workable_name
from harmonyrt.video.reading import Clip, VideoInfo

_SCALERS_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}  # H.273's numbers, and those of FFmpeg's scaler


class PastingClip(Clip):
    """A background clip whose frames have the foreground pasted on. Its masks are the foreground's alpha.

    Attributes:
        masks: iterate them frame by frame, in step with the frames.
    """

    def __init__(
        self,
        background: Any,
        foreground: Any,
        at: tuple[int, int] = (0, 0),
        premultiplied: bool = False,
        strict: bool = True,
    ) -> None:
        """Open both.

        Args:
            background: path of a clip.
            foreground: path of a clip with alpha.
            at: column and row of the background for the foreground's upper left corner.
            premultiplied: the foreground's colours are multiplied by its alpha already.
            strict: damage is an error.

        Raises:
            HarmonyError: either cannot be used, or they do not go together.
        """
        super().__init__(background, strict=strict)
        try:
            self._foreground = Clip(foreground, strict=strict)
            try:
                self._check()
            except BaseException:
                self._foreground.close()
                raise
        except BaseException:
            super().close()
            raise
        self._at, self._premultiplied = at, premultiplied
        self.masks = _Alphas(self._foreground)

    def _check(self) -> None:
        below, above = self.info, self._foreground.info
        layout = layout_of(workable_name(above.pix_fmt))
        if not layout.alpha:
            raise HarmonyError(f"{above.path} has no alpha ({above.pix_fmt}); give a foreground that has, or --mask")
        if below.matrix != above.matrix:
            raise HarmonyError(f"{above.path} and {below.path} are turned differently; turn one of them first")
        check_transfer(above.tags, above.path)
        if 0 < abs(float((above.rate or 0) - (below.rate or 0))) > 0.01:
            raise HarmonyError(
                f"{above.path} has {float(above.rate or 0):g} frames a second and {below.path}"
                f" {float(below.rate or 0):g}; convert one of them first"
            )

    def items(self, others: tuple[Any, ...] = ()) -> Iterator[Any]:
        """The background's items, the frames with the foreground on them.

        Raises:
            HarmonyError: the foreground is longer or shorter.
        """
        foreground, packet = self._foreground.frames(), library().Packet
        for item in super().items(others):
            if isinstance(item, packet):
                yield item
                continue
            above = next(foreground, None)
            if above is None:
                raise HarmonyError(
                    f"{self._foreground.path} has fewer frames than {self.path}; cut the longer one, or use --end"
                )
            yield self._pasted(item, workable(above))

    def _pasted(self, below: Any, above: Any) -> Any:
        below = copied(workable(below))
        layout = layout_of(below.format.name)
        own = layout_of(above.format.name)
        alpha = alpha_mask(own.planes(above)[-1], own.bits)
        mask = np.zeros((below.height, below.width), np.uint8)
        target, source = _overlap(mask.shape, alpha.shape, self._at)
        mask[target] = alpha[source]
        self.masks.waiting.append(mask)
        if not mask.any():
            return below
        canvas = _canvas(above, own, mask.shape, target, source)
        canvas = _converted(canvas, self._foreground.info, below.format.name, self.info)
        space = colour_space(self.info.tags, layout.kind, layout.bits, (below.width, below.height), layout.full_by_name)
        share = mask.astype(np.float32) / np.float32(255)
        pairs = zip(layout.planes(below), layout.planes(canvas), strict=True)
        for index, (under, over) in enumerate(pairs):
            if index >= layout.colours:  # the background's own alpha: where the foreground is, it is opaque
                under[...] = np.maximum(under, np.round(share * space.highest).astype(under.dtype))
                continue
            steps = (-(-mask.shape[0] // under.shape[0]), -(-mask.shape[1] // under.shape[1]))
            few = share if steps == (1, 1) else mean_of_blocks(share, under.shape, steps)
            before = under.astype(np.float32)
            start = before if not self._premultiplied else np.float32(space.offset[index])
            mixed = before + (over.astype(np.float32) - start if not self._premultiplied else 0) * few
            if self._premultiplied:
                mixed = before + (over - start) - few * (before - start)
            under[...] = np.where(few > 0, np.clip(mixed + 0.5, 0, space.highest), before)
        return below

    def count(self) -> int:
        """The background's frames, once the foreground has as many.

        Raises:
            HarmonyError: it has another number.
        """
        count, others = super().count(), self._foreground.count()
        if count != others:
            raise HarmonyError(
                f"{self._foreground.path} has {others} frames and {self.path} has {count}; cut the longer one"
            )
        return count

    def close(self) -> None:
        """Close both files."""
        self._foreground.close()
        super().close()


class _Alphas:
    """The masks of a pasting clip. Stands where :class:`harmonyrt.video.masks.Masks` does."""

    def __init__(self, foreground: Clip) -> None:
        self.waiting: deque[np.ndarray] = deque()
        self.notes: list[str] = []
        self.count: int | None = None
        self._foreground = foreground

    def __iter__(self) -> Iterator[np.ndarray]:
        while self.waiting:
            yield self.waiting.popleft()

    def close(self) -> None:
        """The clip closes what there is."""


def _overlap(
    below: tuple[int, ...], above: tuple[int, ...], at: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where the foreground lies on the background, and what of it."""
    target, source = [], []
    for size, own, offset in zip(below, above, at[::-1], strict=True):
        first, last = max(0, offset), min(size, offset + own)
        if first >= last:
            raise HarmonyError(f"at {at[0]},{at[1]} the foreground lies outside the background; choose another --at")
        target.append(slice(first, last))
        source.append(slice(first - offset, last - offset))
    return (target[0], target[1]), (source[0], source[1])


def _canvas(frame: Any, layout: Any, shape: tuple[int, ...], target: Any, source: Any) -> Any:
    """The foreground at its place in a frame of the background's size; elsewhere nobody looks."""
    if (frame.height, frame.width) == shape and target == source:
        return frame
    steps = (layout.down, layout.across)
    if any(part.start % step for where in (target, source) for part, step in zip(where, steps, strict=True)):
        raise HarmonyError(f"--at falls between chroma samples of {layout.name}; give multiples of {max(steps)}")
    canvas = library().VideoFrame(shape[1], shape[0], layout.name)
    for index, (new, old) in enumerate(zip(layout.planes(canvas), layout.planes(frame), strict=True)):
        down, across = steps if layout.kind == "yuv" and index in (1, 2) else (1, 1)
        places = [
            tuple(slice(p.start // s, -(-p.stop // s)) for p, s in zip(where, (down, across), strict=True))
            for where in (target, source)
        ]
        new[...] = 0
        new[places[0]] = old[places[1]]
    return canvas


def _converted(frame: Any, own: VideoInfo, pix_fmt: str, other: VideoInfo) -> Any:
    """A frame in another clip's pixel format, matrix and range."""
    return frame.reformat(
        format=pix_fmt,
        src_colorspace=_matrix(own.tags, own),
        dst_colorspace=_matrix(other.tags, other),
        src_color_range=_range(own),
        dst_color_range=_range(other),
        threads=1,
    )


def _matrix(tags: Tags, info: VideoInfo) -> int:
    matrix = assumed_matrix((info.width, info.height)) if tags.matrix == UNSPECIFIED else tags.matrix
    return _SCALERS_MATRIX.get(matrix, 5)


def _range(info: VideoInfo) -> int:
    layout = layout_of(workable_name(info.pix_fmt))
    return 2 if layout.kind == "rgb" or layout.full_by_name or info.tags.range == 2 else 1
