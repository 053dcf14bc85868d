"""Short runs on toys."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.diffharmony_toys import write_base, write_toys
from harmonyrt.training.diffharmony.config import DiffusionConfig


@pytest.fixture(scope="session")
def toys(made_once) -> Path:
    """16 pairs to train on and 6 held out, 64 pixels."""
    return made_once("toys", lambda folder: write_toys(folder / "data", {"train": 16, "val": 6})) / "data"


@pytest.fixture(scope="session")
def base(made_once) -> Path:
    """A tiny Stable Diffusion inpainting folder with random weights; `base/refiner` is a refiner."""
    return made_once("tiny-base", lambda folder: write_base(folder / "base")) / "base"


@pytest.fixture
def config(toys, base, tmp_path, made_once):
    """config(stage, **changes): a short run in a separate folder."""

    def make(stage: str, **changes) -> DiffusionConfig:
        settings = {"checkpoint": base, "steps": 3, "size": 32, "batch": 4, "warmup_steps": 0, "precision": "fp32",
                    "workers": 0, "ema": 0.9, "lr": 1e-3, **changes}  # fmt: skip
        if stage == "refiner":
            inputs = made_once("refiner-inputs", lambda folder: None)
            settings = {"start": base / "refiner", "inference_size": 32, "denoising_steps": 1, "stage_one": inputs,
                        **settings}  # fmt: skip
        return DiffusionConfig(stage, toys, **{"out": tmp_path / stage, **settings})

    return make
