"""What surrounds every request: headers that keep browsers safe, one line in the log, a count."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Any

from harmonyrt.serving.answers import send_problem
from harmonyrt.serving.problems import ClientLeft, as_problem
from harmonyrt.serving.service import Service

log = logging.getLogger("harmonyrt.serving.requests")

_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
LEFT = 499
"""Status in the log where the client left before an answer, as nginx has it."""
_QUIET = ("/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready")


class Frame:
    """ASGI middleware of one service."""

    def __init__(self, app: Any, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, seen = time.perf_counter(), _Seen(whole=not _has_body(scope))
        name = secrets.token_hex(8)

        async def framed(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                own = [*_HEADERS, (b"x-request-id", name.encode())]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            else:
                seen.sent += len(message.get("body", b""))
            await send(message)

        async def counted() -> Any:
            message = await receive()
            seen.received += len(message.get("body", b""))
            seen.whole = not message.get("more_body", False)
            return message

        try:
            await self._app(scope, counted, framed)
        except ClientLeft:
            pass
        except Exception as error:
            problem = as_problem(error)
            if problem.status == 500:
                log.exception("request %s failed", name)
            if seen.status != LEFT:
                raise  # the answer has begun: the connection is closed without its end
            state = scope.setdefault("state", {})
            state["detail"] = problem.detail
            await send_problem(framed, counted, problem, seen.whole, scope["path"].startswith("/v2"))
        finally:
            self._say(scope, seen, name, time.perf_counter() - started)

    def _say(self, scope: dict[str, Any], seen: _Seen, name: str, seconds: float) -> None:
        metrics, route = self._service.metrics, getattr(scope.get("route"), "path", None) or "page"
        stages: dict[str, float] = scope.get("state", {}).get("stages", {})
        metrics.requests.labels(route, seen.status).inc()
        metrics.seconds.labels(route).observe(seconds)
        for stage, value in stages.items():
            metrics.stages.labels(stage).observe(value)
        level = logging.DEBUG if scope["path"] in _QUIET and seen.status == 200 else logging.INFO
        log.log(
            level,
            "%s %s %d",
            scope["method"],
            scope["path"],
            seen.status,
            extra={
                "fields": {
                    "id": name,
                    "client": (scope.get("client") or ("",))[0],
                    "method": scope["method"],
                    "path": scope["path"][:200],
                    "status": seen.status,
                    "milliseconds": round(seconds * 1000, 1),
                    "received": seen.received,
                    "sent": seen.sent,
                    **({"stages": {k: round(v * 1000, 1) for k, v in stages.items()}} if stages else {}),
                    **({"detail": scope["state"]["detail"]} if "detail" in scope.get("state", {}) else {}),
                }
            },
        )


def _has_body(scope: dict[str, Any]) -> bool:
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"


class _Seen:
    """What went through; `whole`: the request's body has been read to its end."""

    def __init__(self, whole: bool) -> None:
        self.status, self.received, self.sent, self.whole = LEFT, 0, 0, whole
