"""Histograms over all composites."""

import numpy as np
import pytest

from harmonyrt.calibration.observe import observe


def test_inputs_inner_tensors_and_ticks(network, feeds):
    ticks = []
    seen = observe(network, ["image", "c", "r"], feeds, 1, lambda: ticks.append(1))
    assert len(ticks) == 2 * len(feeds)
    images = np.concatenate([feed["image"] for feed in feeds])
    assert seen["image"].counts.sum() == images.size
    assert seen["image"].high == pytest.approx(images.max())
    assert seen["c"].low == 0  # after a ReLU
    assert seen["c"].shape == (1, 16, 32, 32)
    assert seen["r"].low < 0 < seen["r"].high


def test_the_network_itself_is_not_changed(network, feeds):
    before = network.SerializeToString()
    observe(network, ["c"], feeds[:1], 1, lambda: None)
    assert network.SerializeToString() == before
