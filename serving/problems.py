"""What went wrong with a request: a status and one sentence, as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from harmonyrt.common import HarmonyError, OutOfMemory, WorkFailed
from harmonyrt.common.errors import TooLarge, UnknownFormat

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """Why a request is not answered as asked.

    Args:
        status: of HTTP.
        detail: one sentence: what happened, what was found, what to do.
        headers: more headers of the answer.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})

    def body(self) -> bytes:
        """Give the body of the answer."""
        title = HTTPStatus(self.status).phrase
        return json.dumps(
            {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}, ensure_ascii=False
        ).encode("utf-8", "backslashreplace")


class ClientLeft(Exception):
    """Who asked has closed the connection: nobody reads an answer."""


def as_problem(error: Exception) -> Problem:
    """The status that an error of the runtime means, with its own sentence."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, TooLarge):
        return Problem(413, str(error))
    if isinstance(error, UnknownFormat):
        return Problem(415, str(error))
    if isinstance(error, OutOfMemory | MemoryError):
        what = str(error) or "the machine ran out of memory; give a smaller picture, or try again later"
        return Problem(503, what, {"Retry-After": "5"})
    if isinstance(error, WorkFailed):
        return Problem(500, str(error))
    if isinstance(error, HarmonyError):
        return Problem(422, str(error))
    return Problem(500, "the server failed at this request, which is a fault of its own; its log says more")
