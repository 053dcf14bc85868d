"""Flicker and fidelity of harmonized clips: what smoothing over time gains, and what it costs.

Flicker: the foreground's change (harmonized less composite) in blocks of 16 x 16 pixels, in levels of 255. What the
answer for a noisy frame does to the frame without its noise is measured, at 16 bits, so that neither noise nor rounding
pass for flicker. On a still shot it is the standard deviation over time; where the camera moves by whole pixels, blocks
are those of the photo, and the figure is the root mean square of what is different one frame later, over the square
root of 2. Fidelity: PSNR of the foreground against the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.benchmarks.video_shots import HEIGHT, KINDS, WIDTH, ShotFrame, read_photo, shot
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.colour_maps import ColourMaps, ColourSums, sum_colours
from harmonyrt.video.av_library import library
from harmonyrt.video.change import apply_change, change_of
from harmonyrt.video.colours import Tags, colour_space
from harmonyrt.video.looking import Look, fit_mask, look
from harmonyrt.video.pixel_formats import layout_of
from harmonyrt.video.steadiness import AHEAD, Steadier
from harmonyrt.video.watching import Watcher

_BLOCK = 16
_RATE = 25.0
_SPACE, _DEEP = (colour_space(Tags(), "rgb", bits, (WIDTH, HEIGHT)) for bits in (8, 16))


@dataclass(frozen=True)
class Score:
    """How a setting did on one shot.

    Attributes:
        flicker: in levels; None where the camera zooms.
        jump: largest change of the foreground's mean colour change from one frame to the next, in levels.
        psnr: of the foreground against the truth, dB.
        asked: share of the frames that the network saw.
    """

    flicker: float | None
    jump: float
    psnr: float
    asked: float


@dataclass(frozen=True)
class Recorded:
    """A shot with what the network says of each frame."""

    frames: Sequence[ShotFrame]
    looks: Sequence[Look]
    answers: Sequence[ColourSums]


def record(harmonizer: Harmonizer, frames: Iterable[ShotFrame]) -> Recorded:
    """Ask the network about every frame, once for all settings."""
    frames = list(frames)
    size = harmonizer.engine_size(HEIGHT, WIDTH)
    looks, answers = [], []
    for frame in frames:
        view = look(_frame(frame.composite), layout_of("gbrp"), fit_mask(frame.mask, size), _SPACE, size)
        looks.append(view)
        answers.append(sum_colours(replace(view.fitted, image=view.own), harmonizer.answer(view.fitted)))
    return Recorded(frames, looks, answers)


def score(played: Recorded, steady: float, ahead: int = AHEAD, strength: float = 1.0) -> Score:
    """Play a recorded shot with a setting."""
    answers = {id(view): sums for view, sums in zip(played.looks, played.answers, strict=True)}
    watcher = Watcher(lambda view: answers[id(view)], steady)
    seen = (watcher.watch(i, i / _RATE, view) for i, view in enumerate(played.looks))
    changes, errors, weights = [], 0.0, 0.0
    for each in Steadier(steady, ahead).steadied(seen):
        frame, maps = played.frames[each.item], each.maps
        planes = [np.ascontiguousarray(frame.composite[..., c]) for c in range(3)]
        if maps is not None:
            apply_change(planes, frame.mask, change_of(maps, _SPACE, strength))
        result = np.stack(planes, -1).astype(np.float32)
        changes.append(_clean_change(frame, maps, strength))
        inside = frame.mask > 127
        errors += float(((result - frame.truth)[inside] ** 2).sum())
        weights += 3 * int(inside.sum())
    means = np.array([change[frame.mask > 127].mean(0) for change, frame in zip(changes, played.frames, strict=True)])
    jump = float(np.abs(np.diff(means, axis=0)).max())
    psnr = 10 * np.log10(255**2 / (errors / weights))
    return Score(_flicker(played, changes), jump, float(psnr), watcher.asked / len(played.frames))


def _clean_change(frame: ShotFrame, maps: ColourMaps | None, strength: float) -> np.ndarray:
    before = np.round(frame.clean.clip(0, 255) * 257).astype(np.uint16)
    planes = [np.ascontiguousarray(before[..., c]) for c in range(3)]
    if maps is not None:
        apply_change(planes, frame.mask, change_of(maps, _DEEP, strength))
    return (np.stack(planes, -1).astype(np.float32) - before) / 257


def _flicker(played: Recorded, changes: list[np.ndarray]) -> float | None:
    """See the module's head; None where the camera zooms."""
    if played.frames[0].place is None:
        return None
    series: dict[tuple[int, int], list[np.ndarray | None]] = {}
    for index, (frame, change) in enumerate(zip(played.frames, changes, strict=True)):
        top, left = frame.place or (0, 0)
        for row in range(-top % _BLOCK, HEIGHT - _BLOCK + 1, _BLOCK):
            for column in range(-left % _BLOCK, WIDTH - _BLOCK + 1, _BLOCK):
                here = (slice(row, row + _BLOCK), slice(column, column + _BLOCK))
                if frame.mask[here].min() > 250:
                    line = series.setdefault((row + top, column + left), [None] * len(changes))
                    line[index] = change[here].mean((0, 1))
    still = len({frame.place for frame in played.frames}) == 1
    squares: list[np.ndarray] = []
    for line in series.values():
        if still:
            squares.append(np.var(np.array(line), axis=0, ddof=1))
        else:
            squares += [(b - a) ** 2 / 2 for a, b in pairwise(line) if a is not None and b is not None]
    return float(np.sqrt(np.mean(squares)))


def _frame(composite: np.ndarray) -> Any:
    frame = library().VideoFrame(composite.shape[1], composite.shape[0], "gbrp")
    for index, plane in enumerate(layout_of("gbrp").planes(frame)):
        plane[...] = composite[..., index]
    return frame


def cuts_found(folder: Path) -> dict[str, int]:
    """Cuts between different photos that are found, and false ones in pans, zooms, shaking hands, noise and fades.

    Args:
        folder: of photos with masks.
    """
    photos = [read_photo(path, path.with_suffix(".png")) for path in sorted(folder.glob("*.jpg"))]
    moving = {kind: [_looks(shot(*photo, kind, "warm", 12)) for photo in photos] for kind in KINDS}
    pans = moving["pan"]
    found = sum(_cuts([*a[-6:], *b[:1]]) for a, b in pairwise(pans))
    report = {"cuts": len(pans) - 1, "found": found}
    for kind, looks in moving.items():
        report[f"false in {kind}"] = sum(_cuts(line) for line in looks)
    faded = [_looks(_faded(list(shot(*photo, "still", "warm", 12)))) for photo in photos]
    report["false in fades to black"] = sum(_cuts(line) for line in faded)
    return report


def _faded(frames: list[ShotFrame]) -> Iterable[ShotFrame]:
    for index, frame in enumerate(frames):
        share = 1 - index / (len(frames) - 1)
        yield replace(frame, composite=(frame.composite * share).astype(np.uint8))


def _looks(frames: Iterable[ShotFrame]) -> list[Look]:
    coverage = np.ones((128, 128), np.float32)
    return [look(_frame(f.composite), layout_of("gbrp"), coverage, _SPACE, (128, 128)) for f in frames]


def _cuts(looks: list[Look]) -> int:
    """Cuts that a watcher finds in a line of frames."""
    nothing = ColourSums(np.zeros((22, 8, 8)), np.zeros(3), np.zeros(3), 1.0)
    watcher = Watcher(lambda view: nothing)
    for index, view in enumerate(looks):
        watcher.watch(index, index / _RATE, view)
    return watcher.cuts
