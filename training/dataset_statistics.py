"""A dataset's statistics as figure 1 of the PHNet paper: ``python -m harmonyrt.training.dataset_statistics DATA``.

Prints JSON: foreground ratios and pixel brightness as histograms, the shares of the papers' bins, mean and deviation of
the channels. DATA is a data root or a dataset of pairs in iHarmony4's layout, or a folder of its subsets.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import require
from harmonyrt.common.files import written_whole
from harmonyrt.common.program import run_program
from harmonyrt.evaluation import metrics
from harmonyrt.runtime.images.mask_files import read_mask_file
from harmonyrt.training.loading import PairedDataset
from harmonyrt.training.pictures import find_pictures

RATIO_BINS = 20
LUMA = (0.299, 0.587, 0.114)
LARGEST_SIDE = 512
"""Pixels: larger pictures are measured scaled down, which changes none of these figures visibly."""


def pairs(root: Path, split: str | None) -> Iterator[tuple[Path, Path]]:
    """Real picture and mask of every sample; None is all splits.

    Raises:
        HarmonyError: no dataset, or none of the split has a mask.
    """
    found = False
    if PairedDataset.is_one(root):
        listed = [name for name in ("train", "val", "test") if PairedDataset.has(root, name)]
        for name in listed if split is None else (split,):
            dataset = PairedDataset(root, name)
            for index in range(len(dataset)):
                _, mask, real = dataset.paths(index)
                found = True
                yield real, mask
    else:
        for picture in find_pictures(root):
            if picture.mask is not None and split in (None, picture.split):
                found = True
                yield picture.image, picture.mask
    if not found:
        raise HarmonyError(f"{root} has no pictures with masks; give a folder with images/ and masks/, or pairs")


def statistics(root: Path, split: str | None = None) -> dict:
    """Figure 1 of a dataset.

    Args:
        root: the dataset.
        split: ``"train"``, ``"val"`` or ``"test"``; None is all of it.

    Returns:
        ``pictures``; ``foreground_ratio``: mean, median, least, shares by the papers' ``bins`` and a ``histogram`` of
        20 equal bins; ``brightness`` (0-255): mean, deviation, ``histogram`` of 256; ``channels``: mean and deviation
        of R, G and B in [0, 1]. Every picture counts the same; ratios are of masks cut at one half.
    """
    ratios: list[float] = []
    brightness = np.zeros(256)
    sums, squares = np.zeros(3), np.zeros(3)
    for real, mask in pairs(root, split):
        photo, area = _photo(real), _mask(mask)
        ratios.append(metrics.foreground_ratio(area))
        luma = np.round(photo @ np.array(LUMA)).astype(np.int64)
        brightness += np.bincount(luma.ravel(), minlength=256) / luma.size
        pixels = photo.reshape(-1, 3) / 255
        sums += pixels.mean(0)
        squares += np.square(pixels).mean(0)
    count = len(ratios)
    share = brightness / count
    levels = np.arange(256)
    mean = float(share @ levels)
    names = [metrics.bin_name(ratio) for ratio in ratios]
    means = sums / count
    return {
        "pictures": count,
        "foreground_ratio": {
            "mean": round(float(np.mean(ratios)), 4),
            "median": round(float(np.median(ratios)), 4),
            "least": round(min(ratios), 4),
            "bins": {
                name: round(names.count(name) / count, 4)
                for name in sorted(set(names), key=lambda name: float(name.split("-")[0]))
            },
            "histogram": np.histogram(ratios, RATIO_BINS, (0, 1))[0].tolist(),
        },
        "brightness": {
            "mean": round(mean, 2),
            "deviation": round(float(np.sqrt(share @ (levels - mean) ** 2)), 2),
            "histogram": np.round(share, 6).tolist(),
        },
        "channels": {
            "mean": np.round(means, 4).tolist(),
            "deviation": np.round(np.sqrt(np.maximum(squares / count - means**2, 0)), 4).tolist(),
        },
    }


def _photo(path: Path) -> np.ndarray:
    """By Pillow, which decodes a JPEG straight to a smaller size; how it is turned does not matter here."""
    try:
        with Image.open(path) as file:
            file.draft("RGB", (LARGEST_SIDE, LARGEST_SIDE))
            photo = file.convert("RGB")
    except OSError as error:
        raise HarmonyError(f"{path} cannot be read as a picture ({error}); remove it or replace it") from None
    photo.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    return np.asarray(photo)


def _mask(path: Path) -> np.ndarray:
    mask = Image.fromarray(read_mask_file(path).values)
    mask.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    return np.asarray(mask)


def draw(found: dict, path: Path) -> None:
    """Both histograms, as PNG or SVG by the suffix of `path`."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise HarmonyError(f"{path} cannot be drawn; give a name that ends in .png or .svg")
    matplotlib = require("matplotlib", "train", "drawing statistics")
    matplotlib.use("Agg")
    pyplot = require("matplotlib.pyplot", "train", "drawing statistics")
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
    left.stairs(found["brightness"]["histogram"], np.arange(257), fill=True)
    left.set_xlabel(f"brightness (mean {found['brightness']['mean']:.0f})")
    left.set_ylabel("share of pixels")
    right.stairs(found["foreground_ratio"]["histogram"], np.linspace(0, 1, RATIO_BINS + 1), fill=True)
    right.set_xlabel(f"foreground ratio (mean {found['foreground_ratio']['mean']:.0%})")
    right.set_ylabel("pictures")
    kind = path.suffix.lower()[1:]
    with written_whole(path) as scratch:
        figure.savefig(scratch, format=kind, dpi=100, metadata={"Date": None} if kind == "svg" else {"Software": None})
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description="Foreground ratios, brightness and colours of a dataset, as JSON.")
    parser.add_argument("data", type=Path, help="photos and masks, or pairs in iHarmony4's layout")
    parser.add_argument("--split", choices=("train", "val", "test"), help="default: all of them")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the histograms too (.png, .svg)")
    options = parser.parse_args(arguments)

    def work() -> None:
        found = statistics(options.data, options.split)
        if options.plot is not None:
            draw(found, options.plot)
        print(json.dumps(found, indent=1))

    return run_program(work)


if __name__ == "__main__":
    sys.exit(main())
