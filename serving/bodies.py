"""Bodies of requests: read as they come, into memory, and never more than allowed. No file is written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harmonyrt.serving.problems import ClientLeft, Problem

_MOST_PARTS = 32
_MOST_HEADERS, _HEADER_BYTES = 8, 2048  # of one part
_TEXT_BYTES = 1000
Receive = Any
"""ASGI's `receive`."""


@dataclass
class Uploads:
    """Bytes that the server holds for requests which are being read, wait or run.

    Attributes:
        limit: of one body.
        most: of all together.
        timeout: seconds for the whole body.
        stall: seconds without a byte.
        held: right now.
    """

    limit: int
    most: int
    timeout: float
    stall: float
    held: int = 0


@dataclass
class Body:
    """One request's share of the server's memory; `release` gives it back."""

    uploads: Uploads
    held: int = 0

    def take(self, size: int) -> None:
        """Count bytes that came.

        Raises:
            Problem: all requests together hold too many.
        """
        self.held += size
        self.uploads.held += size
        if self.uploads.held > self.uploads.most:
            raise Problem(429, "the server is busy with other uploads; try again later", {"Retry-After": "2"})

    def release(self) -> None:
        """Give back what this request took."""
        self.uploads.held -= self.held
        self.held = 0


def check_length(headers: Mapping[str, str], limit: int) -> None:
    """Refuse a body that says itself that it is too large, before it is read.

    Raises:
        Problem: 413, or 400 for a length that is none.
    """
    given = headers.get("content-length")
    if given is None:
        return
    if not (given.isascii() and given.isdigit()):
        raise Problem(400, f"the Content-Length is {given[:40]!r}; give a number of bytes")
    if len(given) > 18 or int(given) > limit:
        raise too_large(limit)


def too_large(limit: int) -> Problem:
    """Refusal of a body beyond the limit."""
    return Problem(
        413,
        f"the body is larger than the limit of {limit / 1e6:g} MB; send smaller files, or raise the limit with"
        " --max-upload-mb",
    )


async def pieces(receive: Receive, body: Body) -> AsyncIterator[bytes]:
    """The body as it comes.

    Raises:
        Problem: 413 (too large), 408 (too slow), 429 (all requests together are too large).
        ClientLeft: the connection was closed before its end.
    """
    uploads, size = body.uploads, 0
    end = time.monotonic() + uploads.timeout
    more = True
    while more:
        patience = min(uploads.stall, end - time.monotonic())
        try:
            message = await asyncio.wait_for(receive(), max(patience, 0))
        except (TimeoutError, asyncio.TimeoutError):
            raise Problem(408, "the body came too slowly; send it again, over a faster connection") from None
        if message["type"] == "http.disconnect":
            raise ClientLeft
        piece = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(piece)
        if size > uploads.limit:
            raise too_large(uploads.limit)
        body.take(len(piece))
        if piece:
            yield piece


async def read_whole(receive: Receive, body: Body) -> bytearray:
    """The whole body. Errors as :func:`pieces`."""
    whole = bytearray()
    async for piece in pieces(receive, body):
        whole += piece
    return whole


@dataclass
class Form:
    """Parts of a `multipart/form-data` body, by name."""

    parts: dict[str, bytearray] = field(default_factory=dict)

    def text(self, name: str) -> str | None:
        """A short text field, stripped; None when it is not there or empty.

        Raises:
            Problem: too long, or no UTF-8.
        """
        given = self.parts.get(name)
        if given is None:
            return None
        if len(given) > _TEXT_BYTES:
            raise Problem(400, f"the field {name} has {len(given)} bytes; give a short text")
        try:
            return given.decode().strip() or None
        except UnicodeDecodeError:
            raise Problem(400, f"the field {name} is not text; give UTF-8") from None


class FormReader:
    """Takes a `multipart/form-data` body piece by piece.

    Args:
        content_type: of the request.
        known: names that a part may have.

    Raises:
        Problem: another type, or no boundary.
    """

    def __init__(self, content_type: str, known: frozenset[str]) -> None:
        from python_multipart.exceptions import FormParserError
        from python_multipart.multipart import MultipartParser, parse_options_header

        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data":
            found = kind.decode("ascii", "replace")[:80] or "missing"
            raise Problem(415, f"the Content-Type is {found}; send multipart/form-data")
        if not options.get(b"boundary"):
            raise Problem(400, "the Content-Type names no boundary; let your HTTP client make the form")
        self._known, self._parse_options = known, parse_options_header
        self._form = Form()
        self._name, self._value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._part: bytearray | None = None
        self._ended = False
        callbacks = {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_end": self._end,
        }
        self._error = FormParserError
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                callbacks,  # type: ignore[arg-type]  # a TypedDict of callables
                max_header_count=_MOST_HEADERS,
                max_header_size=_HEADER_BYTES,
            )
        except FormParserError as error:
            raise Problem(400, f"the boundary of the form cannot be used ({error}); choose a shorter one") from None

    def feed(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            Problem: the form is malformed.
        """
        try:
            self._parser.write(piece)
        except (self._error, ValueError) as error:
            raise Problem(400, f"the form is malformed ({error}); let your HTTP client make it") from None

    def finish(self) -> Form:
        """The form, once all of it has come.

        Raises:
            Problem: it lacks its end.
        """
        if not self._ended:
            raise Problem(400, "the form ends before its last boundary; send it whole")
        return self._form

    def _begin(self) -> None:
        self._headers = {}
        self._part = None

    def _header_end(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def _headers_end(self) -> None:
        kind, options = self._parse_options(self._headers.get(b"content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise Problem(400, "a part of the form has no name; send multipart/form-data")
        if self._headers.get(b"content-transfer-encoding", b"binary").lower() not in (b"binary", b"8bit", b"7bit"):
            raise Problem(400, "a part of the form has a Content-Transfer-Encoding; send its bytes as they are")
        name = options[b"name"].decode("ascii", "backslashreplace")[:80]
        if name not in self._known:
            raise Problem(400, f"the form has a field {name!r}; give {', '.join(sorted(self._known))}")
        if name in self._form.parts:
            raise Problem(400, f"the form has the field {name} twice; give it once")
        self._part = self._form.parts[name] = bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part is not None:
            self._part += memoryview(data)[start:end]

    def _end(self) -> None:
        self._ended = True


async def read_form(receive: Receive, headers: Mapping[str, str], known: frozenset[str], body: Body) -> Form:
    """The form that a request brings.

    Args:
        receive: of ASGI.
        headers: of the request, names in lower case.
        known: names that a field may have.
        body: counts the bytes.

    Raises:
        Problem: 400, 408, 413, 415 or 429.
        ClientLeft: the connection was closed before its end.
    """
    check_length(headers, body.uploads.limit)
    reader = FormReader(headers.get("content-type", ""), known)
    async for piece in pieces(receive, body):
        reader.feed(piece)
    return reader.finish()
