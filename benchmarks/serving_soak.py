"""The long runs of :mod:`harmonyrt.benchmarks.serving`: mixed requests for hours, and damaged forms."""

from __future__ import annotations

import asyncio
import random
import re
import signal
import subprocess
import time
from collections import Counter
from typing import Any

from harmonyrt.benchmarks.serving_client import (
    Client,
    JpegPair,
    form,
    jpeg_pair,
    pair_request,
    percentiles,
    request,
)
from harmonyrt.benchmarks.serving_mutations import BOUNDARY, EXPECTED, damaged_forms
from harmonyrt.common.progress import say

_PAIRS = 24
_CLIENTS = 4
_TRIES = 400  # of a request that is told to come again
_BAD = 0.1  # share of requests that are aborted, malformed or too large
_WARM = 1000  # requests before memory counts
_SAMPLE = 500  # requests between two looks at the memory


def pairs() -> list[JpegPair]:
    """Pairs of 0.05 to 0.5 megapixels, each unlike all others."""
    return [jpeg_pair(0.05 + 0.45 * number / (_PAIRS - 1), seed=number) for number in range(_PAIRS)]


class Soak:
    """N requests by several clients, one in ten a bad one, a session killed every minute.

    Args:
        port: of the server on 127.0.0.1.
        process: its process; SIGUSR1 kills a session.
        expected: pairs, and the bytes that a plain call gives for each.
        requests: how many.
        kill_every: seconds.
    """

    def __init__(
        self,
        port: int,
        process: subprocess.Popen[str],
        expected: list[tuple[JpegPair, bytes]],
        requests: int,
        kill_every: float,
    ) -> None:
        self._client, self._process, self._requests, self._kill_every = Client(port), process, requests, kill_every
        self._data = [(pair_request(pair), answer) for pair, answer in expected]
        self._malformed = request(form({"composite": b"no picture", "mask": b"none"})[:-20])
        self._too_large = b"POST /v1/harmonize HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
        self._left, self._done = requests, 0
        self._counts: Counter[str] = Counter()
        self._seconds: list[float] = []
        self._memory: list[tuple[int, int]] = []

    async def run(self) -> dict[str, Any]:
        """All of it; what came of it."""
        started = time.monotonic()
        killing = asyncio.ensure_future(self._kill())
        await asyncio.gather(*(self._one(number) for number in range(_CLIENTS)))
        killing.cancel()
        await self._look()
        failures = re.search(r"^harmonyrt_session_failures_total (\S+)", await self._client.text("/metrics"), re.M)
        self._client.close()
        after = [size for done, size in self._memory if done >= min(_WARM, self._requests // 2)]
        return {
            "requests": self._requests,
            "minutes": round((time.monotonic() - started) / 60, 2),
            "counts": dict(sorted(self._counts.items())),
            "answered_ms": percentiles(self._seconds),
            "session_failures": float(failures[1]) if failures else None,
            "memory_mb": [(done, round(size / 1e6, 1)) for done, size in self._memory],
            "memory_growth": round(max(after) / after[0] - 1, 4) if after else None,
        }

    async def _one(self, number: int) -> None:
        rng = random.Random(number)
        while self._left > 0:
            self._left -= 1
            data, answer = rng.choice(self._data)
            if rng.random() < _BAD:
                await self._bad(rng, data)
            else:
                await self._good(data, answer)
            self._done += 1
            if self._done % _SAMPLE == 0:
                await self._look()

    async def _good(self, data: bytes, answer: bytes) -> None:
        for _ in range(_TRIES):
            reply = await self._client.ask(data)
            if reply.status != 429:
                break
            self._counts["told to come again"] += 1
            await asyncio.sleep(0.05)
        if reply.status == 200:
            self._seconds.append(reply.seconds)
            self._counts["right" if reply.body == answer else "WRONG PIXELS"] += 1
        else:
            self._counts[f"LOST ({reply.status})"] += 1

    async def _bad(self, rng: random.Random, data: bytes) -> None:
        kind = rng.randrange(3)
        if kind == 0:
            await self._client.leave_early(data, rng.choice((0.3, 0.9, 1.0)))
            self._counts["aborted"] += 1
            return
        reply = await self._client.ask(self._malformed if kind == 1 else self._too_large)
        named, expected = (("malformed", 400), ("too large", 413))[kind - 1]
        right = reply.status in (expected, 429)
        self._counts[named if right else f"{named.upper()} GOT {reply.status}"] += 1

    async def _kill(self) -> None:
        while True:
            await asyncio.sleep(self._kill_every)
            self._process.send_signal(signal.SIGUSR1)
            self._counts["sessions killed"] += 1

    async def _look(self) -> None:
        found = re.search(r"^process_resident_memory_bytes (\S+)", await self._client.text("/metrics"), re.M)
        if found:
            self._memory.append((self._done, int(float(found[1]))))
            say(f"{self._done} of {self._requests}: {self._memory[-1][1] / 1e6:.0f} MB, {dict(self._counts)}")


async def hostile(port: int, count: int) -> dict[str, Any]:
    """Damaged forms, one after the other; what the server made of them."""
    client, statuses = Client(port), Counter[int]()
    unexpected: list[str] = []
    for number, body in enumerate(damaged_forms(count)):
        reply = await client.ask(request(body, boundary=BOUNDARY))
        statuses[reply.status] += 1
        if reply.status not in EXPECTED:
            unexpected.append(f"{number}: {reply.status} {reply.body[:200]!r}")
        if (number + 1) % 1000 == 0:
            say(f"{number + 1} of {count}: {dict(statuses)}")
    client.close()
    return {"forms": count, "statuses": {str(k): v for k, v in sorted(statuses.items())}, "unexpected": unexpected[:20]}
