"""A small dataset in iHarmony4's layout, and the hand-made bundles of the shared vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

VECTORS = Path(__file__).parents[1] / "vectors"


def write_pairs(root: Path, count: int, side: int = 48, seed: int = 0, soft: bool = False) -> Path:
    """Pairs whose composite is a darker foreground, listed in a test list; the foreground grows with the number."""
    for folder in ("composite_images", "masks", "real_images"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rng, names = np.random.default_rng(seed), []
    for n in range(count):
        coarse = rng.integers(40, 230, (side // 4, side // 4 + 4, 3), dtype=np.uint8)
        real = np.asarray(Image.fromarray(coarse).resize((side + 16, side), Image.Resampling.BICUBIC))
        mask = np.zeros(real.shape[:2], np.uint8)
        mask[4 : 12 + 8 * n, 6 : 14 + 8 * n] = 255
        if soft:
            mask[4, 6 : 14 + 8 * n] = 100
        composite = np.where(mask[..., None] > 0, real * 0.8, real).astype(np.uint8)
        Image.fromarray(real).save(root / "real_images" / f"p{n}.png")
        Image.fromarray(mask).save(root / "masks" / f"p{n}_1.png")
        Image.fromarray(composite).save(root / "composite_images" / f"p{n}_1_1.png")
        names.append(f"p{n}_1_1.png")
    (root / f"{root.name}_test.txt").write_text("\n".join(names) + "\n")
    return root


@pytest.fixture
def data(tmp_path) -> Path:
    """Two subsets, three pairs and two."""
    write_pairs(tmp_path / "data" / "one", 3)
    write_pairs(tmp_path / "data" / "two", 2, seed=1)
    return tmp_path / "data"


@pytest.fixture(scope="session")
def kl_bundle() -> Path:
    """DiffHarmony made by hand: 64 px inside, a refiner that gives 32 px."""
    return VECTORS / "hand-made-kl"
