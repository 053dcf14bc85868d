"""Where a frame keeps its values: planes as NumPy arrays that share its memory."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.video.av_library import library

_copying = threading.local()  # filters belong to one thread at a time

# Packed RGB: what a pixel's values are, in order; "-" is padding.
_PACKED = {
    **{name: name[:-2] for name in ("rgb24", "bgr24")},
    **{name: name for name in ("rgba", "bgra", "argb", "abgr")},
    "rgb0": "rgb-",
    "bgr0": "bgr-",
    "0rgb": "-rgb",
    "0bgr": "-bgr",
    **{f"{order}48{end}": order for order in ("rgb", "bgr") for end in ("le", "be")},
    **{f"{order}64{end}": order for order in ("rgba", "bgra") for end in ("le", "be")},
    "ya8": "ya",
    "ya16le": "ya",
    "ya16be": "ya",
}
# Formats whose values another format of ours holds in another order; the conversion is exact.
_SAME_VALUES = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "nv24": "yuv444p",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "yvyu422": "yuv422p",
    "p010le": "yuv420p10le",
    "p210le": "yuv422p10le",
    "pal8": "bgra",
    "monob": "gray",
    "monow": "gray",
}


@dataclass(frozen=True)
class Layout:
    """A pixel format that can be worked on.

    Attributes:
        name: FFmpeg's.
        kind: "yuv", "rgb" or "grey".
        bits: of a value.
        alpha: whether there is one.
        across: luma columns of a chroma column.
        down: luma rows of a chroma row.
        dtype: of a value.
    """

    name: str
    kind: str
    bits: int
    alpha: bool
    across: int
    down: int
    dtype: np.dtype
    _where: tuple[tuple[int, int, int], ...]  # of colours, then alpha: plane, first value, values of a pixel

    @property
    def colours(self) -> int:
        """Planes that hold colours, 1 or 3."""
        return 1 if self.kind == "grey" else 3

    @property
    def full_by_name(self) -> bool:
        """Whether the name itself means full range."""
        return self.name.startswith("yuvj")

    def planes(self, frame: Any) -> list[np.ndarray]:
        """The frame's values, height x width each: Y U V or R G B, then alpha. Writing to them changes the frame."""
        arrays = []
        for index, (plane, first, step) in enumerate(self._where):
            memory = frame.planes[plane]
            rows = np.frombuffer(memory, self.dtype)
            length = memory.line_size // self.dtype.itemsize
            height, width = self.size_of(index, frame.height, frame.width)
            rows = rows[: height * length]
            arrays.append(rows.reshape(height, length)[:, first : first + width * step : step])
        return arrays

    def in_memory(self) -> list[tuple[int, int]]:
        """For each plane in memory: one of :meth:`planes` that lies there, and the values of a pixel."""
        found = {plane: (index, step) for index, (plane, _, step) in enumerate(self._where)}
        return [found[plane] for plane in sorted(found)]

    def size_of(self, index: int, height: int, width: int) -> tuple[int, int]:
        """Height and width of one of :meth:`planes`."""
        if self.kind == "yuv" and index in (1, 2):
            return -(-height // self.down), -(-width // self.across)
        return height, width


@lru_cache(maxsize=64)
def layout_of(name: str) -> Layout:
    """The layout of a pixel format.

    Raises:
        HarmonyError: one that is not worked on.
    """
    form = library().VideoFormat(name, 64, 64)
    components = form.components
    packed = _PACKED.get(name)
    bits = {c.bits for c in components}
    planar = len({c.plane for c in components}) == len(components) and not form.has_palette
    if len(bits) != 1 or not 8 <= min(bits) <= 16 or form.is_bayer or "xyz" in name or not (packed or planar):
        raise HarmonyError(
            f"frames of the pixel format {name} cannot be harmonized; convert the clip to yuv420p10le or rgb24, say"
        )
    size = np.dtype(np.uint8 if max(bits) == 8 else ">u2" if form.is_big_endian else "<u2")
    alpha = any(c.is_alpha for c in components)
    colours = len(components) - alpha
    kind = "grey" if colours == 1 else "rgb" if form.is_rgb else "yuv"
    across = 64 // components[1].width if kind == "yuv" else 1
    down = 64 // components[1].height if kind == "yuv" else 1
    if packed:
        wanted = ("y" if kind == "grey" else "rgb") + ("a" if alpha else "")
        where = tuple((0, packed.index(value), len(packed)) for value in wanted)
    else:
        where = tuple((c.plane, 0, 1) for c in components)
    return Layout(name, kind, max(bits), alpha, across, down, size, where)


def workable(frame: Any) -> Any:
    """The frame itself, or the same values in a format that can be worked on.

    Raises:
        HarmonyError: there is none.
    """
    name = frame.format.name
    if name in _SAME_VALUES:
        other = frame.reformat(format=_SAME_VALUES[name])
        other.pts, other.time_base = frame.pts, frame.time_base
        return other
    layout_of(name)
    return frame


def workable_name(name: str) -> str:
    """The pixel format of :func:`workable`'s frames."""
    return _SAME_VALUES.get(name, name)


def copied(frame: Any) -> Any:
    """A frame of the same values, tags and field order, in memory of its own: a decoder may still need the first."""
    pts, base, duration = frame.pts, frame.time_base, frame.duration
    key = (frame.width, frame.height, frame.format.name, base)
    if getattr(_copying, "key", None) != key:
        _copying.graph, _copying.key = _copying_graph(frame), key
    _copying.graph.push(frame)
    new = _copying.graph.pull()
    new.pts, new.duration = pts, duration
    if base is not None:
        new.time_base = base
    new.colorspace, new.color_range = frame.colorspace, frame.color_range
    new.color_primaries, new.color_trc = frame.color_primaries, frame.color_trc
    return new


def _copying_graph(frame: Any) -> Any:
    """FFmpeg's own copying of frames, for frames like this one: PyAV has no other that keeps what belongs to them."""
    graph = library().filter.Graph()
    base = frame.time_base or Fraction(1, 1000)
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)
    copy, sink = graph.add("copy"), graph.add("buffersink")
    source.link_to(copy)
    copy.link_to(sink)
    graph.configure()
    return graph
