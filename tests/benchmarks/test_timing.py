"""Burn-in and summaries, on made-up clocks."""

import pytest

from harmonyrt.benchmarks.timing import WINDOW, burn_in, summarize


def clock_of(values):
    """A clock that reads off a list, and its last value for ever after."""
    left = list(values)
    return lambda call: left.pop(0) if len(left) > 1 else left[0]


def test_burn_in_ends_when_two_windows_agree():
    warming = [50.0] * WINDOW + [20.0] * WINDOW + [10.0] * WINDOW + [10.1] * WINDOW + [99.0]
    calls = []
    read = clock_of(warming)

    def clock(call):
        calls.append(1)
        return read(call)

    assert burn_in(lambda: None, seconds=100, clock=clock)
    assert len(calls) == 4 * WINDOW


def test_burn_in_gives_up_and_says_so():
    values = [float(10 * (i // WINDOW % 2 + 1)) for i in range(100 * WINDOW)]
    assert not burn_in(lambda: None, seconds=0.3, clock=clock_of(values))


def test_windows_of_slow_calls_are_shorter():
    calls = []

    def clock(call):
        calls.append(1)
        return 4000.0

    assert burn_in(lambda: None, seconds=60, clock=clock)
    assert len(calls) == 2


def test_summary():
    summary = summarize([10.0] * 90 + [20.0] * 10)
    assert summary.p50 == 10
    assert summary.p95 == 20
    assert summary.fps == pytest.approx(100)
    assert summary.samples == 100
