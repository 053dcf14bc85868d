"""A light HTTP client for load: prepared requests over plain connections, to take little of the server's CPU."""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from dataclasses import dataclass

import numpy as np
from PIL import Image

LOST = 0
"""Status of a request that got no answer."""
_BOUNDARY = b"harmonyrt-benchmark"


@dataclass(frozen=True)
class JpegPair:
    """A composite and its mask as JPEG files."""

    composite: bytes
    mask: bytes
    megapixels: float


@dataclass(frozen=True)
class Reply:
    """How a request ended: 0 where the connection did. Seconds from its first byte to the answer's last one."""

    status: int
    seconds: float
    body: bytes
    retry_after: float = 0.0


def jpeg_pair(megapixels: float, seed: int = 0) -> JpegPair:
    """A picture of clouds with grain, 3:2, and an ellipse with a soft border that covers about a fifth of it."""
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    width = round(height * 1.5)
    rng = np.random.default_rng(seed)
    whole = np.zeros((height, width, 3), np.float32)
    for points, weight in ((4, 90), (16, 45), (64, 22), (256, 11)):
        coarse = rng.integers(0, 256, (points, points * 3 // 2, 3), dtype=np.uint8)
        fine = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        whole += np.asarray(fine, np.float32) * (weight / 255)
    whole += rng.normal(0, 3, (height, width, 1)).astype(np.float32)
    down = (np.arange(height, dtype=np.float32)[:, None] / height - rng.uniform(0.4, 0.6)) / 0.25
    across = (np.arange(width, dtype=np.float32)[None] / width - rng.uniform(0.4, 0.6)) / 0.25
    mask = (np.clip((1 - np.hypot(down, across)) / 0.02 + 0.5, 0, 1) * 255).astype(np.uint8)
    files = []
    for pixels in (whole.clip(0, 255).astype(np.uint8), mask):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=90)
        files.append(stream.getvalue())
    return JpegPair(files[0], files[1], height * width / 1e6)


def form(parts: dict[str, bytes], boundary: bytes = _BOUNDARY) -> bytes:
    """A `multipart/form-data` body."""
    whole = b""
    for name, data in parts.items():
        head = f'Content-Disposition: form-data; name="{name}"; filename="{name}.jpg"\r\nContent-Type: image/jpeg'
        whole += b"--" + boundary + b"\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n"
    return whole + b"--" + boundary + b"--\r\n"


def request(body: bytes, path: str = "/v1/harmonize", boundary: bytes = _BOUNDARY) -> bytes:
    """A whole request with a form."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Content-Type: multipart/form-data; boundary=" + boundary + b"\r\n\r\n" + body


def pair_request(pair: JpegPair) -> bytes:
    """The request that harmonizes a pair."""
    return request(form({"composite": pair.composite, "mask": pair.mask}))


class Client:
    """Connections to one server, kept open and used again."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, data: bytes) -> Reply:
        """Send a request and read its answer."""
        started = time.perf_counter()
        while True:
            used = bool(self._free)
            try:
                connection = self._free.pop() if used else await asyncio.open_connection("127.0.0.1", self.port)
                return await self._exchange(connection, data, started)
            except (OSError, asyncio.IncompleteReadError, ValueError):
                if not used:
                    return Reply(
                        LOST, time.perf_counter() - started, b""
                    )  # a kept connection may just have been closed

    async def _exchange(
        self, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], data: bytes, started: float
    ) -> Reply:
        reader, writer = connection
        try:
            writer.write(data)
            sending = asyncio.ensure_future(writer.drain())
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                fields = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
                body = await reader.readexactly(int(fields.get("content-length", 0)))
            finally:
                sending.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await sending
        except BaseException:
            writer.close()
            raise
        reply = Reply(int(head[0].split()[1]), time.perf_counter() - started, body, float(fields.get("retry-after", 0)))
        if fields.get("connection") == "close":
            writer.close()
        else:
            self._free.append(connection)
        return reply

    async def leave_early(self, data: bytes, share: float) -> None:
        """Send a part of a request and close the connection."""
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(data[: int(len(data) * share)])
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.close()

    async def text(self, path: str) -> str:
        """The body of a GET."""
        return (await self.ask(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())).body.decode()

    def close(self) -> None:
        """Close every connection that is open."""
        for _, writer in self._free:
            writer.close()
        self._free.clear()


def percentiles(seconds: list[float]) -> dict[str, float | int]:
    """Milliseconds: median and the slow end."""
    if not seconds:
        return {"count": 0}
    found = np.percentile(np.array(seconds) * 1000, (50, 90, 99, 100))
    named = {name: round(float(value), 2) for name, value in zip(("p50", "p90", "p99", "max"), found, strict=True)}
    return {"count": len(seconds), **named}
