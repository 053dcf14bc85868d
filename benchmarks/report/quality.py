"""The model card's tables of quality, from the JSON that ``python -m harmonyrt.training.robustness --json`` writes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BEFORE, SHIPPED = "quality-before.json", "quality-shipped.json"
"""Committed reports: the first weights and the shipped ones, on the same composites."""
CASES = (
    "exact, leaking",
    "exact, mask shrunk by 1",
    "exact, mask grown by 1",
    "in place",
    "moved",
    "moved, mask shrunk by 1",
    "moved, mask grown by 1",
    "moved, mask shrunk by 2",
    "moved, mask a polygon",
    "moved, foreign scene",
    "moved, grey scene",
    "leak probe, exact",
    "leak probe, moved",
)
BINS = (
    ("foreground", "0-5%"),
    ("foreground", "5-15%"),
    ("foreground", "15-100%"),
    ("fMSE", "0-300"),
    ("fMSE", "1000-3000"),
    ("fMSE", "3000+"),
    ("scene's luminance", "0-0.25"),
    ("scene's luminance", "0.5+"),
)
FOLLOWED = ("+1 EV", "-1 EV", "-2 EV", "warm", "cool")
OFF = tuple(f"moved, mask {way} by {pixels}" for way in ("shrunk", "grown") for pixels in (1, 2))
FINE = "moved, mask off by 2 of 768"

Figure = Callable[[dict], str]


def quality(folder: Path) -> str:
    """Both tables of the model card, as Markdown; empty if a report is missing.

    Args:
        folder: of the committed reports.
    """
    if not all((folder / name).is_file() for name in (BEFORE, SHIPPED)):
        return ""
    reports = [json.loads((folder / name).read_text(encoding="utf-8")) for name in (BEFORE, SHIPPED)]
    lines = ["| | before | these |", "|---|---|---|"]
    lines += [f"| {name} | {figure(reports[0])} | {figure(reports[1])} |" for name, figure in _measured(reports[1])]
    lines += ["", "What was aimed at, and whether it was reached:", ""]
    lines += ["| | before | these | aimed at |", "|---|---|---|---|"]
    for aim in _AIMS:
        lines.append(f"| {aim.name} | {aim.figure(reports[0])} | {aim.figure(reports[1])} | {aim.text(reports[1])} |")
    return "\n".join(lines)


def _measured(report: dict) -> list[tuple[str, Figure]]:
    """Rows of the first table: a name, and what to print of a report."""
    rows: list[tuple[str, Figure]] = [(name, _case(name)) for name in CASES]
    rows += [(f"{name}: PSNR", _psnr(name)) for name in ("unchanged", "unchanged, moved")]
    rows += [("answer moves by, mask off by 2 of 768 px", _moves)]
    rows += [(f"object follows {' / '.join(FOLLOWED)}", _follows(*FOLLOWED))]
    for kind, name in BINS:
        rows.append((f"moved, {kind} {name} ({report['bins'][kind][name]['pictures']})", _bin(kind, name)))
    return rows


def _row(row: dict) -> str:
    return f"{row['ratio']:.2f}, {_percent(row['worse'])}, {row['share']:.2f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _case(name: str) -> Figure:
    return lambda report: _row(report["cases"][name])


def _bin(kind: str, name: str) -> Figure:
    return lambda report: _row(report["bins"][kind][name])


def _ratio(*names: str) -> Figure:
    """Mean of some cases' ratios."""
    return lambda report: f"{sum(report['cases'][name]['ratio'] for name in names) / len(names):.2f}"


def _psnr(name: str) -> Figure:
    return lambda report: f"{report['cases'][name]['psnr']:.1f} dB"


def _moves(report: dict) -> str:
    return f"{report['cases'][FINE]['moves']:.2f}"


def _follows(*lights: str) -> Figure:
    return lambda report: " / ".join(f"{report['follows'][light]:.2f}" for light in lights)


def _worse(report: dict) -> str:
    shares = [report["cases"][name]["worse"] for name in ("moved", "in place", *OFF)]
    return f"{100 * min(shares):.0f} to {_percent(max(shares))}"


def _share(report: dict) -> str:
    return f"{report['cases']['moved']['share']:.2f}"


def _foreign(report: dict) -> str:
    cases = report["cases"]
    return f"{round(cases['moved, foreign scene']['ratio'] - cases['moved']['ratio'], 2) + 0.0:.2f}"


@dataclass(frozen=True)
class _Aim:
    """A figure and its limits: one for all its numbers, or one each."""

    name: str
    figure: Figure
    limits: tuple[float, ...]
    unit: str = ""
    at_most: bool = True

    def text(self, report: dict) -> str:
        limits = " / ".join(f"{limit:g}" for limit in self.limits) + self.unit
        return f"{'at most' if self.at_most else 'at least'} {limits}{', reached' if self._reached(report) else ''}"

    def _reached(self, report: dict) -> bool:
        found = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", self.figure(report))]
        limits = self.limits if len(self.limits) > 1 else self.limits * len(found)
        pairs = zip(found, limits, strict=True)
        return all(number <= limit if self.at_most else number >= limit for number, limit in pairs)


_EASY = ("+1 EV", "-1 EV", "warm", "cool")
_AIMS = (
    _Aim("moved", _ratio("moved"), (0.52,)),
    _Aim("in place", _ratio("in place"), (0.5,)),
    _Aim("moved, masks off by 1 and 2 px", _ratio(*OFF), (0.58,)),
    _Aim("made worse, all of these", _worse, (12,), " %"),
    _Aim("share of the needed change", _share, (0.45,), at_most=False),
    _Aim(f"the object follows {' / '.join(_EASY)}", _follows(*_EASY), (0.6, 0.6, 0.5, 0.5), at_most=False),
    _Aim("with a foreign scene instead of its own, moved is worse by", _foreign, (0.1,), at_most=False),
    _Aim("unchanged, moved", _psnr("unchanged, moved"), (36,), " dB", at_most=False),
    _Aim("answer moves by, mask off by 2 of 768 px", _moves, (0.25,)),
    _Aim("leak probe, moved", _ratio("leak probe, moved"), (0.85,), at_most=False),
)
