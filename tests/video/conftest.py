"""A network that darkens, and a small shot."""

from pathlib import Path

import pytest

from fakes.clips import frame_of, make_clip, values
from harmonyrt.runtime import Harmonizer


@pytest.fixture(scope="session")
def harmonizer(bundle):
    """A network that darkens: output = 0.9 x image."""
    with Harmonizer.open(bundle, threads=1) as opened:
        yield opened


@pytest.fixture
def shot(tmp_path) -> Path:
    """Six frames of FFV1 in yuv420p."""
    frames = (frame_of("yuv420p", values("yuv420p", seed=i)) for i in range(6))
    return make_clip(tmp_path / "shot.mkv", frames)
