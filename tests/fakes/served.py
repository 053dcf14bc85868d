"""A server for tests, in memory or on a real port, and pictures as bytes of files."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from harmonyrt.serving.app import create_app
from harmonyrt.serving.service import Service
from harmonyrt.serving.settings import Settings


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """An array as the bytes of a file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def decoded(data: bytes) -> np.ndarray:
    """The pixels of a file."""
    return np.asarray(Image.open(io.BytesIO(data)))


@dataclass(frozen=True)
class Pair:
    """A composite and its mask, as pixels and as PNG files."""

    composite: np.ndarray
    mask: np.ndarray

    @property
    def files(self) -> dict[str, bytes]:
        return {"composite": encoded(self.composite), "mask": encoded(self.mask)}


def made_pair(seed: int = 3, height: int = 48, width: int = 64) -> Pair:
    """A pair that differs by its seed."""
    rng = np.random.default_rng(seed)
    composite = rng.integers(60, 250, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[height // 5 : height // 2, width // 3 : width - width // 4] = 255
    return Pair(composite, mask)


@contextlib.contextmanager
def in_memory(settings: Settings) -> Iterator[TestClient]:
    """A client of a server without a port."""
    service = Service.open(settings)
    with TestClient(create_app(service)) as client:
        client.service = service  # type: ignore[attr-defined]
        yield client


async def asked(app: Any, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    """Status and body of a POST, by ASGI alone."""
    came = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, Any]] = []
    answered = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if came:
            return came.pop()
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            answered.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()]
        + [(b"content-length", str(len(body)).encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


class Running:
    """A server on a free port of 127.0.0.1, in a thread."""

    def __init__(self, settings: Settings) -> None:
        import uvicorn

        from harmonyrt.serving.connections import connection_class

        self.service = Service.open(settings)
        config = uvicorn.Config(
            create_app(self.service),
            port=0,
            http=connection_class(settings.stall),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
        self.server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()
        end = time.monotonic() + 60
        while not self.server.started:
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.01)
        self.port: int = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def connection(self) -> socket.socket:
        """A plain connection, to be rude on."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60)

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()
