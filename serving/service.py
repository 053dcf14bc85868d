"""What all routes of one server share, and how each request is let in, answered, measured and logged."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harmonyrt.runtime.machine import cores
from harmonyrt.serving.bodies import Body, Uploads
from harmonyrt.serving.keys import Keys
from harmonyrt.serving.metrics import Metrics
from harmonyrt.serving.models import Models
from harmonyrt.serving.problems import Problem
from harmonyrt.serving.room import EngineRoom
from harmonyrt.serving.settings import Settings

_MOST_WORKERS = 16
_BODIES = 8  # of the largest size that may be held at once


@dataclass
class Service:
    """A server's parts."""

    settings: Settings
    keys: Keys
    models: Models
    room: EngineRoom
    uploads: Uploads
    metrics: Metrics

    @classmethod
    def open(cls, settings: Settings) -> Service:
        """Read the keys and open every bundle.

        Raises:
            HarmonyError: what a user can mend.
        """
        keys = Keys.read(settings.api_keys)
        models = Models.open(settings)
        sessions = max(model.harmonizer.info.sessions for model in models.by_name.values())
        in_flight = settings.megapixels_in_flight or 4 * settings.max_megapixels
        room = EngineRoom(_workers(sessions), settings.queue, in_flight, settings.max_wait)
        limit = settings.upload_limit
        uploads = Uploads(limit, _BODIES * limit, settings.timeout, min(settings.stall, settings.timeout))
        service = cls(settings, keys, models, room, uploads, Metrics())
        service.metrics.watch(room, uploads, models)
        return service

    def check(self, request: Any) -> None:
        """Refuse who may not ask: no API key where one is needed, or a page of another site in somebody's browser.

        Raises:
            Problem: 401, 403.
        """
        if request.headers.get("sec-fetch-site") == "cross-site":
            raise Problem(403, "a page of another site asked; open this server's own page, or ask without a browser")
        self.keys.check(request.headers)

    @contextlib.contextmanager
    def body(self) -> Iterator[Body]:
        """A request's share of memory, given back at its end."""
        body = Body(self.uploads)
        try:
            yield body
        finally:
            body.release()

    def deadline(self) -> float:
        """By `time.monotonic()`, of a request that comes now."""
        return time.monotonic() + self.settings.timeout

    async def close(self) -> None:
        """Let the requests in the room end, then give the engines back."""
        await self.room.drain(self.settings.timeout)
        await asyncio.to_thread(self.models.close)


def _workers(sessions: int) -> int:
    """Requests to work on at once. Decoding and encoding take one core each, so engines need several to be busy."""
    return max(sessions, min(cores(), 2), min(cores() // 2, _MOST_WORKERS))


async def until_left(receive: Any) -> None:
    """End when the client has closed the connection, once its whole body has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
