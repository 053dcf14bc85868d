"""An hour to write rows to."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from harmonyrt.benchmarks.gpu_hour.hour import Hour


@pytest.fixture
def hour(tmp_path):
    (tmp_path / "parts").mkdir()
    return Hour(tmp_path, "soak", dry=False, seconds=100)
