"""`harmonyrt serve` as a program: its address, its keys, its log, and how it stops."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import httpx
import numpy as np
import pytest

from fakes.served import decoded, in_memory, made_pair
from harmonyrt.cli.main import main
from harmonyrt.common import HarmonyError
from harmonyrt.serving.keys import Keys
from harmonyrt.serving.settings import Settings

KEY = "a-key-of-some-length"


@pytest.fixture
def started(bundle, tmp_path):
    """started("--log", "json"): a server of its own, its address and its log."""
    programs = []

    def start(*options: str) -> tuple[subprocess.Popen, str, object]:
        log = tmp_path / "log"
        command = [sys.executable, "-m", "harmonyrt.cli", "serve", str(bundle), "--port", "0", "--threads", "1"]
        with log.open("wb") as stderr:
            program = subprocess.Popen(
                [*command, "--backend", "onnxruntime", *options], stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        programs.append(program)
        line = program.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+$", line.strip())
        assert found, (line, log.read_text())
        return program, found[0], log

    yield start
    for program in programs:
        if program.poll() is None:
            program.kill()
        program.wait(60)
        program.stdout.close()


def test_a_request_in_hand_is_answered_after_sigterm(started):
    program, address, log = started("--log", "json")
    pair = made_pair(height=1200, width=1600)
    assert httpx.get(f"{address}/readyz").json() == {"status": "ready"}
    answers = []

    def ask():
        answers.append(httpx.post(f"{address}/v1/harmonize", files=pair.files, timeout=60))

    asking = threading.Thread(target=ask)
    asking.start()
    end = time.monotonic() + 60
    while "harmonyrt_requests_running 1.0" not in httpx.get(f"{address}/metrics", timeout=60).text:
        assert time.monotonic() < end
        if not asking.is_alive():  # answered between two looks
            asking = threading.Thread(target=ask)
            asking.start()
    program.send_signal(signal.SIGTERM)
    asking.join(60)
    assert program.wait(60) == 0
    assert answers[-1].status_code == 200
    assert np.array_equal(decoded(answers[-1].content)[pair.mask == 0], pair.composite[pair.mask == 0])
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    *_, line = [line for line in lines if line.get("path") == "/v1/harmonize"]
    assert (line["status"], line["method"]) == (200, "POST")
    assert line["received"] > sum(map(len, pair.files.values()))
    assert {"decode", "engine", "encode"} <= set(line["stages"])
    assert not any("error" in str(line.get("level")) for line in lines)


def test_a_taken_port_is_one_sentence(started, bundle, capsys):
    _, address, _ = started()
    assert main(["serve", str(bundle), "--port", address.rpartition(":")[2]]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: 127.0.0.1:")
    assert "choose another --port" in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere"),
        (["BUNDLE", "--api-keys", "nowhere"], "cannot be read"),
        (["BUNDLE", "BUNDLE"], "two bundles are named"),
        (["BUNDLE", "--log", "xml"], "--log"),
        (["BUNDLE", "--host", "0.0.0.0", "--api-keys", "nowhere"], "cannot be read"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments, words, bundle, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["serve", *[str(bundle) if a == "BUNDLE" else a for a in arguments], "--port", "0"]) == 2
    assert words in capsys.readouterr().err


def test_a_public_address_without_keys_is_warned_about(bundle, capsys, monkeypatch):
    monkeypatch.setattr("harmonyrt.serving.server.serve", lambda settings, say: 0)
    assert main(["serve", str(bundle), "--host", "0.0.0.0"]) == 0
    assert capsys.readouterr().err.startswith("warning: 0.0.0.0 can be reached by other machines")
    assert main(["serve", str(bundle), "--host", "::1"]) == 0
    assert capsys.readouterr().err == ""


def test_only_known_keys_may_ask(settings, tmp_path, pair):
    hashed = "another-key-of-length"
    keys = tmp_path / "keys"
    keys.write_text(f"# of two people\n{KEY}\n\nsha256:{hashlib.sha256(hashed.encode()).hexdigest()}\n")
    with in_memory(replace(settings, api_keys=keys)) as client:
        for path in ("/healthz", "/readyz", "/v2/health/ready", "/docs"):
            assert client.get(path).status_code == 200
        for path in ("/metrics", "/v1/models", "/v2", "/v2/models/x"):
            assert client.get(path).status_code == 401, path
        refused = client.post("/v1/harmonize", files=pair.files)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="harmonyrt"')
        for headers in (
            {"authorization": f"Bearer {KEY}"},
            {"x-api-key": KEY},
            {"authorization": f"bearer {hashed}"},
        ):
            assert client.post("/v1/harmonize", files=pair.files, headers=headers).status_code == 200
        for headers in ({"authorization": f"Basic {KEY}"}, {"x-api-key": KEY[:-1]}, {"x-api-key": b"\xe9" * 20}):
            assert client.post("/v1/harmonize", files=pair.files, headers=headers).status_code == 401


@pytest.mark.parametrize("text", ["", "# nothing\n", "short\n", "with a space inside it\n", "sha256:12\n"])
def test_files_of_keys_that_are_none_are_refused(tmp_path, text):
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(HarmonyError, match="key"):
        Keys.read(path)


def test_neither_keys_nor_file_names_are_in_the_log(started, tmp_path, pair):
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    program, address, log = started("--api-keys", str(keys))
    files = {name: ("secret-name.png", data) for name, data in pair.files.items()}
    answer = httpx.post(f"{address}/v1/harmonize?key={KEY}", files=files, headers={"x-api-key": KEY})
    assert answer.status_code == 200
    httpx.get(f"{address}/v1/models", headers={"authorization": f"Bearer {KEY}x"})
    program.send_signal(signal.SIGTERM)
    program.wait(60)
    text = log.read_text()
    assert "POST /v1/harmonize 200" in text
    assert KEY not in text
    assert "secret-name" not in text


def test_health_checks_may_ask_for_the_head_alone(client):
    for path in ("/healthz", "/readyz"):
        assert client.head(path).status_code == client.get(path).status_code == 200


def test_metrics_count_requests_and_stages(client, pair):
    client.post("/v1/harmonize", files=pair.files)
    text = client.get("/metrics").text
    assert re.search(r'harmonyrt_requests_total\{route="/v1/harmonize",status="200"\} [1-9]', text)
    for stage in ("upload", "queue", "decode", "fit", "engine", "upsample", "encode"):
        assert f'harmonyrt_stage_seconds_count{{stage="{stage}"}}' in text
    for name in ("harmonyrt_queue_length", "harmonyrt_sessions", "process_resident_memory_bytes"):
        assert re.search(rf"^{name} ", text, re.MULTILINE)


def test_openapi_and_docs_list_every_field(client):
    from harmonyrt.serving.requests import FIELDS

    schema = client.get("/openapi.json").json()
    form = schema["paths"]["/v1/harmonize"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == set(FIELDS)
    page = client.get("/docs").text
    assert all(f"<code>{name}</code>" in page for name in FIELDS)
    assert "/v2/models/{name}/infer" in page


@pytest.mark.parametrize(
    "change", [{"queue": -1}, {"timeout": 0.0}, {"port": 70_000}, {"max_upload_mb": float("nan")}, {"log": "xml"}]
)
def test_settings_that_cannot_be_are_refused(bundle, change):
    with pytest.raises(HarmonyError, match=f"--{next(iter(change)).replace('_', '-')} is"):
        Settings((bundle,), **change)


def test_a_machine_without_the_extra_says_what_to_install(bundle, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main(["serve", str(bundle)]) == 2
    assert "pip install 'harmonyrt[serve]'" in capsys.readouterr().err
