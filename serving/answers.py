"""Answers that are the same for every face: headers of notes and timings, problems, and refusals that come early."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from harmonyrt.serving.problems import MEDIA_TYPE, Problem

_PLAIN = " !\"#$&'()*+-./:;<=>?@[]^_`{|}~"  # no comma, which joins headers of one name, and no percent sign
_LINGER_SECONDS, _LINGER_BYTES = 2.0, 16 << 20
Headers = list[tuple[bytes, bytes]]


def sentence_headers(sentences: Sequence[str]) -> Headers:
    """`HarmonyRT-Note` and `HarmonyRT-Warning`, one for each sentence of the command line's stderr.

    Characters beyond ASCII, commas and percent signs are percent-encoded: `decodeURIComponent` of each value between
    commas gives the sentences, however a client joins headers of one name.
    """
    found: Headers = []
    for sentence in sentences:
        kind, _, text = sentence.partition(": ")
        name = b"harmonyrt-warning" if kind == "warning" else b"harmonyrt-note"
        found.append((name, quote(text if kind in ("note", "warning") else sentence, safe=_PLAIN).encode()))
    return found


def timing_header(seconds: Mapping[str, float], total: float) -> tuple[bytes, bytes]:
    """`Server-Timing`: milliseconds by stage."""
    stages = [*seconds.items(), ("total", total)]
    return b"server-timing", ", ".join(f"{name};dur={value * 1000:.1f}" for name, value in stages).encode()


async def send_whole(send: Any, status: int, headers: Headers, body: bytes | memoryview) -> None:
    """Send an answer of known length."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": bytes(body)})


async def send_problem(send: Any, receive: Any, problem: Problem, body_read: bool, protocol: bool = False) -> None:
    """Send a problem; with `protocol` as the open inference protocol has errors.

    Where the request's body was not read to its end, read on for a moment before closing: a connection that is closed
    with bytes unread is reset, and the client may lose the answer.
    """
    body = json.dumps({"error": problem.detail}).encode() if protocol else problem.body()
    media_type = b"application/json" if protocol else MEDIA_TYPE.encode()
    headers: Headers = [(b"content-type", media_type), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in problem.headers.items()]
    if body_read:
        await send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await _linger(receive)
    await send({"type": "http.response.body", "body": b""})


async def _linger(receive: Any) -> None:
    end, size = time.monotonic() + _LINGER_SECONDS, 0
    while size < _LINGER_BYTES:
        try:
            message = await asyncio.wait_for(receive(), max(0.0, end - time.monotonic()))
        except (TimeoutError, asyncio.TimeoutError):
            return
        size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
