"""Headers of engine files, and the cache of compiled kernels."""

from __future__ import annotations

import struct

import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.backends.tensorrt.cache import KernelCache
from harmonyrt.runtime.backends.tensorrt.plan import check_header, read_header


@pytest.fixture
def engine(tmp_path):
    path = tmp_path / "tensorrt-rtx.engine"
    header = struct.pack("<4sIQQ4B4sI", b"vtrt", 0, 2, 136, 1, 7, 1, 116, b"vtrt", 0b1100)
    path.write_bytes(header.ljust(136, b"\0"))
    return path


def test_a_header_says_version_size_and_gpus(engine):
    header = read_header(engine)
    assert (header.version, header.bytes, header.capabilities) == ("1.7.1.116", 136, ((8, 6), (8, 9)))
    check_header(engine, "1.7.1.116", ((8, 9),))


def test_what_contradicts_the_header_is_refused(engine):
    with pytest.raises(HarmonyError, match=r"of version 1\.7\.1\.116, not 1\.6\.1\.120"):
        check_header(engine, "1.6.1.120", ((8, 9),))
    with pytest.raises(HarmonyError, match=r"built for compute capabilities 8\.6, 8\.9 and lacks 12\.0"):
        check_header(engine, "1.7.1.116", ((8, 9), (12, 0)))


def test_a_truncated_engine_is_refused(engine):
    engine.write_bytes(engine.read_bytes()[:-1])
    with pytest.raises(HarmonyError, match="has 135 bytes, its header says 136"):
        read_header(engine)
    engine.write_bytes(engine.read_bytes()[:20])
    with pytest.raises(HarmonyError, match="cut short at 20 bytes"):
        read_header(engine)
    engine.write_bytes(b"")
    with pytest.raises(HarmonyError, match="is empty"):
        read_header(engine)


def test_other_plans_are_left_to_tensorrt(engine):
    engine.write_bytes(b"ptrt" + b"\0" * 100)
    assert read_header(engine) is None
    check_header(engine, "10.4.0", ((7, 0),))


class FakeConfig:
    """A runtime configuration whose cache accepts blobs that begin with `ok`."""

    def __init__(self) -> None:
        self.blob, self.given = b"", None

    def create_runtime_cache(self):
        return self

    def set_runtime_cache(self, cache):
        self.given = cache

    def deserialize(self, blob):
        if blob.startswith(b"ok"):
            self.blob = bytes(blob)
        return blob.startswith(b"ok")

    def serialize(self):
        return self.blob


def kernels(folder, device="RTX 4090", version="1.2.0"):
    return KernelCache.choose(str(folder), "ab" * 32, version, device)


def test_compiled_kernels_are_kept_and_used_again(tmp_path):
    first = FakeConfig()
    kept = kernels(tmp_path)
    kept.attach(first)
    assert first.given is first
    first.blob = b"ok kernels"
    kept.save()
    assert kept.error is None

    second = FakeConfig()
    kernels(tmp_path).attach(second)
    assert second.blob == b"ok kernels"
    for other in (kernels(tmp_path, device="RTX 3090"), kernels(tmp_path, version="1.3.0")):
        third = FakeConfig()
        other.attach(third)
        assert third.blob == b""


def test_contexts_of_a_session_fill_the_same_kernels(tmp_path):
    first, second = FakeConfig(), FakeConfig()
    kept = kernels(tmp_path)
    kept.attach(first)
    kept.attach(second)
    assert second.given is first.given


def test_kernels_that_do_not_fit_are_replaced(tmp_path):
    kept = kernels(tmp_path)
    kept.cache.write(kept.key, lambda file: file.write(b"of another driver"))
    config = FakeConfig()
    kept.attach(config)
    assert config.blob == b""
    config.blob = b"ok new"
    kept.save()
    assert kept.cache.read(kept.key).tobytes() == b"ok new"


def test_damaged_kernels_are_not_given_to_tensorrt(tmp_path):
    kept = kernels(tmp_path)
    kept.cache.write(kept.key, lambda file: file.write(b"ok kernels"))
    (entry,) = (tmp_path / "compiled").iterdir()
    entry.write_bytes(entry.read_bytes().replace(b"ok kernels", b"ok k\0\0\0els"))
    config = FakeConfig()
    kept.attach(config)
    assert config.blob == b""


def test_a_folder_that_cannot_be_written_does_not_stop_a_run(tmp_path):
    (tmp_path / "file").write_text("")
    kept = kernels(tmp_path / "file")
    config = FakeConfig()
    kept.attach(config)
    config.blob = b"ok"
    kept.save()
    assert kept.error
