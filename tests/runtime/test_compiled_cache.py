"""The cache of compiled models: what it gives back is what was put there, for the same key, or nothing."""

import errno
import os
import subprocess
import sys
import time

import pytest

from harmonyrt.runtime import compiled_cache
from harmonyrt.runtime.compiled_cache import CompiledCache, file_name, key_text, user_folder

KEY = {"kind": "test", "files": "ab" * 32, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
CONTENT = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch):
    monkeypatch.setattr(compiled_cache, "_told", set())
    monkeypatch.delenv("HARMONYRT_CACHE_MIB", raising=False)


@pytest.fixture
def cache(tmp_path):
    return CompiledCache.at(str(tmp_path))


def put(cache, key=KEY, content=CONTENT):
    return cache.write(key, lambda file: file.write(content))


def got(cache, key=KEY):
    found = cache.read(key)
    return None if found is None else found.tobytes()


def entry(cache):
    (path,) = cache.folder.iterdir()
    return path


def test_what_was_put_there_comes_back_for_the_same_key(cache):
    assert got(cache) is None
    assert put(cache) is None
    assert got(cache) == CONTENT
    assert got(cache, {**KEY, "NUM_STREAMS": 2}) is None
    assert entry(cache).name == file_name(KEY)
    assert cache.size() == entry(cache).stat().st_size


def test_a_key_is_text_that_cpp_writes_alike():
    assert key_text(KEY) == f"ENABLE_CPU_PINNING=false\nNUM_STREAMS=1\nfiles={'ab' * 32}\nkind=test\n"
    assert key_text({"cpu": "A  CPU\nof two lines"}) == "cpu=A CPU of two lines\n"
    assert file_name(KEY) == "bc3ac3bc4be2b0197fa7e1da16d39547.compiled"


def test_a_writer_may_seek(cache):
    def save(file):
        start = file.tell()
        file.write(b"????tail")
        file.seek(start)
        file.write(b"head")

    cache.write(KEY, save)
    assert got(cache) == b"headtail"


@pytest.mark.parametrize("where", [0, 30, 100, 127, 128, 140, 300, 5000, -1])
def test_one_wrong_byte_anywhere_is_found(cache, caplog, where):
    put(cache)
    data = bytearray(entry(cache).read_bytes())
    data[where] ^= 0x20
    entry(cache).write_bytes(data)
    assert got(cache) is None
    assert len(caplog.records) == 1
    put(cache)
    assert got(cache) == CONTENT


@pytest.mark.parametrize("length", [0, 1, 127, 128, 200, 5000])
def test_a_file_that_was_cut_short_is_found(cache, length):
    put(cache)
    os.truncate(entry(cache), length)
    assert got(cache) is None


@pytest.mark.parametrize("start", [0, 128, 4000])
def test_zeros_are_found(cache, start):
    put(cache)
    data = entry(cache).read_bytes()
    entry(cache).write_bytes(data[:start] + bytes(len(data) - start))
    assert got(cache) is None


def test_another_keys_entry_under_this_name_is_not_taken(cache):
    other = {**KEY, "files": "cd" * 32}
    put(cache, other)
    os.rename(entry(cache), cache.folder / file_name(KEY))
    assert got(cache) is None


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_a_file_that_others_may_write_is_not_taken(cache, caplog, mode):
    put(cache)
    entry(cache).chmod(mode)
    assert got(cache) is None
    assert "other users may write" in caplog.text


def test_a_folder_that_others_may_write_is_not_used(cache, caplog):
    put(cache)
    cache.folder.chmod(0o777)
    assert got(cache) is None
    assert "other users may write the folder" in put(cache)
    assert len(caplog.records) == 1


def test_the_folder_around_may_be_anybodys(tmp_path):
    tmp_path.chmod(0o777)
    cache = CompiledCache.at(str(tmp_path))
    put(cache)
    assert got(cache) == CONTENT
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert entry(cache).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("what", ["file", "folder"])
def test_another_users_entries_are_not_taken(cache, monkeypatch, caplog, what):
    put(cache)
    me = os.geteuid()
    if me == 0:
        os.chown(entry(cache) if what == "file" else cache.folder, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    assert got(cache) is None
    if what == "folder" or me != 0:
        assert "belongs to another user" in put(cache)
    assert "belongs to another user" in caplog.text


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give folders away")
def test_root_leaves_nothing_in_another_users_home(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 12345, -1)
    assert "belongs to another user" in put(CompiledCache.at(str(home / ".cache" / "harmonyrt")))
    assert list(home.iterdir()) == []


def test_links_and_pipes_are_not_followed(cache, tmp_path):
    put(cache)
    entry(cache).rename(tmp_path / "elsewhere")
    (cache.folder / file_name(KEY)).symlink_to(tmp_path / "elsewhere")
    assert got(cache) is None
    entry(cache).unlink()
    os.mkfifo(cache.folder / file_name(KEY))
    assert got(cache) is None
    put(cache)
    assert got(cache) == CONTENT
    os.rename(cache.folder, tmp_path / "real")
    cache.folder.symlink_to(tmp_path / "real")
    assert got(cache) is None


def test_a_disk_that_is_full_leaves_nothing_and_says_it_once(cache, caplog):
    def full(file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    assert "No space left" in cache.write(KEY, full)
    assert "No space left" in cache.write(KEY, full)
    assert list(cache.folder.iterdir()) == []
    assert len(caplog.records) == 1


def test_what_was_used_longest_ago_goes_first(cache, monkeypatch):
    monkeypatch.setenv("HARMONYRT_CACHE_MIB", "1")
    keys = [{**KEY, "n": n} for n in range(4)]
    for n, key in enumerate(keys[:3]):
        put(cache, key, bytes(300_000))
        os.utime(cache.folder / file_name(key), (1_000_000 + n, 1_000_000 + n))
    assert got(cache, keys[0]) is not None  # used: now the second is the oldest
    put(cache, keys[3], bytes(300_000))
    assert [got(cache, key) is not None for key in keys] == [True, False, True, True]
    assert cache.size() <= 1 << 20


def test_more_than_the_bound_is_not_kept(cache, monkeypatch, caplog):
    monkeypatch.setenv("HARMONYRT_CACHE_MIB", "1")
    put(cache, {**KEY, "n": 1}, b"small")
    assert "HARMONYRT_CACHE_MIB" in put(cache, KEY, bytes(2 << 20))
    assert got(cache, {**KEY, "n": 1}) == b"small"
    assert len(caplog.records) == 1


def test_a_bound_of_zero_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("HARMONYRT_CACHE_MIB", "0")
    put(CompiledCache.at(str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_a_bound_that_is_no_number_is_said(monkeypatch, caplog):
    monkeypatch.setenv("HARMONYRT_CACHE_MIB", "4G")
    assert compiled_cache.limit_bytes() == 4096 << 20
    assert "4G" in caplog.text


def test_what_dead_processes_left_goes_and_what_others_write_stays(cache):
    put(cache)
    dead, alive = cache.folder / ".a.partial", cache.folder / ".b.partial"
    for path in (dead, alive):
        path.touch()
    os.utime(dead, (time.time() - 7200,) * 2)
    put(cache)
    assert not dead.exists()
    assert alive.exists()


def test_many_processes_at_once_see_whole_entries_only(tmp_path):
    work = """
import sys
from harmonyrt.runtime.compiled_cache import CompiledCache
cache = CompiledCache.at(sys.argv[1])
for n in range(40):
    found = cache.read({"n": n % 3})
    assert found is None or found.tobytes() == bytes([n % 3]) * 100_000
    cache.write({"n": n % 3}, lambda file: file.write(bytes([n % 3]) * 100_000))
"""
    command = [sys.executable, "-c", work, str(tmp_path)]
    env = {**os.environ, "HARMONYRT_CACHE_MIB": "1"}
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, env=env) for _ in range(3)]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert (process.returncode, said) == (0, b"")
    assert len(list((tmp_path / "compiled").iterdir())) == 3


@pytest.mark.parametrize(
    ("given", "home", "found"),
    [
        ("/c", "/h", "/c/harmonyrt"),
        ("relative", "/h", "/h/.cache/harmonyrt"),
        ("", "/h", "/h/.cache/harmonyrt"),
        (None, "/h", "/h/.cache/harmonyrt"),
        (None, "relative", None),
    ],
)
def test_the_users_folder_is_as_the_xdg_specification_says(monkeypatch, given, home, found):
    monkeypatch.setenv("HOME", home)
    if given is None:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert (None if user_folder() is None else str(user_folder())) == found


def test_no_home_means_no_cache_and_no_complaint(monkeypatch, caplog):
    monkeypatch.setenv("HOME", "")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(compiled_cache.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    cache = CompiledCache.at(None)
    assert put(cache) is None
    assert got(cache) is None
    assert cache.why_not()
    assert not caplog.records
