"""Google Cloud Storage, against an emulator of its API: what `stores` does, and a whole run from and to a bucket."""

import hashlib
import socket

import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.fleet import stores
from harmonyrt.fleet.results import read_results

WHERE = "needs Ray's environment: make test-fleet"
emulator = pytest.importorskip("gcp_storage_emulator.server", reason=WHERE)
gcsfs = pytest.importorskip("gcsfs", reason=WHERE)


@pytest.fixture
def bucket(monkeypatch):
    """A bucket of its own; every client of this process and of its workers goes to the emulator."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = emulator.create_server("127.0.0.1", port, in_memory=True, default_bucket="shop")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # an account, which the emulator needs none of
    monkeypatch.setattr(stores, "FIRST_WAIT", 0.02)
    stores._opened_store.cache_clear()
    gcsfs.GCSFileSystem.clear_instance_cache()
    yield "gs://shop"
    stores._opened_store.cache_clear()
    gcsfs.GCSFileSystem.clear_instance_cache()
    server.stop()


def test_files_are_written_read_listed_and_removed(bucket, tmp_path):
    content = bytes(range(256)) * 5000
    stores.write(f"{bucket}/a/b.bin", content)
    assert stores.read(f"{bucket}/a/b.bin") == content
    assert stores.read(f"{bucket}/a/b.bin", 300, 10) == content[300:310]
    stores.write(f"{bucket}/a/c d/ä.txt", b"hello")
    assert stores.names(f"{bucket}/a") == [("b.bin", False), ("c d", True)]
    assert stores.names(f"{bucket}/nothing") == []
    with stores.local_copy(f"{bucket}/a/c d/ä.txt", tmp_path) as copy:
        assert copy.read_bytes() == b"hello"
    with stores.opened(f"{bucket}/a/b.bin") as file:
        file.seek(512)
        assert file.read(4) == content[512:516]
    stores.remove(f"{bucket}/a/b.bin")
    stores.remove(f"{bucket}/a/b.bin")
    assert stores.names(f"{bucket}/a") == [("c d", True)]


@pytest.mark.parametrize("path", ["gs://shop/a/none.png", "gs://no-such-bucket/none.png"])
def test_what_is_not_there_is_one_sentence(bucket, path):
    with pytest.raises(HarmonyError, match="check the name and who may read it"):
        stores.read(path)


def test_a_run_from_a_bucket_to_a_bucket_gives_a_folder_runs_bytes(bucket, run, place, bundle):
    for folder in ("composites", "masks"):
        for path in (place / folder).iterdir():
            stores.write(f"{bucket}/{folder}/{path.name}", path.read_bytes())
    for path in bundle.iterdir():
        stores.write(f"{bucket}/engine/{path.name}", path.read_bytes())
    assert run("batch", "composites", "masks", "plain", "--bundle", bundle, "--workers", 1).code == 0
    places = (f"{bucket}/composites", f"{bucket}/masks", f"{bucket}/out")
    ended = run("batch", *places, "--bundle", f"{bucket}/engine", "--workers", 1)
    assert ended.code == 0, ended.err
    rows = {row["id"]: row for row in read_results(f"{bucket}/out")}
    assert len(rows) == 6
    for path in (place / "plain").glob("*.png"):
        found = hashlib.sha256(stores.read(f"{bucket}/out/{path.name}")).hexdigest()
        assert found == hashlib.sha256(path.read_bytes()).hexdigest(), path.name
    again = run("batch", *places, "--bundle", f"{bucket}/engine", "--workers", 1, "--resume")
    assert again.code == 0, again.err
