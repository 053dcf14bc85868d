"""The gate's composites for Polygraphy: `--data-loader-script data_loader.py`. Needs NumPy only, and its own folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_FOLDER = Path(__file__).resolve().parent


def load_data() -> Iterator[dict[str, np.ndarray]]:
    """Every composite in the order of `golden.json`: `image` (1,3,H,W) and `mask` (1,1,H,W), float32 in [0, 1]."""
    cases = json.loads((_FOLDER / "gate.json").read_text(encoding="utf-8"))["cases"]
    with np.load(_FOLDER / "composites.npz", allow_pickle=False) as arrays:
        for number in range(len(cases)):
            yield {name: arrays[f"{name}_{number}"] for name in ("image", "mask")}


def load_first() -> Iterator[dict[str, np.ndarray]]:
    """The first composite alone (`data_loader.py:load_first`), for runs that keep every tensor of the graph."""
    yield next(load_data())
