"""A server around a bundle made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from fakes.served import Pair, Running, in_memory, made_pair
from harmonyrt.serving.settings import Settings


@pytest.fixture(scope="session")
def pair() -> Pair:
    return made_pair()


@pytest.fixture(scope="session")
def settings(bundle) -> Settings:
    """Of every server of these tests; `replace` changes what a test is about."""
    return Settings((bundle,), port=0, threads=1, backend="onnxruntime", timeout=20.0)


@pytest.fixture(scope="module")
def client(settings) -> Iterator[TestClient]:
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
