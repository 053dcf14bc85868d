"""The engine room: who waits, who is refused, who is given up, and what a failing session costs."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from fakes.served import decoded, encoded, in_memory, made_pair
from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.serving.pace import Pace
from harmonyrt.serving.problems import ClientLeft, Problem
from harmonyrt.serving.room import EngineRoom


class Gate:
    """Work that waits until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.began: list[str] = []

    def work(self, name: str):
        def work(run):
            self.began.append(name)
            assert self.open.wait(60)
            return name

        return work


def deadline(seconds: float = 60.0) -> float:
    return time.monotonic() + seconds


async def until(condition) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again():
    async def scene():
        room, gate = EngineRoom(1, 2, 100.0), Gate()
        tasks = [asyncio.ensure_future(room.do("m", 1.0, gate.work(str(n)), deadline=deadline())) for n in range(3)]
        await until(lambda: len(room.waiting) == 2)
        with pytest.raises(Problem) as refused:
            await room.do("m", 1.0, gate.work("late"), deadline=deadline())
        assert refused.value.status == 429
        assert int(refused.value.headers["Retry-After"]) >= 1
        with pytest.raises(Problem):
            room.check_open()
        gate.open.set()
        assert await asyncio.gather(*tasks) == ["0", "1", "2"]
        assert gate.began == ["0", "1", "2"]

    asyncio.run(scene())


def test_a_deadline_ends_waiting_and_work():
    async def scene():
        room, gate = EngineRoom(1, 5, 100.0), Gate()
        running = asyncio.ensure_future(room.do("m", 1.0, gate.work("long"), deadline=deadline(0.3)))
        await until(lambda: gate.began)
        with pytest.raises(Problem, match="in its turn") as late:
            await room.do("m", 1.0, gate.work("never"), deadline=deadline(0.05))
        assert late.value.status == 504
        with pytest.raises(Problem, match="while it was worked on"):
            await running
        assert len(room.running) == 1  # its thread is not free before it ends
        gate.open.set()
        await until(lambda: not room.running)
        assert gate.began == ["long"]

    asyncio.run(scene())


def test_who_leaves_gives_up_the_place():
    async def scene():
        room, gate = EngineRoom(1, 5, 100.0), Gate()
        first = asyncio.ensure_future(room.do("m", 1.0, gate.work("first"), deadline=deadline()))
        await until(lambda: gate.began)
        gone = asyncio.get_running_loop().create_future()

        async def left():
            await gone

        second = asyncio.ensure_future(room.do("m", 1.0, gate.work("second"), deadline=deadline(), left=left))
        await until(lambda: room.waiting)
        gone.set_result(None)
        with pytest.raises(ClientLeft):
            await second
        assert not room.waiting
        gate.open.set()
        assert await first == "first"
        assert gate.began == ["first"]

    asyncio.run(scene())


def test_megapixels_in_flight_are_bounded_and_nothing_starves():
    async def scene():
        room, gate = EngineRoom(4, 9, 10.0), Gate()
        sizes = {"a": 6.0, "b": 3.0, "c": 3.0, "huge": 50.0}
        tasks = [
            asyncio.ensure_future(room.do(name, size, gate.work(name), deadline=deadline()))
            for name, size in sizes.items()
        ]
        await until(lambda: len(gate.began) == 2)
        await asyncio.sleep(0.05)
        assert gate.began == ["a", "b"]
        assert room.megapixels_held == 9.0
        gate.open.set()
        assert await asyncio.gather(*tasks) == list(sizes)

    asyncio.run(scene())


def test_draining_lets_requests_end_and_refuses_new_ones():
    async def scene():
        room, gate = EngineRoom(1, 5, 100.0), Gate()
        tasks = [asyncio.ensure_future(room.do("m", 1.0, gate.work(str(n)), deadline=deadline())) for n in range(2)]
        await until(lambda: gate.began)
        draining = asyncio.ensure_future(room.drain(5.0))
        await asyncio.sleep(0.02)
        with pytest.raises(Problem) as refused:
            room.check_open()
        assert refused.value.status == 503
        gate.open.set()
        await draining
        assert await asyncio.gather(*tasks) == ["0", "1"]

    asyncio.run(scene())


class Waiting:
    def __init__(self, megapixels: float = 1.0, began: float | None = None) -> None:
        self.kind, self.megapixels, self.began = "m", megapixels, began


def test_pace_refuses_what_would_take_several_times_as_long():
    pace = Pace(2)
    for _ in range(20):
        pace.learn("m", 1.0, 0.10, alone=True)
    for _ in range(20):
        pace.learn("m", 1.0, 0.15, alone=False)
    now = time.monotonic()
    running = [Waiting(began=now), Waiting(began=now)]
    assert pace.accepts("m", 1.0, [], running)
    accepted = next(n for n in range(1, 20) if not pace.accepts("m", 1.0, [Waiting()] * n, running))
    assert accepted == 1  # 0.15 for those that run, 0.075 for one that waits, then 0.15: more than three times 0.1
    patient = Pace(2, max_wait=1.0)
    patient.learn("m", 1.0, 0.1, alone=True)
    assert patient.accepts("m", 1.0, [Waiting()] * 10, running)
    assert not patient.accepts("m", 1.0, [Waiting()] * 40, running)


def test_pace_knows_sizes_apart():
    pace = Pace(1)
    pace.learn("m", 0.5, 0.02, alone=True)
    pace.learn("m", 12.0, 1.0, alone=True)
    queue = [Waiting(0.5)] * 5
    assert not pace.accepts("m", 0.5, queue, [])
    assert pace.accepts("m", 12.0, queue, [])
    assert not pace.is_hopeless(queue, [])
    assert pace.is_hopeless([Waiting(12.0)] * 5, [])


@pytest.fixture
def failing(settings):
    """A server whose engine raises what is in `errors` first."""
    with in_memory(replace(settings, sessions=1)) as client:
        errors: list[BaseException] = []
        network = client.service.models.named(None).harmonizer._sessions
        take = network._take

        def taken():
            found = take()
            run = type(found).run

            def breaking(*arguments):
                if errors:
                    raise errors.pop(0)
                return run(found, *arguments)

            found.run = breaking
            return found

        network._take = taken
        client.errors, client.sessions = errors, network
        yield client


@pytest.mark.parametrize("error", [RuntimeError("the driver died"), WorkFailed("not finite")])
def test_a_session_that_fails_is_replaced_and_its_request_answered(failing, bundle, error):
    pair = made_pair(5)
    failing.errors.append(error)
    made = []
    another = failing.sessions._another
    failing.sessions._another = lambda: made.append(1) or another()
    answer = failing.post("/v1/harmonize", files=pair.files)
    assert answer.status_code == 200, answer.text
    from harmonyrt.runtime import Harmonizer

    with Harmonizer.open(bundle, backend="onnxruntime", threads=1) as harmonizer:
        assert np.array_equal(decoded(answer.content), harmonizer.harmonize(pair.composite, pair.mask))
    assert made == [1]
    assert "harmonyrt_session_failures_total 1.0" in failing.get("/metrics").text


def test_a_second_try_says_nothing_twice(failing):
    pair = made_pair(5)
    failing.errors.append(RuntimeError("the driver died"))
    files = {"composite": encoded(pair.composite), "mask": encoded(np.full_like(pair.mask, 255))}
    answer = failing.post("/v1/harmonize", files=files)
    assert answer.status_code == 200
    assert answer.headers.get_list("harmonyrt-warning") == [
        "the mask covers the whole picture: the network has no background to learn from"
    ]


def test_one_that_fails_twice_is_a_500_with_its_cause_and_the_next_is_well(failing):
    files = made_pair(6).files
    failing.errors += [WorkFailed("the engine gave values that are not finite")] * 2
    answer = failing.post("/v1/harmonize", files=files)
    assert answer.status_code == 500
    assert answer.json()["detail"] == "the engine gave values that are not finite"
    assert failing.post("/v1/harmonize", files=files).status_code == 200


def test_memory_that_ran_out_is_a_503(failing):
    failing.errors.append(MemoryError())
    answer = failing.post("/v1/harmonize", files=made_pair(7).files)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "memory" in answer.json()["detail"]


def test_wrong_input_costs_no_session(failing):
    failing.errors.append(HarmonyError("the mask is wrong"))
    assert failing.post("/v1/harmonize", files=made_pair(8).files).status_code == 422
    assert failing.service.models.named(None).failures == 0


def test_under_load_everybody_gets_the_own_picture(running, bundle):
    """Eight clients with pictures of their own, more than there are places: refused or right, and never another's."""
    from concurrent.futures import ThreadPoolExecutor

    from harmonyrt.runtime import Harmonizer

    server = running(queue=3)
    pairs = [made_pair(seed, 60 + seed, 80) for seed in range(8)]
    with Harmonizer.open(bundle, backend="onnxruntime", threads=1) as harmonizer:
        expected = [harmonizer.harmonize(pair.composite, pair.mask) for pair in pairs]

    def ask(number: int) -> list[int]:
        statuses = []
        with server.client() as client:
            while statuses.count(200) < 5:
                answer = client.post("/v1/harmonize", files=pairs[number].files)
                statuses.append(answer.status_code)
                if answer.status_code == 200:
                    assert np.array_equal(decoded(answer.content), expected[number])
                else:
                    assert answer.status_code == 429
                    assert int(answer.headers["retry-after"]) >= 1
                    time.sleep(0.02)
        return statuses

    with ThreadPoolExecutor(8) as pool:
        statuses = [status for found in pool.map(ask, range(8)) for status in found]
    assert statuses.count(200) == 40
    assert server.service.uploads.held == 0
    assert not server.service.room.running


def test_a_request_that_takes_too_long_is_a_504(settings, pair):
    with in_memory(replace(settings, timeout=1.0)) as client:
        harmonizer = client.service.models.named(None).harmonizer
        answered, done = threading.Event(), threading.Event()

        def slow(*arguments, **options):
            answered.wait(60)
            done.set()

        harmonizer.harmonize_detailed = slow
        answer = client.post("/v1/harmonize", files=pair.files)
        assert answer.status_code == 504
        assert "took longer than it may" in answer.json()["detail"]
        answered.set()
        assert done.wait(60)
