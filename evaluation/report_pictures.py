"""Pictures of a report, inside its page: histograms as SVG, and the pictures that a system improved most and least."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

import numpy as np
from PIL import Image

from harmonyrt.evaluation.iharmony4 import Pair
from harmonyrt.evaluation.protocol import Case
from harmonyrt.evaluation.runs import Row, opened
from harmonyrt.evaluation.systems import System

ERROR_GAIN = 4
"""What error pictures are multiplied by."""
_SIDE = 256
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 360, 220, 34, 34, 8
_HEAT = np.array([(0, 0, 0), (90, 20, 110), (220, 70, 60), (255, 190, 60), (255, 255, 220)])


@dataclass(frozen=True)
class Series:
    """Values of a histogram under a name; `style` is the number of its colour."""

    name: str
    values: Sequence[float]
    style: int = 0


def histogram(title: str, unit: str, series: Sequence[Series], bins: int = 24) -> str:
    """Outlines of how many pictures have which value, as an SVG element whose colours are classes of the page."""
    values = np.concatenate([np.asarray(one.values, float) for one in series])
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    counts = [np.histogram(one.values, edges)[0] for one in series]
    most = max(1, max(int(one.max()) for one in counts))
    across, up = _WIDTH - _LEFT - 8, _HEIGHT - _BOTTOM - _TOP

    def x(value: float) -> float:
        return _LEFT + across * (value - low) / (high - low)

    def y(count: float) -> float:
        return _TOP + up * (1 - count / most)

    parts = []
    for tick in ticks(0, most):
        if tick == int(tick):
            parts.append(f'<path class="grid" d="M{_LEFT} {y(tick):.1f}H{_WIDTH - 8}"/>')
            parts.append(f'<text x="{_LEFT - 4}" y="{y(tick) + 4:.1f}" text-anchor="end">{int(tick)}</text>')
    for tick in ticks(low, high):
        parts.append(f'<text x="{x(tick):.1f}" y="{_HEIGHT - 18}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text x="{_LEFT + across / 2:.0f}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(unit)}</text>')
    for one, count in zip(series, counts, strict=True):
        steps = "".join(f"V{y(c):.1f}H{x(edge):.1f}" for c, edge in zip(count, edges[1:], strict=True))
        line = f"M{x(low):.1f} {y(0):.1f}{steps}V{y(0):.1f}"
        parts.append(f'<path class="line s{one.style}" d="{line}"><title>{escape(one.name)}</title></path>')
    label = escape(f"{title}: histogram over {len(series[0].values)} pictures", quote=True)
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers in a range, about so many."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class Shown:
    """A picture in the gallery: a line about it, and (what it is, data URI) of each of its images."""

    about: str
    images: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Gallery:
    """Pictures under headings."""

    title: str
    parts: tuple[tuple[str, tuple[Shown, ...]], ...]


def gain(row: Row) -> float:
    """By how many dB a result is better than its composite."""
    return row.after.psnr - row.before.psnr


def gallery(system: System, pairs: Sequence[Pair], count: int) -> Gallery:
    """Run the `count` worst and best pictures of a system's first pass again, to show them.

    Raises:
        HarmonyError: as the run itself.
    """
    rows = sorted(system.first_pass, key=gain)
    worst = rows[: min(count, (len(rows) + 1) // 2)]
    best = rows[::-1][: min(count, len(rows) // 2)]
    cases = _again(system, [*worst, *best], pairs)
    shown = [Shown(_about(row), images_of(case)) for row, case in zip([*worst, *best], cases, strict=True)]
    parts = (("Least improved", tuple(shown[: len(worst)])), ("Most improved", tuple(shown[len(worst) :])))
    return Gallery(f"Pictures: {system.label}", tuple(part for part in parts if part[1]))


def differences(systems: Sequence[System], pairs: Sequence[Pair], count: int) -> Gallery | None:
    """The pictures on which systems disagree most, with every system's result; None where there is one system.

    Systems that are compared at another size than the first are left out. Errors as :func:`gallery`.
    """
    chosen = [one for one in systems if one.measured.about.size == systems[0].measured.about.size]
    if len(chosen) < 2:
        return None
    both = list(zip(*(one.first_pass for one in chosen), strict=True))
    psnrs = [[row.after.psnr for row in rows] for rows in both]
    order = sorted(range(len(both)), key=lambda n: min(psnrs[n]) - max(psnrs[n]))[:count]
    cases = [_again(one, [both[n][place] for n in order], pairs) for place, one in enumerate(chosen)]
    shown = []
    for k, n in enumerate(order):
        figures = ", ".join(f"{one.label} {value:.2f} dB" for one, value in zip(chosen, psnrs[n], strict=True))
        first = cases[0][k]
        results = [(one.label, _data_uri(made[k].result)) for one, made in zip(chosen, cases, strict=True)]
        images = (("composite", _data_uri(first.composite)), *results, ("truth", _data_uri(first.real)))
        shown.append(Shown(f"{_name(both[n][0])}: {figures}", images))
    return Gallery("Where engines differ most", (("Results side by side", tuple(shown)),))


def _again(system: System, rows: Sequence[Row], pairs: Sequence[Pair]) -> list[Case]:
    run = system.measured.run
    by_name = {(pair.subset, pair.name): pair for pair in pairs}
    with opened(replace(run, seeds=run.seeds[:1])) as again:
        return [again.case(by_name[row.subset, row.name], row.seed) for row in rows]


def _name(row: Row) -> str:
    return f"{row.subset}/{row.name}" if row.subset else row.name


def _about(row: Row) -> str:
    return (
        f"{_name(row)}: PSNR {row.before.psnr:.2f} to {row.after.psnr:.2f} dB ({gain(row):+.2f}),"
        f" fMSE {row.before.fmse:.1f} to {row.after.fmse:.1f}, foreground {row.after.ratio:.1%}"
    )


def images_of(case: Case) -> tuple[tuple[str, str], ...]:
    """Composite, mask, result, truth and error, as data URIs."""
    error = np.abs(np.asarray(case.result, float) - np.asarray(case.real, float)).mean(2) * ERROR_GAIN
    images = {
        "composite": case.composite,
        "mask": case.mask,
        "result": case.result,
        "truth": case.real,
        f"error x{ERROR_GAIN}": _heat(error),
    }
    return tuple((name, _data_uri(pixels)) for name, pixels in images.items())


def _heat(error: np.ndarray) -> np.ndarray:
    places = np.linspace(0, 255, len(_HEAT))
    return np.stack([np.interp(error, places, channel) for channel in _HEAT.T], axis=-1)


def _data_uri(pixels: np.ndarray) -> str:
    image = Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
