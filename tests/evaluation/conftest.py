"""Golden values of the released losses and metrics, from ../shared beside the checkout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden" / "public" / "phnet_losses_metrics.npz"


@pytest.fixture(scope="session")
def golden_losses() -> dict[str, np.ndarray]:
    if not GOLDEN.exists():
        pytest.skip("needs shared/golden beside the checkout")
    return dict(np.load(GOLDEN))
