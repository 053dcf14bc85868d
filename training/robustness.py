"""Score weights on realistic composites: ``python -m harmonyrt.training.robustness WEIGHTS --data DIR``.

Prints a table, or JSON with ``--json``. The cases are in ``robustness_cases.py``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import write_json
from harmonyrt.common.program import run_program
from harmonyrt.evaluation.metrics import bin_name
from harmonyrt.models import load_phnet
from harmonyrt.training import relighting
from harmonyrt.training.losses import blend
from harmonyrt.training.pictures import Album, Split, find_pictures
from harmonyrt.training.robustness_cases import SEED, Case, cases, materials

SIZE = 128
WORSE_DB = 1.0
"""As elsewhere: a picture counts as made worse when its PSNR fell by more than this."""
FMSE_EDGES = (300.0, 1000.0, 3000.0)
LUMINANCE_EDGES = (0.25, 0.5)
BINNED = "moved"
"""The case whose figures are broken down."""


@dataclass
class Row:
    """Figures of one case; see :func:`figures`."""

    pictures: int
    ratio: float | None
    gain: float
    worse: float
    share: float | None
    psnr: float
    moves: float | None = None


@torch.no_grad()
def answers(network: nn.Module, composite: Tensor, mask: Tensor, precision: str = "fp32", count: int = 16) -> Tensor:
    """Harmonized pictures (N,3,H,W), blended, in 8 bits, `count` at a time."""
    parts = []
    for first in range(0, len(composite), count):
        image, where = composite[first : first + count], mask[first : first + count]
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            output = network(image, where)
        parts.append(blend(output.float(), image, where))
    return (torch.cat(parts).clamp(0, 1) * 255).round() / 255


def figures(answer: Tensor, case: Case, base: Tensor | None = None, chosen: Tensor | None = None) -> Row:
    """Figures of the scored pixels.

    Args:
        answer: harmonized pictures of the case.
        case: its composites and truths.
        base: the answer to the case that this one is compared with, in this one's frame.
        chosen: (N,) bools, which pictures count; all by default.

    Returns:
        ``ratio`` of the mean fMSE after and before (None for unchanged pictures), ``gain`` in dB (mean of PSNR over the
        whole picture), ``worse`` (share of pictures that lost more than 1 dB), ``share`` of the needed change made
        (median; projection on truth minus composite; None for unchanged pictures), ``psnr`` after, and ``moves``: the
        distance from the base's answer, as a share of the change that the base's answer makes (root mean squares,
        median).
    """
    index = torch.arange(len(answer)) if chosen is None else chosen.nonzero().flatten()
    scored, composite, real = case.scored[index], case.composite[index], case.real[index]
    answer = answer[index]
    area = (3 * scored.sum((1, 2, 3))).clamp(min=1)

    def inside(product: Tensor) -> Tensor:
        return (product * scored).sum((1, 2, 3)) / area

    after, before = inside((answer - real).square()), inside((composite - real).square())
    pixels = composite[0].numel()
    decibels = lambda error: -10 * torch.log10(error * area / pixels + 1e-6 / 255**2)  # noqa: E731
    psnr, gain = decibels(after), decibels(after) - decibels(before)
    needed = before > (1 / 255) ** 2
    share = inside((answer - composite) * (real - composite)) / before.clamp(min=1e-9)
    moves = None
    if base is not None:
        change = inside((base[index] - composite).square()).sqrt()
        moves = float((inside((answer - base[index]).square()).sqrt() / change.clamp(min=2 / 255)).median())
    changed = bool(needed.any())
    return Row(
        len(index),
        round(float(after.sum() / before.sum()), 4) if changed else None,
        round(float(gain.mean()), 2),
        round(float((gain < -WORSE_DB).float().mean()), 4),
        round(float(share[needed].median()), 3) if changed else None,
        round(float(psnr.mean()), 2),
        None if moves is None else round(moves, 3),
    )


def _bins(answer: Tensor, case: Case) -> dict[str, dict[str, dict]]:
    """The case's figures by foreground ratio, by how wrong the composite is, and by the scene's luminance."""
    area = (3 * case.scored.sum((1, 2, 3))).clamp(min=1)
    fmse = ((case.composite - case.real).square() * case.scored).sum((1, 2, 3)) / area * 255**2
    scene = 1 - case.mask
    brightness = (case.composite.mean(1, keepdim=True) * scene).sum((1, 2, 3)) / scene.sum((1, 2, 3)).clamp(min=1)
    luminance = brightness.tolist()
    ratios = case.mask.mean((1, 2, 3)).tolist()
    labels = {
        "foreground": [bin_name(ratio) for ratio in ratios],
        "fMSE": [_interval(value, FMSE_EDGES) for value in fmse.tolist()],
        "scene's luminance": [_interval(value, LUMINANCE_EDGES) for value in luminance],
    }
    found: dict[str, dict[str, dict]] = {}
    for kind, names in labels.items():
        found[kind] = {}
        for name in sorted(set(names), key=lambda text: float(text.split("-")[0].rstrip("%+"))):
            chosen = torch.tensor([one == name for one in names])
            found[kind][name] = asdict(figures(answer, case, chosen=chosen))
    return found


def _interval(value: float, edges: Sequence[float]) -> str:
    bounds = [0.0, *edges]
    place = sum(value >= edge for edge in edges)
    return f"{bounds[place]:g}-{edges[place]:g}" if place < len(edges) else f"{edges[-1]:g}+"


def suite(
    network: nn.Module,
    root: str | Path,
    split: Split = "val",
    size: int = SIZE,
    only: str = "",
    seed: int = SEED,
    precision: str = "fp32",
) -> dict:
    """The figures of every case.

    Args:
        network: a PHNet in eval mode.
        root: data root.
        split: choose by validation; read the test split once.
        size: side of the pictures, a multiple of 8.
        only: what a case's name must contain; bases are run as well.
        seed: of the layered composites.
        precision: ``"fp32"``, or ``"bf16"``: faster on CPUs that have it, with nearly the same figures.

    Returns:
        ``cases`` by name, ``bins`` of the moved objects, ``follows`` (:func:`relighting.following`), and the settings.
    """
    pictures = [p for p in find_pictures(root) if p.split == split and p.mask is not None]
    if not pictures:
        raise HarmonyError(
            f"{root} has no pictures with masks in its {split} split; give a folder with images/ and masks/"
        )
    made = materials(Album(pictures), size, seed)
    bases: dict[str, Tensor] = {}
    report: dict = {"split": split, "size": size, "seed": seed, "precision": precision, "pictures": len(pictures)}
    report["cases"] = {}
    for case in cases(made):
        is_base = case.name in ("exact, leaking", "moved")
        if only not in case.name and not is_base:
            continue
        answer = answers(network, case.composite, case.mask, precision)
        if is_base:
            bases[case.name] = answer
        base = None if case.base is None else case.reframe(bases[case.base])
        report["cases"][case.name] = asdict(figures(answer, case, base))
        if case.name == BINNED:
            report["bins"] = _bins(answer, case)
    if not only or only in "relit":
        report["follows"] = relighting.following(
            made.moved[0], lambda image, mask: answers(network, image, mask, precision)
        )
    return report


def table(report: dict) -> str:
    """A report as a Markdown table."""
    lines = [
        f"{report['pictures']} pictures of the {report['split']} split at {report['size']} px",
        "",
        "| | images | fMSE ratio | gain | worse | share of the change made | PSNR | answer moves by |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows = list(report["cases"].items())
    for kind, found in report.get("bins", {}).items():
        rows += [(f"{BINNED}, {kind} {name}", row) for name, row in found.items()]
    for name, row in rows:
        shown = (
            "" if row["ratio"] is None else f"{row['ratio']:.2f}",
            "" if row["ratio"] is None else f"{row['gain']:+.2f} dB",
            "" if row["ratio"] is None else f"{row['worse']:.0%}".replace("%", " %"),
            "" if row["ratio"] is None else f"{row['share']:.2f}",
            f"{row['psnr']:.1f} dB",
            "" if row["moves"] is None else f"{row['moves']:.2f}",
        )
        lines.append(f"| {name} | {row['pictures']} | " + " | ".join(shown) + " |")
    if "follows" in report:
        lines += ["", "| the object follows its scene | " + " | ".join(report["follows"]) + " |"]
        lines += ["|---" * (len(report["follows"]) + 1) + "|"]
        lines += ["| by | " + " | ".join(f"{share:.2f}" for share in report["follows"].values()) + " |"]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description="Score PHNet weights on composites as they occur in practice.")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder of pictures and masks")
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--size", type=int, default=SIZE, help=f"side in pixels, a multiple of 8 (default: {SIZE})")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains it")
    parser.add_argument(
        "--precision", choices=("fp32", "bf16"), default="fp32", help="bf16 is faster where CPUs have it"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--output", choices=("sigmoid", "residual"), help="for files that do not say")
    options = parser.parse_args(arguments)

    def score() -> None:
        if options.size < 32 or options.size % 8:
            raise HarmonyError(f"size {options.size} is not a multiple of 8 from 32 on; choose another, such as 128")
        network = load_phnet(options.weights, options.output)
        report = {"weights": options.weights.name} | suite(
            network, options.data, options.split, options.size, options.only, precision=options.precision
        )
        if options.json is not None:
            write_json(options.json, report)
        print(table(report))

    return run_program(score)


if __name__ == "__main__":
    sys.exit(main())
