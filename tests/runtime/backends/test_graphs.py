"""Recording a graph: what CUDA refuses, and what is left behind. The simulation's own rules are tested here too."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from fakes import cuda as simulation
from harmonyrt.common import WorkFailed
from harmonyrt.runtime.backends import graphs


@pytest.fixture
def device():
    return simulation.SimulatedCuda()


@pytest.fixture
def numbers(device):
    """Four numbers in device memory, as an array that the host may look at after waiting."""
    return [simulation.view(device.allocate(4), (1,)) for _ in range(4)]


def _add(device, stream, target, *sources):
    device.enqueue(stream, lambda: np.copyto(target, sum(sources)))


def test_a_graph_runs_when_it_is_launched_on_what_is_there_then(device, numbers):
    stream, (a, b, c, _) = device.create_stream(), numbers
    graph, result = graphs.record(device, stream, lambda: _add(device, stream, c, a, b) or "result")
    assert result == "result"
    for first, second in ((1, 2), (3, 4)):
        a[:], b[:], c[:] = first, second, 0
        device.launch(graph, stream)
        assert c == 0
        device.synchronize(stream)
        assert c == first + second


def test_another_stream_joins_by_an_event_and_is_joined_back(device, numbers):
    first, second, event = device.create_stream(), device.create_stream(), device.create_event()
    a, b, c, d = numbers

    def work():
        for target in (b, c):  # the same event again and again
            _add(device, first, b, a, a)
            device.record(event, first)
            device.wait(second, event)
            _add(device, second, target, b, b)
            device.record(event, second)
            device.wait(first, event)
        _add(device, first, d, c)

    graph, _ = graphs.record(device, first, work)
    a[:] = 1
    device.launch(graph, first)
    device.synchronize(first)
    assert d == 4
    _add(device, second, d, a)
    device.synchronize(second)
    assert d == 1  # recorded no more


def _waits(device, stream, other, event):
    device.synchronize(stream)


def _allocates(device, stream, other, event):
    device.allocate(4)


def _frees(device, stream, other, event):
    device.free(next(iter(device.blocks)))


def _copies_from_pageable_memory(device, stream, other, event):
    device.copy(next(iter(device.blocks)), np.zeros(1, np.float32).ctypes.data, 4, stream)


def _follows_what_is_not_recorded(device, stream, other, event):
    device.record(event, other)
    device.wait(stream, event)


def _leaves_a_stream_behind(device, stream, other, event):
    device.enqueue(stream, None)
    device.record(event, stream)
    device.wait(other, event)
    device.enqueue(other, None)


def _uses_the_default_stream(device, stream, other, event):
    device.record(event, stream)
    device.wait(0, event)


def _records_within(device, stream, other, event):
    device.begin_capture(stream)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (_waits, "not permitted when stream is capturing"),
        (_allocates, "not permitted when stream is capturing"),
        (_frees, "not permitted when stream is capturing"),
        (_copies_from_pageable_memory, "pageable"),
        (_follows_what_is_not_recorded, "uncaptured work"),
        (_leaves_a_stream_behind, "unjoined"),
        (_uses_the_default_stream, "legacy stream"),
        (_records_within, "not permitted on this stream"),
    ],
)
@pytest.mark.parametrize("told", [True, False])
def test_what_breaks_a_recording_is_said_and_the_streams_can_be_used_again(device, numbers, wrong, words, told):
    stream, other, event = device.create_stream(), device.create_stream(), device.create_event()

    def work():
        try:
            wrong(device, stream, other, event)
        except WorkFailed:
            if told:
                raise

    with pytest.raises(WorkFailed, match=words):
        graphs.record(device, stream, work)
    assert not device.graphs
    for one in (stream, other):
        assert not device.is_capturing(one)
        numbers[1][:] = 5
        _add(device, one, numbers[0], numbers[1])
        device.synchronize(one)
        assert numbers[0] == 5
    assert graphs.record(device, stream, lambda: None)[0] in device.graphs


def test_the_default_stream_cannot_be_recorded(device):
    with pytest.raises(WorkFailed, match="cudaStreamBeginCapture"):
        graphs.record(device, 0, lambda: None)


def test_an_interruption_ends_the_recording(device):
    stream = device.create_stream()

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        graphs.record(device, stream, interrupted)
    assert not device.is_capturing(stream)
    assert gc.isenabled()


def test_garbage_does_not_free_memory_in_between(device):
    stream, address = device.create_stream(), device.allocate(4)

    class Owner:
        def __init__(self):
            self.itself = self

        def __del__(self):
            device.free(address)

    def work():
        Owner()
        for _ in range(10 * gc.get_threshold()[0]):
            kept.append([])

    kept: list = []
    graphs.record(device, stream, work)
    gc.collect()
    assert address not in device.blocks


def test_work_runs_no_earlier_than_somebody_waits_and_in_no_order_that_was_not_asked_for(device, numbers):
    first, second, event = device.create_stream(), device.create_stream(), device.create_event()
    a, b, c, _ = numbers
    a[:], b[:], c[:] = 1, 0, 0
    _add(device, first, b, a)
    _add(device, second, c, b)
    device.synchronize(second)
    assert (b, c) == (0, 0)
    device.record(event, first)
    device.wait(second, event)
    _add(device, second, c, b)
    device.synchronize(second)
    assert (b, c) == (1, 1)
