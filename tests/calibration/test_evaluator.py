"""dB of the blended picture."""

import numpy as np
import onnx
import pytest

from harmonyrt.calibration.evaluator import Evaluator
from harmonyrt.runtime.decibels import MOST_DB


def with_bias(network: onnx.ModelProto, change: float) -> onnx.ModelProto:
    """A network whose output is higher by `change` everywhere."""
    changed = onnx.ModelProto()
    changed.CopyFrom(network)
    bias = next(t for t in changed.graph.initializer if t.name == "bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(change), "bias"))
    return changed


def test_the_same_graph_is_perfect(network, feeds):
    assert Evaluator(network, feeds, 1)(network, lambda: None).worst_db == MOST_DB


def test_only_the_foreground_counts(network, feeds):
    changed = with_bias(network, 0.01)
    for feed in feeds:
        feed["image"] = feed["image"] * 0.5 + 0.2  # away from the clip
    small, nothing = dict(feeds[0]), dict(feeds[0], mask=feeds[0]["mask"] * 0)
    quality = Evaluator(network, [small], 1)(changed, lambda: None)
    share = float(small["mask"].mean())
    assert 10 ** (-quality.worst_db / 10) == pytest.approx(0.01**2 * share, rel=0.05)
    assert Evaluator(network, [nothing], 1)(changed, lambda: None).worst_db == MOST_DB


def test_the_worst_and_the_mean(network, feeds):
    quality = Evaluator(network, feeds, 1)(with_bias(network, 0.01), lambda: None)
    assert quality.worst_db < quality.mean_db < 60


def test_what_is_not_finite_has_no_quality(network, feeds):
    assert Evaluator(network, feeds[:1], 1)(with_bias(network, float("nan")), lambda: None).worst_db == 0
