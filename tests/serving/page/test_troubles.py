"""What goes wrong is a sentence; servers that are busy, slow, gone, or want a key."""

from __future__ import annotations

import shutil
import threading
from typing import Any

import pytest
from PIL import Image

from fakes.browser import flat
from fakes.served import Running
from harmonyrt.serving import v1
from harmonyrt.serving.problems import Problem

GREEN = (40, 150, 60)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("broken.png", b"no picture", "“broken.png” is not a picture that this browser can show."),
        ("opaque.png", None, "“opaque.png” has no transparent parts"),
    ],
)
def test_files_that_cannot_be_used_are_refused_in_a_sentence(page, tmp_path, name, content, sentence):
    if content is None:
        Image.fromarray(flat(GREEN, 32, 32)).save(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(content)
    page.give("#file-cutout", tmp_path / name)
    alert = page.the("#error")
    assert alert.get_attribute("role") == "alert"
    assert alert.text.startswith(sentence)


def test_a_busy_server_is_asked_again(page, files, heard, monkeypatch):
    work, refused = v1.harmonize, []

    def busy(*arguments: Any, **options: Any) -> Any:
        if not refused:
            refused.append(True)
            raise Problem(429, "the server is busy; try again", {"Retry-After": "1"})
        return work(*arguments, **options)

    monkeypatch.setattr(v1, "harmonize", busy)
    page.give("#choose", files["composite.png"], files["mask.png"])
    page.the("#mask-card")
    page.click("#go")
    page.until(lambda: "busy" in page.text("#progress-text"), "it does not say that the server is busy")
    page.until(lambda: page.shown("#download"), "it was not tried again")
    assert len(heard.answers) == 1


def test_a_request_can_be_cancelled(page, files, heard, monkeypatch):
    work, go_on = v1.harmonize, threading.Event()

    def slow(*arguments: Any, **options: Any) -> Any:
        go_on.wait(20)
        return work(*arguments, **options)

    monkeypatch.setattr(v1, "harmonize", slow)
    page.give("#choose", files["composite.png"], files["mask.png"])
    page.the("#mask-card")
    page.click("#go")
    page.until(lambda: "Harmonizing" in page.text("#progress-text"), "it does not say what it does")
    page.click("#cancel")
    page.until(lambda: page.shown("#go"), "it goes on")
    go_on.set()
    assert page.run("return document.activeElement.id") == "go"
    assert not page.shown("#download")
    assert not page.shown("#error")


def test_a_server_that_is_gone_is_said(chromium, settings, files):
    server = Running(settings)
    chromium.open(server.url)
    chromium.give("#choose", files["composite.png"], files["mask.png"])
    chromium.the("#mask-card")
    server.stop()
    chromium.click("#go")
    assert chromium.the("#error").text.startswith("The server did not answer.")


def test_several_models_are_offered(chromium, running, settings, bundle, tmp_path, files, heard):
    other = tmp_path / "phnet-32-other"
    shutil.copytree(bundle, other)
    server = running(bundles=(bundle, other))
    chromium.open(server.url)
    chromium.until(lambda: chromium.shown("#model"), "there is no choice")
    chromium.set("#model", "phnet-32-other")
    chromium.give("#choose", files["composite.png"], files["mask.png"])
    chromium.harmonize()
    assert heard.models == ["phnet-32-other"]


def test_a_key_is_asked_for(chromium, running, tmp_path, files):
    (tmp_path / "keys").write_text("correct-horse-battery\n")
    server = running(api_keys=tmp_path / "keys")
    chromium.open(server.url)
    chromium.give("#choose", files["composite.png"], files["mask.png"])
    key = chromium.the("#key")
    chromium.click("#go")
    assert "no API key" in chromium.the("#error").text.replace("No", "no")
    key.send_keys("correct-horse-battery")
    chromium.harmonize()


def test_models_that_take_long_show_how_far_they_are(page, chromium, server, files, heard, monkeypatch):
    work, go_on, described = v1.harmonize, threading.Event(), v1.described

    def stepping(model: Any, wish: Any, limit: float, run: Any) -> Any:
        run.show("denoising", 2, 5)
        go_on.wait(20)
        return work(model, wish, limit, run)

    monkeypatch.setattr(v1, "harmonize", stepping)
    monkeypatch.setattr(v1, "described", lambda model: described(model) | {"fields": ["seed", "sample", "steps"]})
    chromium.open(server.url)
    page.give("#choose", files["composite.png"], files["mask.png"])
    page.the("#mask-card")
    page.click("#go")
    page.until(lambda: page.text("#progress-text") == "Denoising, step 2 of 5, 40 %", page.text("#progress-text"))
    go_on.set()
    page.until(lambda: page.shown("#download"), "there was no answer")
    page.click("#download")
    assert page.downloaded().read_bytes() == heard.answers[-1]
