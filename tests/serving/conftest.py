"""A server around a bundle made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from fakes.ray_serve import ray_serve
from fakes.served import Pair, Running, in_memory, made_pair
from harmonyrt.serving.settings import Settings


@pytest.fixture(scope="session")
def pair() -> Pair:
    return made_pair()


@pytest.fixture(scope="session")
def settings(bundle) -> Settings:
    """Of every server of these tests; `replace` changes what a test is about."""
    return Settings((bundle,), port=0, threads=1, backend="onnxruntime", timeout=20.0)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.on_ray_serve:
        items[:] = [item for item in items if "client" in getattr(item, "fixturenames", ())]


@pytest.fixture(scope="session")
def on_ray_serve(settings) -> Iterator[httpx.Client]:
    """The same server as a Ray Serve application."""
    from ray import serve

    from harmonyrt.fleet.service import app

    options = {"threads": settings.threads, "backend": settings.backend, "timeout": settings.timeout}
    with ray_serve() as address:
        serve.run(app({"bundles": list(map(str, settings.bundles)), "most_replicas": 1, **options}), route_prefix="/")
        with httpx.Client(base_url=address, timeout=60) as client:
            yield client


@pytest.fixture(scope="module")
def client(settings, request) -> Iterator[TestClient | httpx.Client]:
    if request.config.option.on_ray_serve:
        yield request.getfixturevalue("on_ray_serve")
        return
    with in_memory(settings) as client:
        yield client


@pytest.fixture
def running(settings):
    """running(queue=2, ...): a server with these settings, stopped at the test's end."""
    started: list[Running] = []

    def start(**changes: Any) -> Running:
        started.append(Running(replace(settings, **changes)))
        return started[-1]

    yield start
    for server in started:
        server.stop()
