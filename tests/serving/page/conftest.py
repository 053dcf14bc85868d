"""The page in a real Chromium, against a real server whose engine darkens: output = 0.9 x composite."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fakes.browser import Browser, browser, flat
from fakes.served import Running, decoded
from harmonyrt.serving import v1

GREEN, ORANGE = (40, 150, 60), (230, 120, 30)
"""Of the photo (blue grows downwards), and of the cut-out."""


@dataclass
class Heard:
    """What the server was asked and what it answered, newest last."""

    wishes: list[Any] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)

    @property
    def composite(self) -> np.ndarray:
        """Of the newest request."""
        return decoded(bytes(self.wishes[-1].pictures["composite"]))

    @property
    def mask(self) -> np.ndarray:
        """Of the newest request, one channel."""
        found = decoded(bytes(self.wishes[-1].pictures["mask"]))
        return found if found.ndim == 2 else found[..., 0]


@pytest.fixture
def heard(monkeypatch) -> Heard:
    log, work = Heard(), v1.harmonize

    def listened(model: Any, wish: Any, *arguments: Any, **options: Any) -> Any:
        log.wishes.append(wish)
        log.models.append(model.name)
        answer = work(model, wish, *arguments, **options)
        log.answers.append(bytes(answer.body))
        return answer

    monkeypatch.setattr(v1, "harmonize", listened)
    return log


@pytest.fixture(scope="module")
def chromium(tmp_path_factory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("downloads")) as started:
        yield started


@pytest.fixture(scope="module")
def server(settings) -> Iterator[Running]:
    started = Running(settings)
    yield started
    started.stop()


@pytest.fixture
def page(chromium, server) -> Iterator[Browser]:
    """The page, just opened; in the end, nothing may have been asked of another host or complained about."""
    chromium.open(server.url)
    yield chromium
    assert {url.split("/", 3)[2] for url in chromium.requested() if url.startswith("http")} == {
        f"127.0.0.1:{server.port}"
    }
    assert not [line for line in chromium.complaints() if "the server responded with a status" not in line]


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    """A photo, a cut-out with a hole, a composite and its mask, 320x200."""
    cutout = flat((*ORANGE, 255), 80, 60)
    cutout[20:40, 30:50, 3] = 0
    mask = np.zeros((200, 320), np.uint8)
    mask[60:140, 100:220] = 255
    gradient = flat(GREEN, 320, 200)
    gradient[..., 2] = np.arange(200, dtype=np.uint8)[:, None]
    pictures = {"photo.png": gradient, "cutout.png": cutout, "mask.png": mask, "composite.png": gradient}
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(tmp_path / name)
    Image.fromarray(gradient).save(tmp_path / "composite.jpg", quality=95, exif=Image.Exif().tobytes())
    return {name: tmp_path / name for name in (*pictures, "composite.jpg")}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
