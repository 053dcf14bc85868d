"""What strangers do to a server: slow, endless, damaged and huge requests, and clients that leave."""

from __future__ import annotations

import asyncio
import json
import struct
import time
import zlib

import numpy as np
import pytest

from fakes.served import asked, encoded, made_pair
from harmonyrt.benchmarks.serving_client import form
from harmonyrt.benchmarks.serving_mutations import BOUNDARY, EXPECTED, damaged_forms

FORM = {"content-type": "multipart/form-data; boundary=edge"}


def ask_damaged(client, count: int) -> dict[int, int]:
    """Damaged forms, one after the other, without a client library in between."""
    statuses: dict[int, int] = {}

    async def scene() -> None:
        for body in damaged_forms(count):
            status, answer = await asked(client.app, "/v1/harmonize", body, FORM)
            statuses[status] = statuses.get(status, 0) + 1
            assert status in EXPECTED, (status, answer[:500], body[:200])
            if status != 200:
                assert json.loads(answer)["detail"]

    asyncio.run(scene())
    return statuses


def test_damaged_forms_get_a_sentence(client):
    statuses = ask_damaged(client, 250)
    assert len(statuses) >= 3  # some whole still, some malformed, some pictures damaged


@pytest.mark.slow
def test_ten_thousand_damaged_forms_get_a_sentence(client):
    ask_damaged(client, 10_000)


def test_a_body_that_never_ends_is_cut_off(running):
    server = running(max_upload_mb=0.2)
    with server.connection() as connection:
        head = b"POST /v1/harmonize HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=edge\r\n"
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        part = b'--edge\r\nContent-Disposition: form-data; name="composite"\r\n\r\n'
        connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        answer = b""
        try:
            for _ in range(40):
                connection.sendall(b"2000\r\n" + bytes(0x2000) + b"\r\n")
        except OSError:
            pass
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert server.service.uploads.held == 0


def test_a_length_beyond_the_limit_is_refused_before_its_body(running):
    server = running()
    with server.connection() as connection:
        connection.sendall(
            b"POST /v1/harmonize HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=edge\r\n"
            b"Content-Length: 99999999999\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 "), "it waits for nothing: none of the body was sent"


def test_slow_bodies_and_slow_heads_are_given_up(running):
    server = running(stall=1.0)
    with server.connection() as slow_body, server.connection() as slow_head, server.connection() as silent:
        slow_body.sendall(
            b"POST /v1/harmonize HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=edge\r\n"
            b"Content-Length: 100\r\n\r\n--edge"
        )
        slow_head.sendall(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        assert slow_body.recv(65536).startswith(b"HTTP/1.1 408 ")
        assert slow_head.recv(65536) == b""
        assert silent.recv(65536) == b""
    assert server.service.uploads.held == 0


def test_a_bomb_is_refused_by_its_header(client):
    small = encoded(np.zeros((10, 10), np.uint8))
    header = b"IHDR" + struct.pack(">II", 20_000, 20_000) + small[24:29]
    bomb = small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]
    answer = client.post("/v1/harmonize", files={"composite": bomb, "mask": bomb})
    assert answer.status_code == 413
    assert "400 megapixels" in answer.json()["detail"], "not that it ends too early, which decoding would have found"


def test_who_leaves_early_is_not_worked_for(running, pair):
    server = running(sessions=1)
    before = server.service.models.named(None).harmonizer
    release = asyncio.Event()
    started = []

    def slow(*arguments, **options):
        started.append(1)
        while not release.is_set():
            time.sleep(0.01)
        return type(before).harmonize_detailed(before, *arguments, **options)

    before.harmonize_detailed = slow
    body = form(pair.files, BOUNDARY)
    request = (
        b"POST /v1/harmonize HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=edge\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    ) + body
    busy = [server.connection() for _ in range(server.service.room.workers)]
    for connection in busy:
        connection.sendall(request)
    wait_for(lambda: len(started) == len(busy))
    with server.connection() as leaving:
        leaving.sendall(request)
        wait_for(lambda: len(server.service.room.waiting) == 1)
    wait_for(lambda: not server.service.room.waiting)
    release.set()
    for connection in busy:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.close()
    assert len(started) == len(busy)


def wait_for(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_no_file_is_written_and_no_path_is_read(client, pair, tmp_path, monkeypatch):
    """Bodies above the size at which python-multipart's own forms go to disk stay in memory."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    large = made_pair(height=700, width=900)
    answer = client.post("/v1/harmonize", files={name: ("/etc/passwd", data) for name, data in large.files.items()})
    assert answer.status_code == 200
    assert not list(tmp_path.iterdir())
    for path in ("/../../../etc/passwd", "/%2e%2e/%2e%2e/pyproject.toml", "/..%2f..%2fpyproject.toml", "/app.py"):
        assert client.get(path).status_code == 404
    assert "root:" not in client.get("//etc/passwd").text


def test_another_sites_page_is_refused(client, pair):
    answer = client.post("/v1/harmonize", files=pair.files, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_every_answer_has_the_headers_that_keep_browsers_safe(client):
    for path in ("/healthz", "/nothing", "/docs", "/v2/nothing", "/"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
    assert "<script" not in client.get("/docs").text
