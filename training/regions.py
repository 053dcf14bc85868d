"""Foreground masks for photos that come without one: merged superpixels."""

from __future__ import annotations

import numpy as np
from PIL import Image

SIDE = 72
SEEDS = 24


def superpixels(picture: Image.Image, seeds: int = SEEDS, rounds: int = 5) -> np.ndarray:
    """Label map (72,72) of about `seeds` compact regions: k-means over colour and position, seeded on a grid.

    Coarser than SLIC and without its local windows: at this size the whole table of distances is small.
    """
    small = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32) / 255
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    points = np.concatenate([small * 1.6, rows[..., None], columns[..., None]], -1).reshape(-1, 5)
    across = int(np.ceil(np.sqrt(seeds)))
    grid = ((np.arange(across) + 0.5) / across * SIDE).astype(int)
    centres = points.reshape(SIDE, SIDE, 5)[np.ix_(grid, grid)].reshape(-1, 5)[:seeds].copy()
    for _ in range(rounds):
        labels = ((centres**2).sum(1) - 2 * points @ centres.T).argmin(1)
        counts = np.bincount(labels, minlength=len(centres))
        for axis in range(5):
            sums = np.bincount(labels, weights=points[:, axis], minlength=len(centres))
            centres[:, axis] = np.where(counts > 0, sums / np.maximum(counts, 1), centres[:, axis])
    return labels.reshape(SIDE, SIDE).astype(np.uint8)


def merged_region(labels: np.ndarray, rng: np.random.Generator, low: float = 0.04, high: float = 0.5) -> Image.Image:
    """Grow one superpixel by touching ones until it covers a random share of the picture.

    Returns:
        A mask ("L", 72 x 72) whose stairs are gone when it is resized: it is smoothed, and stays soft at the edge.
    """
    goal = rng.uniform(low, high) * labels.size
    region = labels == labels[tuple(rng.integers(0, SIDE, 2))]
    while region.sum() < goal:
        border = np.zeros_like(region)
        border[1:] |= region[:-1]
        border[:-1] |= region[1:]
        border[:, 1:] |= region[:, :-1]
        border[:, :-1] |= region[:, 1:]
        touching = np.unique(labels[border & ~region])
        if not len(touching):
            break
        region |= labels == rng.choice(touching)
    return Image.fromarray(region.astype(np.uint8) * 255)
