"""Threads that take turns with a bounded set of sessions."""

import threading
import time

import pytest

from harmonyrt.common import HarmonyError, OutOfMemory, WorkFailed
from harmonyrt.common.errors import Cancelled
from harmonyrt.runtime.sessions import Sessions


def started(*works):
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    return threads


def ended(threads):
    for thread in threads:
        thread.join(60)
    return not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_are_made_than_allowed_and_none_is_used_twice_at_once(most):
    made, busy, most_busy, clashes = [0], set(), [0], []

    def another():
        made.append(len(made))
        return made[-1]

    sessions = Sessions(0, another, most)

    def work():
        for _ in range(20):
            with sessions.call(), sessions.checked_out() as one:
                if one in busy:
                    clashes.append(one)
                busy.add(one)
                most_busy[0] = max(most_busy[0], len(busy))
                time.sleep(0.0005)
                busy.discard(one)

    assert ended(started(*[work] * 8))
    assert not clashes
    assert len(made) == most_busy[0] == most


def test_one_is_made_only_when_all_others_are_taken():
    made = []
    sessions = Sessions("first", lambda: made.append("another") or "another", 4)
    for _ in range(5):
        with sessions.checked_out() as one:
            assert one == "first"
    assert not made
    with sessions.checked_out(), sessions.checked_out() as second:
        assert second == "another"


def test_a_session_that_cannot_be_made_leaves_the_work_to_the_others(caplog):
    def another():
        raise WorkFailed("memory ran out")

    sessions = Sessions("only", another, 4)
    used = []

    def work():
        with sessions.checked_out() as one:
            used.append(one)
            time.sleep(0.02)

    assert ended(started(*[work] * 4))
    assert used == ["only"] * 4
    assert "memory ran out" in caplog.text


def test_a_call_inside_a_call_of_the_same_thread_does_not_wait_for_itself():
    sessions = Sessions("only", lambda: None, 1)
    with sessions.checked_out(), pytest.raises(HarmonyError, match="inside another call"), sessions.checked_out():
        pass
    with sessions.checked_out() as one:
        assert one == "only"


def test_closing_waits_for_calls_and_refuses_later_ones():
    events, inside, go_on = [], threading.Event(), threading.Event()
    sessions = Sessions("only", lambda: None, 1, lambda: events.append("closed"))

    def call():
        with sessions.call(), sessions.checked_out():
            inside.set()
            go_on.wait(60)
            events.append("called")

    def close():
        inside.wait(60)
        sessions.close()

    threads = started(call, close)
    inside.wait(60)
    while not sessions._closed:
        time.sleep(0.001)
    with pytest.raises(HarmonyError, match="closed"):
        sessions.check()
    go_on.set()
    assert ended(threads)
    sessions.close()
    assert events == ["called", "closed"]
    with pytest.raises(HarmonyError, match="closed"), sessions.call():
        pass


def test_closing_inside_a_call_happens_when_it_ends():
    events = []
    sessions = Sessions("only", lambda: None, 1, lambda: events.append("closed"))
    with sessions.call():
        sessions.close()
        events.append("still here")
    assert events == ["still here", "closed"]


@pytest.mark.parametrize("error", [RuntimeError("the driver died"), WorkFailed("values that are not finite")])
def test_a_session_that_fails_is_left_for_a_new_one(error):
    sessions = Sessions("first", lambda: "new", 1)
    with pytest.raises(type(error)), sessions.checked_out():
        raise error
    with sessions.checked_out() as one:
        assert one == "new"


@pytest.mark.parametrize(
    "error", [HarmonyError("a bad mask"), Cancelled("stopped"), OutOfMemory("full"), MemoryError()]
)
def test_wrong_input_stops_and_full_memory_cost_no_session(error):
    sessions = Sessions("first", lambda: "new", 1)
    with pytest.raises(type(error)), sessions.checked_out():
        raise error
    with sessions.checked_out() as one:
        assert one == "first"


def test_the_last_session_that_cannot_be_replaced_is_an_error_and_not_a_wait():
    def another():
        raise WorkFailed("the device is gone")

    sessions = Sessions("first", another, 1)
    with pytest.raises(RuntimeError), sessions.checked_out():
        raise RuntimeError("the device is gone")
    for _ in range(2):
        with pytest.raises(WorkFailed, match="the device is gone"), sessions.checked_out():
            pass
