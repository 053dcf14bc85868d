"""A small world to train in: pictures with a sky, a ground and an object, and one thread to do it with."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harmonyrt.training.reporting import Reporter


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Threads that meet after every small operation make these tests crawl on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def stop_after(monkeypatch):
    """stop_after(3): a run that has made three steps is told to stop, as SIGTERM tells it."""
    steps = Reporter.step

    def stop(last: int) -> None:
        def step(self, number, *others):
            steps(self, number, *others)
            if number == last:
                signal.getsignal(signal.SIGTERM)(signal.SIGTERM, None)  # not by the kernel: this process is pytest's

        monkeypatch.setattr(Reporter, "step", step)

    return stop


def _scene(rng: np.random.Generator, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    picture = np.empty((height, width, 3))
    picture[: height // 2] = rng.uniform(100, 220, 3)
    picture[height // 2 :] = rng.uniform(30, 160, 3)
    rows, columns = np.mgrid[:height, :width]
    centre = rng.uniform(0.35, 0.65, 2) * (height, width)
    mask = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < (min(height, width) * rng.uniform(0.2, 0.35)) ** 2
    picture[mask] = rng.uniform(20, 235, 3)
    picture += rng.normal(0, 12, picture.shape)
    return picture.clip(0, 255).astype(np.uint8), (mask * 255).astype(np.uint8)


@pytest.fixture(scope="session")
def small_data(tmp_path_factory) -> Path:
    """Data root with 40 masked pictures in `things`, 6 photos without masks in `photos/plain`."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for folder in ("things/images", "things/masks", "photos/plain"):
        (root / folder).mkdir(parents=True)
    for n in range(46):
        picture, mask = _scene(rng, 96 + n % 3 * 8, 80)
        if n < 40:
            Image.fromarray(picture).save(root / "things" / "images" / f"thing_{n:02d}.png")
            Image.fromarray(mask).save(root / "things" / "masks" / f"thing_{n:02d}.png")
        else:
            Image.fromarray(picture).save(root / "photos" / "plain" / f"plain_{n:02d}.jpg")
    return root
