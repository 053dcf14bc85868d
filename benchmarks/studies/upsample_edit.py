"""Which way of upsampling a small edit to full resolution loses least: the measurement behind runtime/transfer.py.

    python -m harmonyrt.benchmarks.studies.upsample_edit --photos FOLDER [--masks FOLDER] [--bundle BUNDLE] --json FILE

Each photo gets a foreground (every third a wavy ellipse, the others masks from --masks) whose colours are changed in a
known way, so that the photo itself is the truth. Every way gets the composite and, in place of a network's output, the
truth at engine size (`exact`), or that blurred, tinted unevenly and with noise (`like a network`), and is scored at
full resolution: PSNR against the photo at 60 000 foreground pixels drawn at random, and at 30 000 by the mask's edge.
With --bundle, a third series takes the output of a real network and says how far each way stays from it at engine size.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from PIL import Image

from harmonyrt.common.files import write_json
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime import colour_maps as runtime_maps
from harmonyrt.runtime.fit import Fitted, fit
from harmonyrt.runtime.machine import machine_name
from harmonyrt.runtime.resample import resample

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
CHANGES = ("gain", "curve", "statistics", "hue", "light")

Colour = Callable[[np.ndarray, "Points"], np.ndarray]
"""(n,3) composite colours in [0, 1] and where they are -> (n,3) harmonized colours."""


@dataclass(frozen=True)
class Points:
    """Pixels of a picture: positions in [0, 1] and colours in [0, 1]."""

    down: np.ndarray
    across: np.ndarray
    composite: np.ndarray
    truth: np.ndarray
    coverage: np.ndarray


@dataclass(frozen=True)
class Case:
    """One photo with a changed foreground."""

    name: str
    change: str
    megapixels: float
    foreground: float
    composite: np.ndarray
    mask: np.ndarray
    small: Fitted
    small_truth: np.ndarray
    points: dict[str, Points]


# --- composites with a known truth


def cases(photos: list[Path], masks: list[Path], side: int, per_photo: int) -> Iterator[Case]:
    """Make the composites, one photo at a time."""
    for i, path in enumerate(photos):
        truth = np.asarray(Image.open(path).convert("RGB"))
        for j in range(per_photo):
            random = np.random.default_rng([i, j])
            change = CHANGES[(i + j) % len(CHANGES)]
            mask = _mask(i + j, (truth.shape[0], truth.shape[1]), masks, random)
            yield _case(path.name, truth, mask, change, side, random)


def _case(name: str, truth: np.ndarray, mask: np.ndarray, change: str, side: int, random: np.random.Generator) -> Case:
    x = truth.astype(np.float32) / 255
    coverage = mask.astype(np.float32)[..., None] / 255
    changed = np.clip(_changed(x, mask, change, random), 0, 1)
    composite = ((x + coverage * (changed - x)) * 255 + 0.5).astype(np.uint8)
    small = fit(composite, mask, (side, side), True)
    small_truth = resample(truth, side, side).transpose(2, 0, 1) / np.float32(255)
    height, width = mask.shape
    border = resample(small.mask[..., None], height, width)[..., 0]
    inside = np.flatnonzero(mask)
    edge = np.flatnonzero((border > 0.05) & (border < 0.95) & (mask > 127))
    points = {}
    for where, indices, count in (("foreground", inside, 60_000), ("edge", edge, 30_000)):
        at = random.choice(indices, count)
        points[where] = Points(
            (at // width + 0.5) / height,
            (at % width + 0.5) / width,
            composite.reshape(-1, 3)[at] / np.float32(255),
            truth.reshape(-1, 3)[at] / np.float32(255),
            mask.ravel()[at] / np.float32(255),
        )
    share = float((mask > 127).mean())
    return Case(name, change, truth[..., 0].size / 1e6, share, composite, mask, small, small_truth, points)


def _mask(i: int, shape: tuple[int, int], masks: list[Path], random: np.random.Generator) -> np.ndarray:
    height, width = shape
    if masks and i % 3:
        chosen = Image.open(masks[int(random.integers(len(masks)))]).convert("L")
        return np.asarray(chosen.resize((width, height), Image.Resampling.BICUBIC))
    centre, radius = random.uniform(0.3, 0.7, 2), random.uniform(0.12, 0.35, 2)
    down = ((np.arange(height, dtype=np.float32) + 0.5) / height - centre[0])[:, None] / radius[0]
    across = ((np.arange(width, dtype=np.float32) + 0.5) / width - centre[1])[None] / radius[1]
    border = 1 + 0.15 * np.sin(5 * np.arctan2(down, across) + random.uniform(0, 6))
    softness = 0.004 if i % 2 else 0.05
    return (np.clip((border - np.hypot(down, across)) / softness + 0.5, 0, 1) * 255 + 0.5).astype(np.uint8)


def _changed(x: np.ndarray, mask: np.ndarray, change: str, random: np.random.Generator) -> np.ndarray:
    if change == "gain":  # white balance and exposure
        return x * random.uniform(0.6, 1.4, 3).astype(np.float32)
    if change == "curve":
        return x ** (random.uniform(0.6, 1.6) * random.uniform(0.85, 1.18, 3)).astype(np.float32)
    if change == "statistics":  # as iHarmony4's colour transfer
        mean = x[mask > 127].mean(0)
        scale, shift = random.uniform(0.6, 1.3, 3), random.uniform(-0.15, 0.15, 3)
        return (x - mean) * scale.astype(np.float32) + mean + shift.astype(np.float32)
    if change == "hue":  # saturation, then a turn about the grey axis
        grey = (x @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
        angle, k = random.uniform(-0.5, 0.5), 1 / np.sqrt(3)
        cross = k * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
        turn = np.eye(3) * np.cos(angle) + (1 - np.cos(angle)) / 3 + np.sin(angle) * cross
        return (grey + (x - grey) * np.float32(random.uniform(0.3, 1.5))) @ turn.T.astype(np.float32)
    height, width = mask.shape  # light that falls from one side
    angle, strength = random.uniform(0, 2 * np.pi), 1.4 * random.uniform(0.4, 0.8)
    down, across = np.linspace(-0.5, 0.5, height)[:, None], np.linspace(-0.5, 0.5, width)[None]
    light = (1 + strength * (np.cos(angle) * across + np.sin(angle) * down)).astype(np.float32)[..., None]
    lit = np.clip(x * (light * random.uniform(0.8, 1.1, 3).astype(np.float32)), 0, 1)
    return lit ** np.float32(random.uniform(0.8, 1.2))


def like_a_network(truth: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """3 x H x W truth, blurred by about one pixel, with an uneven tint of 0.02 and noise of 0.01."""
    _, height, width = truth.shape
    blurred = resample(resample(truth.transpose(1, 2, 0), height // 2, width // 2), height, width)
    tint = resample(random.normal(0, 0.02, (height // 8, width // 8, 3)).astype(np.float32), height, width)
    noise = random.normal(0, 0.01, truth.shape).astype(np.float32)
    return np.clip(blurred.transpose(2, 0, 1) + tint.transpose(2, 0, 1) + noise, 0, 1)


# --- the ways


def _at(plane: np.ndarray, points: Points) -> np.ndarray:
    """Bilinear samples of a height x width x n plane."""
    height, width = plane.shape[:2]
    down = np.clip(points.down * height - 0.5, 0, height - 1)
    across = np.clip(points.across * width - 0.5, 0, width - 1)
    top, left = down.astype(int), across.astype(int)
    bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    v, u = (down - top)[:, None], (across - left)[:, None]
    above = plane[top, left] * (1 - u) + plane[top, right] * u
    return above * (1 - v) + (plane[bottom, left] * (1 - u) + plane[bottom, right] * u) * v


def _last(planes: np.ndarray) -> np.ndarray:
    return planes.transpose(1, 2, 0)


def upsampled(small: Fitted, output: np.ndarray) -> Colour:
    """The network's blended picture, resized: what the papers do."""
    blended = _last(small.image + small.mask * (output - small.image))
    return lambda colours, points: _at(blended, points)


def upsampled_change(small: Fitted, output: np.ndarray) -> Colour:
    """What the network added, resized within the mask, added to the full-size composite."""
    weight = small.mask[..., None] ** 2 + 1e-9
    change = _last(output - small.image) * weight
    return lambda colours, points: colours + _at(change, points) / _at(weight, points)


def guided_filter(small: Fitted, output: np.ndarray) -> Colour:
    """The fast guided filter as published, without weights: square windows of 17 pixels, averaged maps, prior 0."""
    x, y = _last(small.image), _last(output)
    side = len(x)
    near = (np.abs(np.arange(side)[:, None] - np.arange(side)) <= 8).astype(np.float32)
    near /= near.sum(1, keepdims=True)

    def mean(plane: np.ndarray) -> np.ndarray:
        return np.einsum("ij,jkc,lk->ilc", near, plane, near, optimize=True)

    mean_x, mean_y = mean(x), mean(y)
    scale = (mean(x * y) - mean_x * mean_y) / (mean(x * x) - mean_x**2 + 1e-3)
    shift = mean(mean_y - scale * mean_x)
    scale = mean(scale)
    return lambda colours, points: _at(scale, points) * colours + _at(shift, points)


def _from_maps(maps: runtime_maps.ColourMaps) -> Colour:
    shift = maps.shift / 255
    return lambda colours, points: _at(maps.scale, points) * (colours @ maps.matrix) + _at(shift, points)


def colour_maps(**settings: object) -> Callable[[Fitted, np.ndarray], Colour]:
    """The runtime's way, with some of its constants changed."""

    def way(small: Fitted, output: np.ndarray) -> Colour:
        kept = {name: getattr(runtime_maps, name) for name in settings}
        try:
            for name, value in settings.items():
                setattr(runtime_maps, name, value)
            return _from_maps(runtime_maps.fit_maps(small, output))
        finally:
            for name, value in kept.items():
                setattr(runtime_maps, name, value)

    return way


def local_matrices(small: Fitted, output: np.ndarray) -> Colour:
    """A 3x3 matrix and a shift for each cell of the same grid and window: nine scales where the runtime has three."""
    sums, mean_in, mean_out = runtime_maps._grid_sums(small.image, output, small.mask)
    windows = runtime_maps._window_sums(runtime_maps._window_sums(sums, 1), 2).transpose(1, 2, 0)
    n = windows[..., :1] + runtime_maps.FEW * small.mask.size / windows[..., 0].size
    x, y = windows[..., 1:4] / n, windows[..., 4:7] / n
    products = (windows[..., 13:22] / n).reshape(*n.shape[:2], 3, 3) - x[..., :, None] * y[..., None, :]
    squares = runtime_maps._symmetric(windows[..., 7:13] / n) - x[..., :, None] * x[..., None, :]
    ridge = 1e-3 * np.eye(3)
    start = runtime_maps.fit_maps(small, output).matrix
    matrices = np.linalg.solve(squares + ridge, products + ridge @ start)
    shift = y + mean_out - np.einsum("hwi,hwij->hwj", x + mean_in, matrices)
    flat = matrices.reshape(*n.shape[:2], 9)

    def colour(colours: np.ndarray, points: Points) -> np.ndarray:
        return np.einsum("ni,nij->nj", colours, _at(flat, points).reshape(-1, 3, 3)) + _at(shift, points)

    return colour


WAYS: dict[str, Callable[[Fitted, np.ndarray], Colour]] = {
    "composite, unchanged": lambda small, output: lambda colours, points: colours,
    "result, resized": upsampled,
    "change, resized within the mask": upsampled_change,
    "fast guided filter, unweighted": guided_filter,
    "scale and shift per cell, no matrix": colour_maps(MATRIX_RIDGE=1e9),
    "**matrix, then scale and shift per cell (chosen)**": colour_maps(),
    "matrix and shift per cell": local_matrices,
    "chosen, window 1 2 1": colour_maps(WINDOW=(1, 2, 1)),
    "chosen, window 1 2 3 4 3 2 1": colour_maps(WINDOW=(1, 2, 3, 4, 3, 2, 1)),
    "chosen, grid of 128": colour_maps(GRID=128),
    "chosen, grid of 32": colour_maps(GRID=32),
    "chosen, scale ridge 1e-4": colour_maps(SLOPE_RIDGE=1e-4),
    "chosen, scale ridge 1e-2": colour_maps(SLOPE_RIDGE=1e-2),
    "chosen, matrix ridge 1e-3": colour_maps(MATRIX_RIDGE=1e-3),
    "chosen, matrix ridge 1e-5": colour_maps(MATRIX_RIDGE=1e-5),
}


# --- scores


def psnr(found: np.ndarray, points: Points) -> float:
    """Of the blended 8-bit result, dB; an exact result counts as 65."""
    blended = points.composite + points.coverage[:, None] * (found - points.composite)
    levels = np.floor(np.clip(blended * 255, 0, 255) + 0.5)
    error = float(np.mean((levels - points.truth * 255) ** 2))
    return 10 * np.log10(255**2 / max(error, 0.02))


def _small_points(case: Case, target: np.ndarray) -> Points:
    """The foreground at engine size, with a network's output as the truth."""
    rows, columns = np.nonzero(case.small.mask > 0.95)
    side = len(case.small.mask)
    at = (slice(None), rows, columns)
    ones = np.ones(len(rows), np.float32)
    return Points((rows + 0.5) / side, (columns + 0.5) / side, case.small.image[at].T, target[at].T, ones)


def measure(case: Case, number: int, network: Harmonizer | None) -> dict[str, dict[str, float]]:
    """Every way on one case: scores by way and series."""
    outputs = {
        "exact": case.small_truth,
        "like a network": like_a_network(case.small_truth, np.random.default_rng(number)),
    }
    scores: dict[str, dict[str, float]] = {}
    for name, way in WAYS.items():
        scores[name] = {}
        for series, output in outputs.items():
            colour = way(case.small, output)
            for where, points in case.points.items():
                scores[name][f"{series}, {where}"] = psnr(colour(points.composite, points), points)
        if network is not None:
            output = network.run_tensor(case.small.image[None], case.small.network_mask[None, None])[0]
            points = _small_points(case, np.clip(output, 0, 1))
            scores[name]["network, fidelity"] = psnr(way(case.small, output)(points.composite, points), points)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos, searched through")
    parser.add_argument("--masks", type=Path, help="folder of masks, searched through")
    parser.add_argument("--bundle", type=Path, help="a bundle of the same size, for the third series")
    parser.add_argument("--side", type=int, default=256, help="the engine's size (default 256)")
    parser.add_argument("--per-photo", type=int, default=2, help="composites of each photo (default 2)")
    parser.add_argument("--json", type=Path, help="where to write the scores")
    arguments = parser.parse_args()
    photos = sorted(p for p in arguments.photos.rglob("*") if p.suffix.lower() in SUFFIXES)
    masks = sorted(arguments.masks.rglob("*.png")) if arguments.masks else []
    network = Harmonizer.open(arguments.bundle, backend="onnxruntime") if arguments.bundle else None
    records, found = [], []
    for number, case in enumerate(cases(photos, masks, arguments.side, arguments.per_photo)):
        found.append(measure(case, number, network))
        records.append(
            {
                "photo": case.name,
                "change": case.change,
                "megapixels": round(case.megapixels, 1),
                "foreground": round(case.foreground, 3),
                "psnr_db": {way: {k: round(float(v), 2) for k, v in row.items()} for way, row in found[-1].items()},
            }
        )
        print(f"{number + 1}: {case.name}, {case.change}, {case.megapixels:.1f} MP", file=sys.stderr, flush=True)
    if not found:
        raise SystemExit(f"no photos in {arguments.photos}; give a folder with {', '.join(SUFFIXES)} files")
    means = {way: {s: float(np.mean([f[way][s] for f in found])) for s in found[0][way]} for way in WAYS}
    print(table(means))
    if arguments.json:
        report = {
            "what": "upsampled edit: mean PSNR in dB",
            "command": (
                "python -m harmonyrt.benchmarks.studies.upsample_edit "
                "--photos PHOTOS --masks MASKS --bundle BUNDLE --json FILE"
            ),
            "machine": machine_name(),
            "date": str(date.today()),
            "versions": {"python": platform.python_version(), "numpy": np.__version__},
            "engine_side": arguments.side,
            "mean": {way: {k: round(v, 2) for k, v in row.items()} for way, row in means.items()},
            "cases": records,
        }
        write_json(arguments.json, report)


def table(means: dict[str, dict[str, float]]) -> str:
    """The means as Markdown, for docs/full_resolution.md."""
    series = list(next(iter(means.values())))
    lines = ["| way | " + " | ".join(series) + " |", "|---|" + "---|" * len(series)]
    lines += [f"| {way} | " + " | ".join(f"{row[s]:.2f}" for s in series) + " |" for way, row in means.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
