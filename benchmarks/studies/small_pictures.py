"""What a picture smaller than the engine keeps of its detail, and how close it comes to the photo: the measurement
behind the small-size rule of runtime/transfer.py.

    python benchmarks/studies/small_pictures.py --data FOLDER --bundle BUNDLE --json results/small_pictures.json

FOLDER has images/ and masks/ of the same names. Each photo is reduced to a longer side of 100 to 300 pixels, its
foreground is given other colours (as upsample_edit.py does), and the network's picture is brought back to its size in
three ways. *Detail*: share of the composite's Laplacian inside the mask that is left in place (1: all). *Photo*: PSNR
of the foreground against the photo. *Network*: PSNR of the foreground against the network's own picture, both reduced
to a quarter, so that lost detail does not count.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
from PIL import Image

from harmonyrt.benchmarks.studies.upsample_edit import CHANGES, _changed
from harmonyrt.common.files import write_json
from harmonyrt.runtime import Harmonizer, colour_maps, transfer
from harmonyrt.runtime.fit import Fitted, fit
from harmonyrt.runtime.machine import machine_name
from harmonyrt.runtime.resample import resample

SIDES = (100, 200, 250, 256, 257, 300)
MEASURES = ("detail", "photo", "network")


def resized_picture(composite: np.ndarray, mask: np.ndarray, fitted: Fitted, output: np.ndarray) -> np.ndarray:
    """The network's picture itself, resized: what the runtime did once with pictures smaller than the engine."""
    target = resample(np.clip(output, 0, 1).transpose(1, 2, 0), *mask.shape) * 255
    blended = composite + (target - composite) * (mask[..., None] / np.float32(255))
    return np.clip(np.floor(blended + 0.5), 0, 255).astype(np.uint8)


def resized_difference(composite: np.ndarray, mask: np.ndarray, fitted: Fitted, output: np.ndarray) -> np.ndarray:
    """What the network added, resized, on top of the composite."""
    change = resample((np.clip(output, 0, 1) - fitted.image).transpose(1, 2, 0), *mask.shape) * 255
    moved = composite + change * (mask[..., None] / np.float32(255))
    return np.clip(np.floor(moved + 0.5), 0, 255).astype(np.uint8)


Way = Callable[[np.ndarray, np.ndarray, Fitted, np.ndarray], np.ndarray]
WAYS: dict[str, Way] = {
    "network's picture, resized": resized_picture,
    "difference, resized": resized_difference,
    "colour maps": lambda c, m, f, o: transfer.apply_maps(c, m, colour_maps.fit_maps(f, o)),
}


def detail(picture: np.ndarray) -> np.ndarray:
    """The Laplacian of the channels' mean, without the outermost pixels."""
    p = picture.astype(np.float32).mean(-1)
    return 4 * p[1:-1, 1:-1] - p[:-2, 1:-1] - p[2:, 1:-1] - p[1:-1, :-2] - p[1:-1, 2:]


def psnr(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    """PSNR in dB of levels from 0 to 255."""
    return float(10 * np.log10(255**2 / max(float(np.mean((a[where].astype(np.float32) - b[where]) ** 2)), 0.02)))


def measure(photo: np.ndarray, mask: np.ndarray, change: str, seed: list[int], network: Harmonizer) -> dict | None:
    """Scores by way, or None where the foreground is too small for them."""
    hard = mask > 127
    inner = hard[2:-2, 2:-2].copy()
    for down in range(5):
        for across in range(5):
            inner &= hard[down : down + len(inner), across : across + inner.shape[1]]
    inner = np.pad(inner, 1)  # two pixels inside the mask; `detail` has lost the outermost pixel
    if inner.sum() < 200:
        return None
    x, coverage = photo.astype(np.float32) / 255, mask[..., None] / np.float32(255)
    changed = np.clip(_changed(x, mask, change, np.random.default_rng(seed)), 0, 1)
    composite = ((x + coverage * (changed - x)) * 255 + 0.5).astype(np.uint8)
    side = network.info.size
    assert side is not None, "main takes bundles of one size only"
    fitted = fit(composite, mask, side, True)
    output = network.run_tensor(fitted.image[None], fitted.network_mask[None, None])[0]
    own = resized_picture(composite, mask, fitted, output)
    height, width = (max(1, n // 4) for n in mask.shape)
    few = resample(mask[..., None], height, width)[..., 0] > 250
    before = detail(composite)[inner]
    scores = {}
    for name, way in WAYS.items():
        result = way(composite, mask, fitted, output)
        after = detail(result)[inner]
        scores[name] = {
            "detail": float((before * after).sum() / max(float((before**2).sum()), 1e-9)),
            "photo": psnr(result, photo, hard),
            "network": psnr(resample(result, height, width), resample(own, height, width), few) if few.any() else None,
        }
    scores["composite"] = {"photo": psnr(composite, photo, hard)}
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and masks/")
    parser.add_argument("--bundle", type=Path, required=True, help="a bundle of one size")
    parser.add_argument("--most", type=int, default=100, help="photos at most")
    parser.add_argument("--json", type=Path, help="where to write the scores")
    arguments = parser.parse_args()
    network = Harmonizer.open(arguments.bundle)
    if network.info.size is None:
        sys.exit(f"{arguments.bundle} takes any size; give a bundle of one size")
    found: dict[int, list[dict]] = {side: [] for side in SIDES}
    for number, path in enumerate(sorted((arguments.data / "images").iterdir())[: arguments.most]):
        photo = Image.open(path).convert("RGB")
        mask = Image.open(arguments.data / "masks" / f"{path.stem}.png").convert("L")
        for side in SIDES:
            scale = side / max(photo.size)
            size = [max(16, round(n * scale)) for n in photo.size]
            small, its_mask = (np.asarray(p.resize(size, Image.Resampling.LANCZOS)) for p in (photo, mask))
            scores = measure(small, its_mask, CHANGES[number % len(CHANGES)], [number, 7], network)
            if scores is not None:
                found[side].append(scores)
        print(f"{number + 1}: {path.name}", file=sys.stderr, flush=True)
    means = {str(side): _mean(rows) for side, rows in found.items() if rows}
    print(table(means))
    if arguments.json:
        report = {
            "what": "pictures of about the engine's size: share of detail left, foreground PSNR in dB",
            "command": "python benchmarks/studies/small_pictures.py --data DATA --bundle BUNDLE --json FILE",
            "machine": machine_name(),
            "date": str(date.today()),
            "versions": {"python": platform.python_version(), "numpy": np.__version__},
            "bundle": Path(network.info.bundle).name,
            "engine_side": network.info.size[0],
            "pictures": {side: len(rows) for side, rows in found.items()},
            "mean": means,
        }
        write_json(arguments.json, report)


def _mean(rows: list[dict]) -> dict[str, dict[str, float]]:
    means: dict[str, dict[str, float]] = {}
    for way in rows[0]:
        values = {m: [r[way][m] for r in rows if r[way].get(m) is not None] for m in MEASURES}
        means[way] = {m: round(float(np.mean(v)), 3) for m, v in values.items() if v}
    return means


def table(means: dict[str, dict[str, dict[str, float]]]) -> str:
    """The means as Markdown, for docs/full_resolution.md."""
    ways = list(WAYS)
    lines = ["| longer side, px | composite, photo | " + " | ".join(f"{way}: {m}" for way in ways for m in MEASURES)]
    lines[0] += " |"
    lines.append("|---|" + "---|" * (1 + len(ways) * len(MEASURES)))
    for side, row in means.items():
        cells = [f"{row['composite']['photo']:.2f}"]
        for way in ways:
            cells += [f"{row[way]['detail']:.0%}", f"{row[way]['photo']:.2f}", f"{row[way]['network']:.1f}"]
        lines.append("| " + " | ".join([side, *cells]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
