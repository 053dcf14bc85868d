"""The road to object stores, against a real S3 server (moto's) behind a proxy that makes trouble."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from fakes.faulty_proxy import FaultyProxy
from harmonyrt.fleet import stores
from harmonyrt.fleet.results import parts, read_results

WHERE = "needs Ray's environment: make test-fleet"
moto_server = pytest.importorskip("moto.server", reason=WHERE)
s3fs = pytest.importorskip("s3fs", reason=WHERE)
SECRET = "very/secret+key0123456789"


@pytest.fixture(scope="module")
def port():
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def at(monkeypatch):
    """at(url): every client of this process and of its workers goes there."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE12345")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(stores, "FIRST_WAIT", 0.02)

    def go(url):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        stores._opened_store.cache_clear()
        s3fs.S3FileSystem.clear_instance_cache()

    yield go
    stores._opened_store.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(port, at, place, bundle):
    """A bucket of its own with composites/, masks/ and the bundle as engine/."""
    at(f"http://127.0.0.1:{port}")
    name = f"shop-{hashlib.sha256(str(place).encode()).hexdigest()[:12]}"
    client = s3fs.S3FileSystem()
    client.mkdir(name)
    for folder in ("composites", "masks"):
        client.put(str(place / folder), f"{name}/{folder}", recursive=True)
    for path in bundle.iterdir():
        client.put(str(path), f"{name}/engine/{path.name}")
    return f"s3://{name}"


def objects(bucket: str, prefix: str) -> dict[str, str]:
    client = s3fs.S3FileSystem()
    client.invalidate_cache()
    found = client.find(f"{bucket}/{prefix}")
    return {p.rpartition("/")[2]: hashlib.sha256(client.cat(p)).hexdigest() for p in found if "/results/" not in p}


def test_from_a_store_to_a_store_through_faults_the_bytes_are_those_of_a_folder_run(port, at, bucket, run, bundle):
    assert run("batch", "composites", "masks", "plain", "--bundle", bundle, "--workers", 1).code == 0
    with FaultyProxy(port, seed=5, errors=0.1, slow=0.05, dropped=0.08, lost=0.05) as proxy:
        at(proxy.url)
        places = (f"{bucket}/composites", f"{bucket}/masks", f"{bucket}/out")
        ended = run("batch", *places, "--bundle", f"{bucket}/engine", "--workers", 2)
        assert ended.code == 0, ended.err
        assert proxy.faults["error"] > 1
        assert proxy.faults["dropped"] > 1
        assert proxy.faults["lost"] > 0
        assert proxy.most <= 3 * stores.CONNECTIONS, "the driver's and each worker's"
        rows = {row["id"]: row for row in read_results(f"{bucket}/out")}
    at(f"http://127.0.0.1:{port}")
    plain = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in Path("plain").glob("*.png")}
    assert objects(bucket, "out") == plain
    assert {name: row["output_sha256"] for name, row in rows.items()} == plain
    assert not s3fs.S3FileSystem().list_multipart_uploads(bucket.removeprefix("s3://"))


def test_a_bundle_is_fetched_once_to_a_machine_and_checked(port, at, bucket, run, tmp_path):
    places = (f"{bucket}/composites", f"{bucket}/masks")
    with FaultyProxy(port) as proxy:
        at(proxy.url)
        assert run("batch", *places, f"{bucket}/one", "--bundle", f"{bucket}/engine", "--workers", 2).code == 0
        assert run("batch", *places, f"{bucket}/two", "--bundle", f"{bucket}/engine", "--workers", 1).code == 0
        got = [path for command, path, _ in proxy.requests if command == "GET" and path.endswith("model.onnx")]
        assert len(got) == 1
        shutil.rmtree(tmp_path / "cache" / "harmonyrt" / "bundles")
        s3fs.S3FileSystem().pipe_file(f"{bucket}/engine/model.onnx", b"another network")
        ended = run("batch", *places, f"{bucket}/three", "--bundle", f"{bucket}/engine", "--workers", 1)
        assert ended.code == 2
        assert "model.onnx was altered" in ended.err


def test_nothing_kept_or_said_opens_the_store(port, at, bucket, run, bundle):
    name = bucket.removeprefix("s3://")
    Path("pairs.csv").write_text(
        "composite,mask\n"
        f"s3://user:{SECRET.replace('/', 'x')}@{name}/composites/000.png,{bucket}/masks/000.png\n"
        f"http://127.0.0.1:{port}/{name}/composites/001.png?X-Amz-Signature=abcdef0123,{bucket}/masks/001.png\n"
        f"http://127.0.0.1:{port}/{name}/none.png?X-Amz-Signature=abcdef0123,{bucket}/masks/001.png\n"
    )
    ended = run("batch", "pairs.csv", "out", "--bundle", bundle, "--workers", 1)
    rows = list(read_results("out"))
    assert [row["status"] for row in sorted(rows, key=lambda row: row["id"])].count("ok") == 2, rows
    said = ended.err + ended.out + json.dumps(rows) + "".join(str(p) for p in Path("out").rglob("*"))
    said += Path(parts("out")[0]).read_bytes().decode("latin-1")
    for secret in (SECRET, SECRET.replace("/", "x"), "X-Amz-Signature", "AKIDEXAMPLE12345"):
        assert secret not in said


def test_resume_looks_at_what_is_in_the_store(bucket, run, bundle):
    places = (f"{bucket}/composites", f"{bucket}/masks", f"{bucket}/out", "--bundle", bundle)
    assert run("batch", *places, "--workers", 1).code == 0
    client = s3fs.S3FileSystem()
    client.rm_file(f"{bucket}/out/002.png")
    client.pipe_file(f"{bucket}/out/003.png", b"half")
    ended = run("batch", *places, "--workers", 2, "--resume", "--json")
    assert ended.code == 0, ended.err
    assert (json.loads(ended.out)["harmonized"], json.loads(ended.out)["kept"]) == (2, 4)
    rows = {row["id"]: row["output_sha256"] for row in read_results(f"{bucket}/out")}
    assert rows == objects(bucket, "out")


def test_a_store_that_never_answers_is_the_works_failure(port, at, bucket, run, bundle, monkeypatch):
    monkeypatch.setattr(stores, "ATTEMPTS", 2)
    with FaultyProxy(port, errors=1) as proxy:
        at(proxy.url)
        ended = run("batch", f"{bucket}/composites", f"{bucket}/masks", "out", "--bundle", bundle, "--workers", 1)
    assert ended.code == 1
    assert "could not be listed in 2 attempts" in ended.err
    assert not os.path.exists("out/results")
