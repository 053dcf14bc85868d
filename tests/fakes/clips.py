"""Clips that tests make for themselves, and what is in the clips that came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from harmonyrt.video.pixel_formats import layout_of

WIDTH, HEIGHT = 64, 48


def values(pix_fmt: str, width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> list[np.ndarray]:
    """Values of a frame's planes: smooth, with grain, inside limited range."""
    layout = layout_of(pix_fmt)
    rng = np.random.default_rng(seed)
    top = 1 << layout.bits
    planes = []
    for index in range(layout.colours + layout.alpha):
        high, wide = layout.size_of(index, height, width)
        down, across = np.mgrid[0:high, 0:wide]
        base = 0.5 + 0.2 * np.sin(down / high * 3 + index + seed / 9) * np.cos(across / wide * 4 - index)
        grain = rng.normal(0, 0.01, (high, wide))
        planes.append(np.clip((base + grain) * top, top // 16, top * 15 // 16).astype(np.int64))
    return planes


def frame_of(pix_fmt: str, planes: Sequence[np.ndarray], width: int = WIDTH, height: int = HEIGHT) -> av.VideoFrame:
    """A frame that holds these values."""
    frame = av.VideoFrame(width, height, pix_fmt)
    for view, plane in zip(layout_of(pix_fmt).planes(frame), planes, strict=True):
        view[...] = plane
    return frame


def make_clip(
    path: Path,
    frames: Iterable[av.VideoFrame],
    codec: str = "ffv1",
    rate: Fraction | int = 24,
    times: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    prepare: Callable[[av.container.OutputContainer, av.video.stream.VideoStream], None] | None = None,
    sound: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a clip. `prepare` sees the container and the stream before anything is written."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        base = time_base or Fraction(1) / rate
        stream.codec_context.time_base = stream.time_base = base
        audio = container.add_stream("pcm_s16le" if path.suffix == ".mkv" else "aac", rate=48000) if sound else None
        step = 1 / (rate * base)
        for index, frame in enumerate(frames):
            if index == 0:
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
                if prepare is not None:
                    prepare(container, stream)
            frame.pts, frame.time_base = int(index * step) if times is None else times[index], base
            frame.pict_type = 0
            container.mux(stream.encode(frame))
            if audio is not None:
                container.mux(audio.encode(_sound(index, 48000 // int(rate))))
        container.mux(stream.encode(None))
        if audio is not None:
            container.mux(audio.encode(None))
    return path


def _sound(index: int, samples: int) -> av.AudioFrame:
    rng = np.random.default_rng(index)
    wave = rng.integers(-9000, 9000, (1, samples * 2)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = 48000, index * samples, Fraction(1, 48000)
    return frame


def frames_in(path: Path) -> list[av.VideoFrame]:
    """Every frame of a clip, as decoded."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def planes_in(path: Path) -> list[list[np.ndarray]]:
    """The values of every frame."""
    return [[p.copy() for p in layout_of(f.format.name).planes(f)] for f in frames_in(path)]


def packets_in(path: Path, kind: str) -> list[tuple[int, bytes]]:
    """Time in microseconds and bytes of every packet of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        return [(round(p.pts * p.time_base * 10**6), bytes(p)) for p in container.demux(stream) if p.size]


def spot(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A mask with a soft edge: height x width uint8."""
    down, across = np.mgrid[0:height, 0:width]
    distance = np.hypot((down - height * 0.45) / (height * 0.3), (across - width * 0.5) / (width * 0.3))
    return (np.clip((1 - distance) * 5 + 0.5, 0, 1) * 255).astype(np.uint8)
