"""Folders of pairs, a bundle made by hand, and a way to run the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakes.command import run  # noqa: F401  # a fixture

pytest.importorskip("pyarrow", reason="the extra fleet is not installed: pip install 'harmonyrt[fleet]'")
BUNDLE = Path(__file__).parents[1] / "vectors" / "hand-made-64"


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    """Nothing of these tests stays in the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write_pairs(folder: Path, count: int, size: tuple[int, int] = (64, 48)) -> None:
    """composites/NNN.png and masks/NNN.png, every pair different."""
    for name in ("composites", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    mask = np.zeros(size[::-1], np.uint8)
    mask[size[1] // 4 : size[1] // 2, size[0] // 4 : size[0] // 2] = 255
    for index in range(count):
        pixels = rng.integers(40, 250, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "composites" / f"{index:03}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{index:03}.png")


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder to work in, with composites/ and masks/ of six pairs."""
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path, 6)
    return tmp_path


@pytest.fixture(scope="session")
def bundle() -> Path:
    return BUNDLE
