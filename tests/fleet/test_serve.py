"""The server as a Ray Serve application: the same answers, and both versions of a bundle during an upgrade."""

import io
import threading
import time

import numpy as np
import pytest
from PIL import Image

from fakes.ray_serve import ray_serve
from harmonyrt.common import HarmonyError
from harmonyrt.fleet.service import BUNDLE_HEADER, Options

WHERE = "needs Ray's environment: make test-fleet"


def test_options_come_as_texts_or_values():
    options = Options.read({"bundles": "a,b", "replicas": "2", "queue": "8", "ongoing": 3})
    assert (options.bundles, options.replicas, options.ongoing) == (("a", "b"), 2, 3.0)
    assert options.settings == {"threads": 1, "queue": "8"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "no bundle was given"),
        ({"bundles": "a", "replica": 2}, "replica is no option"),
        ({"bundles": "a", "cpus": "two"}, "give a number"),
        ({"bundles": "a", "port": 1}, "port is no option"),
    ],
)
def test_wrong_options_are_one_sentence(given, sentence):
    with pytest.raises(HarmonyError, match=sentence):
        Options.read(given)


@pytest.fixture(scope="module")
def address():
    pytest.importorskip("ray", reason=WHERE)
    with ray_serve() as found:
        yield found


@pytest.fixture
def two_versions(tmp_path, bundle):
    """The bundle under two names."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        for path in bundle.iterdir():
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    return tmp_path / "old", tmp_path / "new"


def ask(address, httpx, headers=None):
    rng = np.random.default_rng(3)
    files = {}
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 20:50] = 255
    for name, pixels in (("composite", rng.integers(60, 250, (48, 64, 3), dtype=np.uint8)), ("mask", mask)):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        files[name] = (f"{name}.png", stream.getvalue(), "image/png")
    return httpx.post(f"{address}/v1/harmonize", files=files, headers=headers, timeout=60)


def test_a_service_answers_as_the_server_does_and_goes_on_through_an_upgrade(address, two_versions, bundle):
    httpx = pytest.importorskip("httpx", reason=WHERE)
    from fastapi.testclient import TestClient
    from ray import serve

    from harmonyrt.fleet.service import app
    from harmonyrt.serving.app import create_app
    from harmonyrt.serving.service import Service
    from harmonyrt.serving.settings import Settings

    old, new = two_versions
    serve.run(app({"bundles": [str(old)], "most_replicas": 1}), route_prefix="/")
    with TestClient(create_app(Service.open(Settings((bundle,), threads=1)))) as alone:
        wanted = ask("", alone)
    answer = ask(address, httpx)
    assert answer.status_code == wanted.status_code == 200, answer.text
    assert answer.content == wanted.content
    assert httpx.get(f"{address}/healthz").status_code == 200
    assert old.name in httpx.get(f"{address}/v1/models").text

    codes, over = [], threading.Event()

    def go_on() -> None:
        while not over.is_set():
            codes.append(ask(address, httpx).status_code)
            time.sleep(0.05)

    asking = threading.Thread(target=go_on)
    asking.start()
    try:
        serve.run(app({"bundles": [str(new)], "most_replicas": 1}), route_prefix="/")
        deadline = time.monotonic() + 90
        while new.name not in httpx.get(f"{address}/v1/models", timeout=60).text:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        over.set()
        asking.join()
    assert codes
    assert set(codes) == {200}, "nobody was refused meanwhile"


def test_bundles_are_opened_as_requests_name_them(address, two_versions):
    httpx = pytest.importorskip("httpx", reason=WHERE)
    from ray import serve

    from harmonyrt.fleet.service import app

    serve.run(app({"bundles": [str(path) for path in two_versions], "loaded": 1, "most_replicas": 1}), route_prefix="/")
    for name in ("old", "new", "old"):
        assert ask(address, httpx, {BUNDLE_HEADER: name}).status_code == 200
        assert name in httpx.get(f"{address}/v1/models", headers={BUNDLE_HEADER: name}, timeout=60).text
    assert ask(address, httpx).status_code == 200
    wrong = ask(address, httpx, {BUNDLE_HEADER: "../etc"})
    assert (wrong.status_code, wrong.text.split(";")[0]) == (404, "there is no bundle ../etc")
