"""The page's files as the server gives them; tests/serving/page drives the page itself."""

from __future__ import annotations

import mimetypes
import re
from pathlib import Path

import pytest

from fakes.served import in_memory
from harmonyrt.serving.app import PAGE

FILES = sorted(path.relative_to(PAGE) for path in PAGE.rglob("*") if path.is_file())
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "javascript",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
    ".png": "image/png",
}


@pytest.fixture
def client(settings, monkeypatch):
    """A server on a system that has no list of media types."""
    monkeypatch.setattr(mimetypes, "_db", mimetypes.MimeTypes())
    with in_memory(settings) as client:
        yield client


def test_every_file_has_its_type_and_is_asked_for_again(client):
    assert client.get("/").text == (PAGE / "index.html").read_text(encoding="utf-8")
    for path in FILES:
        answer = client.get(f"/{path.as_posix()}")
        assert answer.content == (PAGE / path).read_bytes()
        assert TYPES[path.suffix] in answer.headers["content-type"]
        assert answer.headers["cache-control"] == "no-cache"


def test_nothing_of_another_host_and_nothing_inline():
    for path in FILES:
        if path.suffix in (".html", ".css", ".js"):
            text = (PAGE / path).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?://|\bstyle=|\bon\w+=\"|@import|<style|javascript:", text), path


def test_modules_and_pictures_that_are_named_exist():
    named = set()
    for path in FILES:
        if path.suffix == ".js":
            for name in re.findall(r'(?:from|import\(|URL\() ?"(\./[^"]+)"', (PAGE / path).read_text(encoding="utf-8")):
                named.add(path.parent / Path(name))
    index = (PAGE / "index.html").read_text(encoding="utf-8")
    named |= {Path(name) for name in re.findall(r'(?:src|href)="((?:css|js)/[^"]+|icon.svg)"', index)}
    examples = (PAGE / "js" / "examples.js").read_text(encoding="utf-8")
    named |= {Path("examples") / name for name in re.findall(r'"(\w+\.(?:jpg|png|webp))"', examples)}
    assert named == {path for path in FILES if path.name != "index.html"}


def test_the_page_is_small():
    sizes = {path: (PAGE / path).stat().st_size for path in FILES}
    assert sum(size for path, size in sizes.items() if path.parts[0] == "examples") < 300_000
    assert all(
        len((PAGE / path).read_text(encoding="utf-8").splitlines()) <= 320 for path in FILES if path.suffix == ".js"
    )
