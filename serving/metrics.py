"""What Prometheus reads: requests, seconds by stage, the queue, sessions, memory."""

from __future__ import annotations

from typing import Any

from harmonyrt.serving.bodies import Uploads
from harmonyrt.serving.models import Models
from harmonyrt.serving.room import EngineRoom

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """Counters of one server, in a registry of their own: several servers may live in one process."""

    def __init__(self) -> None:
        import prometheus_client as prometheus

        self.registry = prometheus.CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = prometheus.Counter(
            "harmonyrt_requests", "Requests by route and status.", ("route", "status"), **own
        )
        self.seconds = prometheus.Histogram(
            "harmonyrt_request_seconds", "Seconds of a request.", ("route",), buckets=_SECONDS, **own
        )
        self.stages = prometheus.Histogram(
            "harmonyrt_stage_seconds", "Seconds of a stage of a request.", ("stage",), buckets=_SECONDS, **own
        )
        self._gauge = lambda name, about: prometheus.Gauge(f"harmonyrt_{name}", about, **own)
        prometheus.ProcessCollector(registry=self.registry)

    def watch(self, room: EngineRoom, uploads: Uploads, models: Models) -> None:
        """Show a server's queue and sessions as they are when somebody looks."""
        for name, about, value in (
            ("queue_length", "Requests that wait.", lambda: len(room.waiting)),
            ("queue_limit", "Requests that may wait.", lambda: room.queue),
            ("requests_running", "Requests that are worked on.", lambda: len(room.running)),
            ("workers", "Requests that can be worked on at once.", lambda: room.workers),
            ("megapixels_in_flight", "Megapixels of the requests that are worked on.", lambda: room.megapixels_held),
            ("upload_bytes", "Bytes of bodies in memory.", lambda: uploads.held),
            (
                "sessions",
                "Calls that the engines work on at once.",
                lambda: sum(m.harmonizer.info.sessions for m in models.by_name.values()),
            ),
            (
                "session_failures_total",
                "Sessions that failed and were replaced.",
                lambda: sum(m.failures for m in models.by_name.values()),
            ),
            ("draining", "1 while the server stops.", lambda: float(room.draining)),
        ):
            self._gauge(name, about).set_function(value)

    def text(self) -> tuple[bytes, str]:
        """What `/metrics` answers, and its media type."""
        import prometheus_client as prometheus

        return prometheus.generate_latest(self.registry), prometheus.CONTENT_TYPE_LATEST
