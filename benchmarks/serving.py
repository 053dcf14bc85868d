"""A server under load, next to a plain loop of `harmonize()` on the same cores in the same run.

    python -m harmonyrt.benchmarks.serving BUNDLE --json FILE
    python -m harmonyrt.benchmarks.serving BUNDLE --soak 20000 --json FILE
    python -m harmonyrt.benchmarks.serving BUNDLE --mutations 10000 --json FILE

The plain loop reads a JPEG composite and its JPEG mask, calls harmonize(), and writes a JPEG, as a request does, with
all threads. Plain and served rounds take turns; ratios are medians over rounds. Closed loop: clients that wait for
their answers. Open loop: requests that come at random, at three times the capacity, whether or not others were
answered. The client takes its share of the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import io
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from harmonyrt.benchmarks import serving_soak
from harmonyrt.benchmarks.serving_client import Client, JpegPair, Reply, jpeg_pair, pair_request, percentiles
from harmonyrt.common.files import written_whole
from harmonyrt.common.progress import say
from harmonyrt.runtime import Harmonizer, read_mask_file, read_picture_file
from harmonyrt.runtime.images.encode import save

OVERLOAD = 3.0  # times the capacity
_RECOVERED = 1.5  # times the unloaded median
_LONGEST_RECOVERY = 10.0


@contextlib.contextmanager
def served(bundle: Path, options: list[str]) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A server in a separate process: its port, and the process."""
    command = [sys.executable, "-m", "harmonyrt.benchmarks.serving_target", str(bundle), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:(\d+)$", process.stdout.readline().strip())
            if found is None:
                raise SystemExit(f"the server did not start; see {' '.join(command)}")
            yield int(found[1]), process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def plain_call(harmonizer: Harmonizer, pair: JpegPair) -> bytes:
    """What a request does, without a server."""
    picture = read_picture_file(pair.composite, name="the composite")
    result = harmonizer.harmonize(picture, read_mask_file(pair.mask, name="the mask"))
    stream = io.BytesIO()
    save(result, stream, "JPEG", "the output")
    return stream.getvalue()


def plain_round(harmonizer: Harmonizer, pair: JpegPair, seconds: float) -> list[float]:
    """Seconds of each call of a plain loop."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        started = time.perf_counter()
        plain_call(harmonizer, pair)
        times.append(time.perf_counter() - started)
    return times


async def closed_round(client: Client, data: bytes, clients: int, seconds: float) -> tuple[float, list[Reply]]:
    """Answers per second of clients that wait for their answers, and all replies."""
    replies: list[Reply] = []
    started = time.perf_counter()

    async def one() -> None:
        while time.perf_counter() < started + seconds:
            reply = await client.ask(data)
            replies.append(reply)
            if reply.status == 429:
                await asyncio.sleep(0.05)

    await asyncio.gather(*(one() for _ in range(clients)))
    return sum(r.status == 200 for r in replies) / (time.perf_counter() - started), replies


async def open_round(client: Client, data: bytes, rate: float, seconds: float, seed: int) -> list[Reply]:
    """Replies to requests that come at random moments, `rate` a second."""
    rng, tasks = random.Random(seed), []
    due = started = time.perf_counter()
    while due < started + seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.ensure_future(client.ask(data)))
        due += rng.expovariate(rate)
    return list(await asyncio.gather(*tasks))


async def recovery(client: Client, data: bytes, unloaded: float) -> float:
    """Seconds after overload until a single request is answered about as quickly as without it."""
    started = time.perf_counter()
    while (now := time.perf_counter() - started) < _LONGEST_RECOVERY:
        reply = await client.ask(data)
        if reply.status == 200 and reply.seconds <= _RECOVERED * unloaded:
            return now
        await asyncio.sleep(0.02)
    return float("inf")


def measured(harmonizer: Harmonizer, port: int, pair: JpegPair, wanted: argparse.Namespace) -> dict[str, Any]:
    """Everything about pairs of one size."""
    data = pair_request(pair)

    async def scene() -> dict[str, Any]:
        client = Client(port)
        for _ in range(3):
            plain_call(harmonizer, pair)
            first = await client.ask(data)
            if first.status != 200:
                raise SystemExit(f"the server answered {first.status}: {first.body[:300]!r}")
        same = first.body == plain_call(harmonizer, pair)
        plain: list[float] = []
        single: list[float] = []
        rates: list[tuple[float, float]] = []
        alone: list[tuple[float, float]] = []
        for number in range(wanted.rounds):
            calls = plain_round(harmonizer, pair, wanted.seconds)
            _, replies = await closed_round(client, data, 1, wanted.seconds)
            latencies = [r.seconds for r in replies if r.status == 200]
            saturated, _ = await closed_round(client, data, wanted.clients, wanted.seconds)
            plain += calls
            single += latencies
            alone.append((statistics.median(calls), statistics.median(latencies)))
            rates.append((len(calls) / sum(calls), saturated))
            say(f"{pair.megapixels:.2g} Mpx round {number + 1}: plain {rates[-1][0]:.2f}/s, served {saturated:.2f}/s")
        capacity = statistics.median(served_rate for _, served_rate in rates)
        replies = await open_round(client, data, OVERLOAD * capacity, wanted.open_seconds, 1)
        accepted = [r.seconds for r in replies if r.status == 200]
        unloaded = statistics.median(single)
        back = await recovery(client, data, unloaded)
        found = re.search(r"^process_resident_memory_bytes (\S+)", await client.text("/metrics"), re.MULTILINE)
        statuses = {str(s): sum(r.status == s for r in replies) for s in sorted({r.status for r in replies})}
        client.close()
        return {
            "megapixels": round(pair.megapixels, 3),
            "request_bytes": len(data),
            "server_mb": round(float(found[1]) / 1e6, 1) if found else None,
            "same_bytes_as_plain": same,
            "plain_ms": percentiles(plain),
            "unloaded_ms": percentiles(single),
            "unloaded_ratio": round(statistics.median(ours / theirs for theirs, ours in alone), 4),
            "plain_per_second": round(statistics.median(theirs for theirs, _ in rates), 3),
            "served_per_second": round(capacity, 3),
            "throughput_ratio": round(statistics.median(ours / theirs for theirs, ours in rates), 4),
            "open": {
                "requests_per_second": round(OVERLOAD * capacity, 3),
                "seconds": wanted.open_seconds,
                "statuses": statuses,
                "accepted_ms": percentiles(accepted),
                "accepted_p99_over_unloaded": round(percentiles(accepted).get("p99", 0) / 1000 / unloaded, 3),
                "refused_ms": percentiles([r.seconds for r in replies if r.status == 429]),
                "recovery_seconds": round(back, 3),
            },
        }

    return asyncio.run(scene())


def _command(wanted: argparse.Namespace) -> str:
    """What was run, without the folders of this machine."""
    shown = {str(wanted.bundle): f"engines/{wanted.bundle.resolve().name}"}
    if wanted.json is not None:
        shown[str(wanted.json)] = wanted.json.name
    return " ".join(["python -m harmonyrt.benchmarks.serving", *(shown.get(word, word) for word in sys.argv[1:])])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.5, 2.0, 12.0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each part of a round (default: 4)")
    parser.add_argument("--open-seconds", type=float, default=20.0, help="of overload (default: 20)")
    parser.add_argument("--clients", type=int, default=None, help="at saturation (default: one more than cores)")
    parser.add_argument("--soak", type=int, default=0, metavar="N", help="instead: N mixed requests")
    parser.add_argument("--kill-every", type=float, default=60.0, help="soak: seconds between killed sessions")
    parser.add_argument("--mutations", type=int, default=0, metavar="N", help="instead: N damaged forms")
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--serve", nargs=argparse.REMAINDER, default=[], help="options of harmonyrt serve, last")
    wanted = parser.parse_args()
    from harmonyrt.runtime.machine_report import machine

    wanted.clients = wanted.clients or len(os.sched_getaffinity(0)) + 1
    started = time.monotonic()
    with served(wanted.bundle, wanted.serve) as (port, process):
        if wanted.mutations:
            results: Any = {"mutations": asyncio.run(serving_soak.hostile(port, wanted.mutations))}
        elif wanted.soak:
            with Harmonizer.open(wanted.bundle) as harmonizer:
                expected = [(p, plain_call(harmonizer, p)) for p in serving_soak.pairs()]
            soak = serving_soak.Soak(port, process, expected, wanted.soak, wanted.kill_every)
            results = {"soak": asyncio.run(soak.run())}
        else:
            with Harmonizer.open(wanted.bundle) as harmonizer:
                results = {"sizes": [measured(harmonizer, port, jpeg_pair(m), wanted) for m in wanted.megapixels]}
        alive = process.poll() is None
    found = {
        "kind": "harmonyrt-serving",
        "schema": 1,
        "what": "a server under load, next to a plain loop",
        "command": _command(wanted),
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(),
        "bundle": wanted.bundle.resolve().name,
        "server_alive_at_end": alive,
        "exit_code": process.returncode,
        "minutes": round((time.monotonic() - started) / 60, 2),
        **results,
    }
    text = json.dumps(found, indent=1, default=dataclasses.asdict, allow_nan=True) + "\n"
    print(text)
    if wanted.json is not None:
        with written_whole(wanted.json) as scratch:
            scratch.write_text(text)


if __name__ == "__main__":
    main()
