"""Score weights on fixed composites: ``python -m harmonyrt.training.scoring WEIGHTS --data DIR`` prints JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from harmonyrt.common import HarmonyError
from harmonyrt.common.program import run_program
from harmonyrt.evaluation import metrics
from harmonyrt.models import load_phnet
from harmonyrt.training.composites import Batch, Composer
from harmonyrt.training.losses import blend
from harmonyrt.training.pictures import Album, Split, find_pictures
from harmonyrt.training.plan import SAME_PLAN, TEST_PLAN, CompositePlan

SIZE = 256
SEED = 7
"""Of the fixed composites: their figures are comparable only as long as it stays. Others draw other changes."""
WORSE_DB = 1.0
"""A picture counts as spoilt when its PSNR fell by more than this."""


def fixed_composites(root: str | Path, split: Split, size: int = SIZE, seeds: Sequence[int] = (SEED,)) -> list[Batch]:
    """A composite per seed for every picture with a mask in a split, in batches of 8; the same ones every time."""
    album = _held_out(root, split)
    return [batch for seed in seeds for batch in _drawn(album, size, TEST_PLAN, seed)]


def _held_out(root: str | Path, split: Split) -> Album:
    pictures = [p for p in find_pictures(root) if p.split == split and p.mask is not None]
    if not pictures:
        raise HarmonyError(
            f"{root} has no pictures with masks in its {split} split; give a folder with images/ and masks/"
        )
    return Album(pictures)


def _drawn(album: Album, size: int, plan: CompositePlan, seed: int) -> list[Batch]:
    whole = Composer(album, plan).batch(size, len(album), [seed], range(len(album)))
    cut = lambda n: slice(n, n + 8)  # noqa: E731
    return [
        Batch(whole.composite[cut(n)], whole.mask[cut(n)], whole.real[cut(n)], whole.kinds[cut(n)])
        for n in range(0, len(album), 8)
    ]


@torch.no_grad()
def harmonized(network: nn.Module, batch: Batch, precision: str = "fp32") -> Tensor:
    """Blended and clipped output (B,3,H,W) on the CPU, network in eval mode and left in the mode it was in."""
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            output = network(batch.composite.to(device), batch.mask.to(device))
    finally:
        network.train(was_training)
    return blend(output.float().cpu(), batch.composite, batch.mask).clamp(0, 1)


def _scores(pictures: Tensor, batch: Batch) -> list[metrics.Score]:
    def pixels(t: Tensor) -> np.ndarray:  # 8 bits, as a user would save them
        return (t * 255).round().byte().permute(0, 2, 3, 1).numpy()

    rows = zip(pixels(pictures), pixels(batch.real), batch.mask[:, 0].numpy(), strict=True)
    return [metrics.score(*row) for row in rows]


def compare(network: nn.Module, batches: Iterable[Batch], precision: str = "fp32") -> dict:
    """Figures of the composites and of the harmonized pictures.

    Returns:
        ``composite`` and ``harmonized``: means of mse, fmse, psnr, fpsnr; ``fmse_ratio``, ``psnr_gain`` (dB) and
        ``worse`` (share of pictures whose PSNR fell by more than 1 dB); the same by ``bins`` of the foreground ratio
        and by ``kinds`` of change.
    """
    before, after, kinds = [], [], []
    for batch in batches:
        before += _scores(batch.composite, batch)
        after += _scores(harmonized(network, batch, precision), batch)
        kinds += batch.kinds
    bins = [metrics.bin_name(s.ratio) for s in before]
    return {
        **_summary(before, after),
        "bins": {name: _summary(*_chosen(before, after, bins, name)) for name in sorted(set(bins), key=_lower_edge)},
        "kinds": {name: _summary(*_chosen(before, after, kinds, name)) for name in sorted(set(kinds))},
    }


def _lower_edge(name: str) -> float:
    return float(name.split("-")[0])


def _chosen(before, after, labels, label):
    chosen = [n for n, name in enumerate(labels) if name == label]
    return [before[n] for n in chosen], [after[n] for n in chosen]


def _summary(before: list[metrics.Score], after: list[metrics.Score]) -> dict:
    a, b = metrics.average(before), metrics.average(after)
    worse = [y.psnr < x.psnr - WORSE_DB for x, y in zip(before, after, strict=True)]
    return {
        "pictures": len(before),
        "composite": {k: round(a[k], 3) for k in ("mse", "fmse", "psnr", "fpsnr")},
        "harmonized": {k: round(b[k], 3) for k in ("mse", "fmse", "psnr", "fpsnr")},
        "fmse_ratio": round(b["fmse"] / a["fmse"], 4) if a["fmse"] > 0.01 else None,
        "psnr_gain": round(b["psnr"] - a["psnr"], 3),
        "worse": round(sum(worse) / len(worse), 4),
    }


def evaluate_split(
    network: nn.Module, root: str | Path, split: Split = "test", size: int = SIZE, seeds: Sequence[int] = (SEED,)
) -> dict:
    """:func:`compare` on the fixed composites of a split, and under ``unchanged`` on the same pictures left alone.

    For unchanged pictures ``harmonized`` says what the network spoils: the composite is perfect. Several seeds give
    every picture as many composites, and the figures are of all of them together: one draw of a small split says little
    about the share of spoilt pictures.
    """
    if min(seeds) < 0:
        raise HarmonyError(f"a seed is a whole number from 0 on, not {min(seeds)}")
    album = _held_out(root, split)
    composites = chain.from_iterable(_drawn(album, size, TEST_PLAN, seed) for seed in seeds)
    report = {"split": split, "size": size, "seeds": list(seeds), **compare(network, composites)}
    unchanged = compare(network, _drawn(album, size, SAME_PLAN, SEED))  # nothing in them is drawn
    report["unchanged"] = {"pictures": unchanged["pictures"], "harmonized": unchanged["harmonized"]}
    return report


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Score PHNet weights on the fixed composites of a data root's split.")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder of pictures and masks")
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[SEED],
        metavar="N",
        help=f"of the composites' changes; several are scored together (default: {SEED})",
    )
    parser.add_argument("--output", choices=("sigmoid", "residual"), help="for files whose metadata does not say")
    options = parser.parse_args(arguments)

    def score() -> None:
        network = load_phnet(options.weights, options.output)
        report = evaluate_split(network, options.data, options.split, options.size, options.seeds)
        print(json.dumps(report, indent=1))

    return run_program(score)


if __name__ == "__main__":
    sys.exit(main())
