"""A quick look: composite and harmonized side by side, small, and quick to encode."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from harmonyrt.video.av_library import library
from harmonyrt.video.coding import Coding
from harmonyrt.video.colours import UNSPECIFIED, Tags, assumed_matrix
from harmonyrt.video.frames import HarmonizedFrame
from harmonyrt.video.pixel_formats import layout_of, workable, workable_name
from harmonyrt.video.reading import VideoInfo

LONGEST = 640  # pixels of one picture's longer side
CODING = Coding("libx264", crf=23, preset="ultrafast")


class Preview:
    """Frames for a preview of a shot.

    Attributes:
        info: of the preview's frames.
        pix_fmt: of them.
    """

    def __init__(self, info: VideoInfo) -> None:
        layout = layout_of(workable_name(info.pix_fmt))
        scale = min(1.0, LONGEST / max(info.width, info.height))
        self._size = tuple(max(2, round(side * scale / 2) * 2) for side in (info.width, info.height))
        width, height = self._size
        self._across = info.turns % 2 == 0  # as the viewer sees it, the two are side by side
        whole = (2 * width, height) if self._across else (width, 2 * height)
        tags = info.tags if layout.kind == "yuv" else Tags(1, 1, info.tags.primaries, info.tags.transfer)
        full = layout.kind == "yuv" and layout.full_by_name
        self.pix_fmt = "yuvj420p" if full else "yuv420p"
        rate = info.rate or Fraction(25)
        self.info = replace(info, width=whole[0], height=whole[1], pix_fmt=self.pix_fmt, tags=tags, rate=rate)
        self._matrix = {} if layout.kind == "yuv" else {"dst_colorspace": 1}
        if layout.kind == "yuv" and tags.matrix == UNSPECIFIED:  # the size must not change what the colours mean
            self.info = replace(self.info, tags=replace(tags, matrix=assumed_matrix((info.width, info.height))))

    def frame(self, item: HarmonizedFrame) -> Any:
        """Composite and harmonized frame as one."""
        small = [
            workable(f).reformat(*self._size, self.pix_fmt, interpolation="BILINEAR", threads=1, **self._matrix)
            for f in (item.composite, item.frame)
        ]
        both = library().VideoFrame(self.info.width, self.info.height, self.pix_fmt)
        layout = layout_of(self.pix_fmt)
        for target, *parts in zip(*(layout.planes(f) for f in (both, *small)), strict=True):
            target[...] = np.concatenate(parts, 1 if self._across else 0)
        both.pts, both.time_base, both.duration = item.frame.pts, item.frame.time_base, item.frame.duration
        return both
