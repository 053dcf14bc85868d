"""A bundle appears whole or not at all, whatever happens to the build."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.export.build.bundle import bundle_being_written, check_place
from harmonyrt.runtime.manifest import FILE_NAME


def silent(doing, share):
    """No progress."""


def write(place, text="whole"):
    with bundle_being_written(place, silent) as scratch:
        (scratch / "model.onnx").write_text(text)
        (scratch / FILE_NAME).write_text("{}")


def test_a_finished_bundle_is_all_there_is(tmp_path):
    place = tmp_path / "new" / "engines" / "phnet-64-fp32"
    write(place)
    assert sorted(path.name for path in place.iterdir()) == [FILE_NAME, "model.onnx"]
    assert list(place.parent.iterdir()) == [place]
    assert place.stat().st_mode & 0o777 == place.parent.stat().st_mode & 0o777


def test_an_older_bundle_is_replaced_whole(tmp_path):
    write(tmp_path / "bundle")
    (tmp_path / "bundle" / "stale.engine").write_text("")
    write(tmp_path / "bundle", "newer")
    assert (tmp_path / "bundle" / "model.onnx").read_text() == "newer"
    assert not (tmp_path / "bundle" / "stale.engine").exists()


def test_an_error_leaves_nothing_and_keeps_the_older_bundle(tmp_path):
    write(tmp_path / "bundle", "older")

    def build():
        with bundle_being_written(tmp_path / "bundle", silent) as scratch:
            (scratch / "model.onnx").write_text("half")
            raise WorkFailed("an engine failed")

    with pytest.raises(WorkFailed):
        build()
    assert (tmp_path / "bundle" / "model.onnx").read_text() == "older"
    assert list(tmp_path.iterdir()) == [tmp_path / "bundle"]


def test_a_new_folder_goes_with_the_failed_build(tmp_path):
    with pytest.raises(WorkFailed), bundle_being_written(tmp_path / "a" / "b" / "bundle", silent):
        raise WorkFailed("an engine failed")
    assert list(tmp_path.iterdir()) == []


def test_without_a_manifest_there_is_no_bundle(tmp_path):
    with bundle_being_written(tmp_path / "bundle", silent) as scratch:
        (scratch / "model.onnx").write_text("no engine passed")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_build_leaves_nothing_that_opens_and_the_next_one_cleans(tmp_path):
    place = tmp_path / "bundle"
    script = (
        "import sys, pathlib, os, signal\n"
        "from harmonyrt.export.build.bundle import bundle_being_written\n"
        "with bundle_being_written(pathlib.Path(sys.argv[1]), lambda doing, share: None) as scratch:\n"
        "    (scratch / 'manifest.json').write_text('{}')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(place)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not place.exists()
    assert list(tmp_path.glob(".bundle.building-*"))
    write(place)
    assert list(tmp_path.iterdir()) == [place]


def test_a_bundle_that_was_moved_aside_by_a_killed_build_comes_back(tmp_path):
    write(tmp_path / "bundle", "older")
    (tmp_path / "bundle").rename(tmp_path / ".bundle.replaced-x")
    with pytest.raises(WorkFailed), bundle_being_written(tmp_path / "bundle", silent):
        raise WorkFailed("an engine failed")
    assert (tmp_path / "bundle" / "model.onnx").read_text() == "older"


def test_a_second_build_of_the_same_bundle_waits(tmp_path):
    said: list[str] = []
    started, ended = threading.Event(), threading.Event()

    def second():
        started.wait()
        with bundle_being_written(tmp_path / "bundle", lambda doing, share: (said.append(doing), waiting.set())) as s:
            assert ended.is_set()
            (s / FILE_NAME).write_text("second")

    waiting = threading.Event()
    thread = threading.Thread(target=second)
    thread.start()
    with bundle_being_written(tmp_path / "bundle", silent) as scratch:
        started.set()
        assert waiting.wait(timeout=60)
        (scratch / FILE_NAME).write_text("first")
        ended.set()
    thread.join(timeout=60)
    assert (tmp_path / "bundle" / FILE_NAME).read_text() == "second"
    assert said == ["waiting for another build of bundle to end"]
    assert list(tmp_path.iterdir()) == [tmp_path / "bundle"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux")
def test_files_of_components_reach_the_disk_before_the_bundle_does(tmp_path, monkeypatch):
    flushed: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name))
    with bundle_being_written(tmp_path / "bundle", silent) as scratch:
        (scratch / "unet" / "onnx").mkdir(parents=True)
        (scratch / "unet" / "onnx" / "model.onnx").write_text("weights")
        (scratch / FILE_NAME).write_text("{}")
    assert sorted(flushed) == sorted(["unet", "onnx", "model.onnx", FILE_NAME])


def test_a_full_disk_is_a_sentence(tmp_path):
    with (
        pytest.raises(WorkFailed, match=r"No space left on device; free some space"),
        bundle_being_written(tmp_path / "bundle", silent),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_something_else_in_its_place_is_never_replaced(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "thesis.tex").write_text("years of work")
    with pytest.raises(HarmonyError, match="is not a bundle; move it away"):
        check_place(tmp_path / "bundle")


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "engines").write_text("")
    with pytest.raises(HarmonyError, match="is a file; give a folder"):
        check_place(tmp_path / "engines" / "bundle")
    with pytest.raises(HarmonyError, match="cannot make"):
        check_place(tmp_path / "engines" / "deeper" / "bundle")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="no such permissions on Windows")
def test_an_unwritable_output_is_refused():
    with tempfile.TemporaryDirectory() as name:  # pytest's own is below a folder that others may not enter
        folder, user = Path(name), os.geteuid()
        folder.chmod(0o555)
        if user == 0:  # who may write everywhere
            os.seteuid(65534)
        try:
            with pytest.raises(HarmonyError, match="cannot write into"):
                check_place(folder / "bundle")
        finally:
            os.seteuid(user)
            folder.chmod(0o755)


def test_a_read_only_file_system_is_refused(tmp_path, monkeypatch):
    def read_only(dir):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    with pytest.raises(HarmonyError, match="Read-only file system; give another folder"):
        check_place(tmp_path / "bundle")


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    store, engines = tmp_path / "store", tmp_path / "engines"
    write(store / "b[1]", "old")
    engines.mkdir()
    (engines / "bundle").symlink_to("../store/b[1]")
    write(engines / "bundle", "new")
    assert (engines / "bundle").is_symlink()
    assert (store / "b[1]" / "model.onnx").read_text() == "new"
    assert [path.name for path in (*engines.iterdir(), *store.iterdir())] == ["bundle", "b[1]"]


@pytest.mark.parametrize("target", ["not-mounted/bundle", "bundle"])
def test_a_link_that_leads_nowhere_is_refused_before_the_work(tmp_path, target):
    (tmp_path / "bundle").symlink_to(target)
    with pytest.raises(HarmonyError, match=f"is a link to {target}, which is not there"):
        check_place(tmp_path / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.skipif(not os.path.ismount("/proc"), reason="needs Linux")
@pytest.mark.parametrize("known_by", ["device numbers", "the list of mounts alone"])
def test_a_mount_point_is_refused_before_the_work(tmp_path, monkeypatch, known_by):
    if known_by == "the list of mounts alone":  # as for a folder of the same file system
        monkeypatch.setattr(os.path, "ismount", lambda path: False)
    with pytest.raises(HarmonyError, match=r"/proc is a mount point.*mount / instead"):
        check_place(Path("/proc"))
    (tmp_path / "bundle").symlink_to("/proc")
    with pytest.raises(HarmonyError, match="is a mount point"):
        check_place(tmp_path / "bundle")
