"""Starts and stops a server: sockets, signals, log lines."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import require
from harmonyrt.common.signals import handled
from harmonyrt.serving.memory import giving_back, keep_freed_memory
from harmonyrt.serving.settings import Settings

_HEAD_BYTES = 32 << 10
_KEEP_ALIVE = 15  # seconds
_SWITCH = (
    0.001  # seconds that a request's thread may keep the event loop waiting, which refuses others; Python has 0.005
)


def serve(settings: Settings, say: Callable[[str], None]) -> int:
    """Serve until SIGTERM or SIGINT, then let the requests in hand end.

    Args:
        settings: see there.
        say: told the address, once requests are taken.

    Returns:
        0.

    Raises:
        HarmonyError: a package or bundle is missing, or the address cannot be had.
    """
    for package in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
        require(package, "serve", "harmonyrt serve")
    import uvicorn

    from harmonyrt.serving.app import create_app
    from harmonyrt.serving.connections import connection_class
    from harmonyrt.serving.service import Service

    keep_freed_memory()
    sys.setswitchinterval(_SWITCH)
    with _logging(settings.log):
        service = Service.open(settings)
        config = uvicorn.Config(
            create_app(service),
            host=settings.host,
            port=settings.port,
            http=connection_class(settings.stall),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=_HEAD_BYTES,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=int(settings.timeout) + 5,
        )

        class Server(uvicorn.Server):
            async def startup(self, sockets: Any = None) -> None:
                await super().startup(sockets)
                found = self.servers[0].sockets[0].getsockname()
                host = f"[{found[0]}]" if ":" in found[0] else found[0]
                say(f"HarmonyRT serves {', '.join(service.models.by_name)} at http://{host}:{found[1]}")

            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield  # ours are set below: uvicorn would raise them again once it has stopped

        server = Server(config)

        def stop(number: int, frame: Any) -> None:
            service.room.draining = True
            server.handle_exit(number, frame)

        try:
            with giving_back(), handled((signal.SIGINT, signal.SIGTERM), stop):
                server.run()
        except SystemExit:
            raise HarmonyError(
                f"{settings.host}:{settings.port} cannot be listened on; choose another --port, or 0 for any free one"
            ) from None
    return 0


@contextlib.contextmanager
def _logging(kind: str) -> Iterator[None]:
    """Lines on stderr: one for each request, and what the runtime and uvicorn have to say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if kind == "json" else _Text())
    loggers = [logging.getLogger("harmonyrt"), logging.getLogger("uvicorn")]
    before = [logger.level for logger in loggers]
    for logger, level in zip(loggers, (logging.INFO, logging.WARNING), strict=True):
        logger.addHandler(handler)
        logger.setLevel(level)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what libraries remark about the files of strangers
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {"time": _time(record), "level": record.levelname.lower()}
        fields |= getattr(record, "fields", None) or {"message": record.getMessage()}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", None)
        if fields is None:
            text = f"{_time(record)} {record.levelname.lower()}: {record.getMessage()}"
        else:
            more = f"{fields['milliseconds']:.0f} ms, {fields['received']} bytes in, {fields['sent']} out"
            detail = f": {fields['detail']}" if "detail" in fields else ""
            path = ascii(fields["path"])[1:-1]
            text = f"{_time(record)} {fields['id']} {fields['method']} {path} {fields['status']} ({more}){detail}"
        text = text.encode("ascii", "backslashreplace").decode().replace("\n", "\\n")
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def _time(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03d}Z"
