"""Outputs appear whole, whatever stands at their place: links, named pipes, devices, the longest names."""

import os
import stat
import sys
import threading

import pytest

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.files import make_folder, written_whole

unix = pytest.mark.skipif(sys.platform == "win32", reason="no named pipes on Windows")


def write(path, data=b"new"):
    with written_whole(path) as scratch:
        scratch.write_bytes(b"half" if data is None else data)
        assert data is not None or 1 / 0


def test_an_error_leaves_what_was_there(tmp_path):
    (tmp_path / "out.png").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "out.png", None)
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]
    assert (tmp_path / "out.png").read_bytes() == b"old"


def test_a_link_stays_and_its_target_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.png").symlink_to("there/out.png")
    for data in (b"first", b"second"):  # when it leads nowhere yet, and when it does not
        write(tmp_path / "link.png", data)
        assert (tmp_path / "link.png").is_symlink()
        assert (tmp_path / "there" / "out.png").read_bytes() == data
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["link.png", "out.png", "there"]


@pytest.mark.parametrize("name", ["n" * 251 + ".png", "é" * 125 + ".png", "写" * 83 + ".json", "n." + "s" * 253])
def test_the_longest_names_can_be_written(tmp_path, name):
    write(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_name_that_is_too_long_is_a_sentence(tmp_path):
    with pytest.raises(HarmonyError, match="name too long"):
        write(tmp_path / ("n" * 256))
    assert not list(tmp_path.iterdir())


@unix
def test_a_named_pipe_stays_one_and_its_reader_gets_everything(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe.png").read_bytes()))
    reader.start()
    write(tmp_path / "pipe.png", bytes(300_000))
    reader.join(10)
    assert got == [bytes(300_000)]
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe.png").st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe.png"]


@unix
def test_a_reader_that_leaves_is_a_sentence(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    reader = threading.Thread(target=lambda: open(tmp_path / "pipe.png", "rb").close())
    reader.start()
    with pytest.raises(WorkFailed, match="see that it is read to its end"):
        write(tmp_path / "pipe.png", bytes(1_000_000))
    reader.join(10)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")
def test_a_device_that_is_full_is_a_sentence():
    with pytest.raises(WorkFailed, match="No space left"):
        write("/dev/full")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_a_folder_is_made_or_refused_in_a_sentence(tmp_path):
    assert make_folder(tmp_path / "a" / "b").is_dir()
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "file/below", "link"):
        with pytest.raises(HarmonyError, match="cannot make the folder"):
            make_folder(tmp_path / name)
