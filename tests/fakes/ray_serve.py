"""Ray Serve on a free port of this machine."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from unittest import mock

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}


@contextlib.contextmanager
def ray_serve() -> Iterator[str]:
    """Its address, with two cores and nothing deployed yet."""
    import ray
    from ray import serve

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"num_cpus": 2, "include_dashboard": False, "log_to_driver": False, "object_store_memory": 100 << 20}
    with mock.patch.dict(os.environ, QUIET):
        try:
            ray.init("local", **options)
        except Exception:  # Ray gives its own node 30 seconds, which a busy machine may not keep
            ray.shutdown()
            ray.init("local", **options)
        try:
            serve.start(http_options={"host": "127.0.0.1", "port": port})
            yield f"http://127.0.0.1:{port}"
            serve.shutdown()
        finally:
            ray.shutdown()
