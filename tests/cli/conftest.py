"""Pictures, and a way to run the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakes.command import run  # noqa: F401  # a fixture


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """An empty folder to work in, with a composite and its mask."""
    rng = np.random.default_rng(3)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(rng.integers(60, 250, (48, 64, 3), dtype=np.uint8)).save("composite.png")
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 20:50] = 255
    Image.fromarray(mask).save("mask.png")
    return tmp_path


@pytest.fixture
def folders(place) -> Path:
    """Folders of three composites and masks, next to `place`'s own pictures."""
    for name in ("composites", "masks"):
        (place / name).mkdir()
    for name in ("a", "b", "c"):
        Image.open("composite.png").save(place / "composites" / f"{name}.png")
        Image.open("mask.png").save(place / "masks" / f"{name}.png")
    return place


@pytest.fixture
def names():
    """Every file below the working folder, hidden ones too."""
    return lambda: sorted(str(path) for path in Path().rglob("*") if path.is_file())
