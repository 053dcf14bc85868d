"""One read, one whole write, anywhere: what is tried again, what is not, and what is never said."""

import errno
import threading
import time

import pytest

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.fleet import stores

fsspec = pytest.importorskip("fsspec", reason="the extra fleet is not installed: pip install 'harmonyrt[fleet]'")


@pytest.fixture
def memory(monkeypatch):
    """A store in memory, with waits too short to notice."""
    monkeypatch.setattr(stores, "FIRST_WAIT", 0.001)
    client = fsspec.filesystem("memory")
    client.store.clear()
    client.pseudo_dirs[:] = [""]
    yield client
    client.store.clear()


def test_a_store_and_a_folder_behave_alike(memory, tmp_path):
    for prefix in (str(tmp_path / "out"), "memory://out"):
        assert stores.names(prefix) == []
        stores.write(stores.joined(prefix, "b.bin"), b"0123456789")
        stores.write(stores.joined(prefix, "a/x.bin"), b"x")
        assert stores.names(prefix) == [("a", True), ("b.bin", False)]
        assert stores.read(stores.joined(prefix, "b.bin")) == b"0123456789"
        assert stores.read(stores.joined(prefix, "b.bin"), 3, 4) == b"3456"
        with stores.opened(stores.joined(prefix, "b.bin")) as file:
            file.seek(8)
            assert file.read() == b"89"
        stores.remove(stores.joined(prefix, "b.bin"))
        stores.remove(stores.joined(prefix, "b.bin"))
        assert stores.names(prefix) == [("a", True)]
        with pytest.raises(HarmonyError, match=r"b\.bin does not exist") as error:
            stores.read(stores.joined(prefix, "b.bin"))
        assert error.value.exit_code == 2


def failing(monkeypatch, errors):
    """Reads raise these, one after the other, before they work."""
    left = list(errors)
    client = fsspec.filesystem("memory")
    whole = client.cat_file

    def cat_file(path, **span):
        if left:
            raise left.pop(0)
        return whole(path, **span)

    monkeypatch.setattr(client, "cat_file", cat_file)
    return left


def test_what_may_go_better_is_tried_again(memory, monkeypatch):
    stores.write("memory://a/b", b"here")
    left = failing(
        monkeypatch, [OSError(errno.EIO, "500"), ConnectionResetError(), TimeoutError(), RuntimeError("odd")]
    )
    assert stores.read("memory://a/b") == b"here"
    assert not left


def test_what_will_not_is_not(memory, monkeypatch):
    left = failing(monkeypatch, [PermissionError("no"), OSError("never reached")])
    with pytest.raises(HarmonyError, match="may not be read"):
        stores.read("memory://a/b")
    assert len(left) == 1


def test_in_the_end_it_is_the_works_failure_and_names_no_secret(memory, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "abcdefgh12345678")
    said = "https://shop/a?X-Amz-Signature=0123 with abcdefgh12345678"
    failing(monkeypatch, [OSError(said)] * stores.ATTEMPTS)
    with pytest.raises(WorkFailed, match=f"could not be read in {stores.ATTEMPTS} attempts") as error:
        stores.read("memory://user:pass@a/b")
    for secret in ("Signature", "abcdefgh12345678", "user:pass"):
        assert secret not in str(error.value)
    assert error.value.exit_code == 1


def test_waits_are_random_and_grow(memory, monkeypatch):
    """So that a hundred machines do not come back at the same moment."""
    waits = []
    monkeypatch.setattr(stores, "FIRST_WAIT", 0.2)
    monkeypatch.setattr(stores.time, "sleep", waits.append)
    failing(monkeypatch, [OSError("500")] * stores.ATTEMPTS)
    with pytest.raises(WorkFailed):
        stores.read("memory://a/b")
    limits = [min(0.2 * 2**n, stores.LONGEST_WAIT) for n in range(stores.ATTEMPTS - 1)]
    assert len(waits) == len(limits)
    assert all(0 <= wait <= limit for wait, limit in zip(waits, limits, strict=True))
    assert len(set(waits)) == len(waits)


def test_requests_under_way_are_bounded(memory, monkeypatch):
    client = fsspec.filesystem("memory")
    lock, now, most = threading.Lock(), 0, 0

    def cat_file(path, **span):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 1
        return b""

    monkeypatch.setattr(client, "cat_file", cat_file)
    threads = [threading.Thread(target=stores.read, args=("memory://a/b",)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == stores.CONNECTIONS


def test_a_full_disk_is_the_works_failure_and_leaves_nothing(tmp_path, monkeypatch):
    def full(path, data):
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", lambda path, data: full(path, data))
    with pytest.raises(WorkFailed):
        stores.write(str(tmp_path / "out.png"), b"whole")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://key:secret@bucket/a.png", "s3://bucket/a.png"),
        ("https://shop/a.png?X-Amz-Signature=1&b=2", "https://shop/a.png"),
        ("see https://u@h/a?q=1, and s3://b/c", "see https://h/a and s3://b/c"),
        ("/home/me@work/what?.png", "/home/me@work/what?.png"),
    ],
)
def test_what_is_said_opens_nothing(text, shown):
    assert stores.without_secrets(text) == shown
