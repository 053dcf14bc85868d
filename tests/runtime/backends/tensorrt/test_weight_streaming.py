"""Weights that do not fit on the GPU are streamed, and only those."""

from __future__ import annotations

import logging

import pytest

from fakes import tensorrt_api as api
from fakes.cuda import SimulatedCuda
from harmonyrt.runtime.backends.tensorrt import weight_streaming

GB = 10**9


class Engine(api.Strict):
    """The part of an engine that streams; budgets are counted in bytes."""

    own = frozenset({"api", "streamable_weights_size"})

    def __init__(self, version, streamable):
        self.api, self.streamable_weights_size = (version, "ICudaEngine"), streamable
        if api.has(version, "ICudaEngine.weight_streaming_budget_v2"):
            self.weight_streaming_budget_v2 = None

    def get_weight_streaming_automatic_budget(self):
        return self.streamable_weights_size // 4


@pytest.fixture
def device():
    device = SimulatedCuda()
    device.free_bytes = 2 * GB
    return device


def test_weights_that_fit_stay_on_the_gpu(device, caplog):
    engine = Engine("11.4.0", GB)
    assert weight_streaming.choose_budget(engine, device, "unet.engine") == GB
    assert engine.weight_streaming_budget_v2 == GB
    assert not caplog.records


def test_weights_that_do_not_fit_are_streamed_with_a_word(device, caplog):
    engine = Engine("10.4.0", 4 * GB)
    with caplog.at_level(logging.WARNING, "harmonyrt.runtime"):
        assert weight_streaming.choose_budget(engine, device, "unet.engine") == GB
    assert engine.weight_streaming_budget_v2 == GB
    assert "unet.engine: its weights, 4000 MB, do not fit into the GPU's free 2000 MB" in caplog.text


def test_room_is_left_for_activations(device):
    assert weight_streaming.choose_budget(Engine("11.4.0", 19 * GB // 10), device, "x") < 19 * GB // 10


@pytest.mark.parametrize("engine", [Engine("11.4.0", 0), Engine("10.0.1", 4 * GB), object()])
def test_engines_that_do_not_stream_are_left_alone(device, engine):
    assert weight_streaming.choose_budget(engine, device, "x") is None
