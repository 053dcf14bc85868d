"""One run at a time in a folder, and a log without the steps that a kill took."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.training.reporting import Reporter
from harmonyrt.training.run_folder import LOCK, claimed, cut_log

pytest.importorskip("fcntl", reason="needs POSIX locks")
HOLDER = (
    "import fcntl, sys; file = open(sys.argv[1], 'a'); fcntl.lockf(file, fcntl.LOCK_EX);"
    " print('held', flush=True); sys.stdin.read()"
)


def test_a_folder_that_another_program_trains_in_is_refused_until_it_ends(tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / LOCK)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with (
            pytest.raises(HarmonyError, match="another program is training in"),
            claimed(tmp_path),
        ):
            pass
    finally:
        other.communicate()
    with claimed(tmp_path) as folder:  # its lock file is still there, without its lock
        assert (folder / LOCK).exists()
    assert list(tmp_path.iterdir()) == []


def test_a_refused_run_leaves_no_new_folder(tmp_path):
    with claimed(tmp_path / "new") as folder:
        (folder / "log.jsonl").touch()
    assert not folder.exists()
    empty = tmp_path / "was there"
    empty.mkdir()
    with claimed(empty):
        pass
    assert empty.is_dir(), "a folder of the caller's stays"


def test_a_folder_is_made_and_left_without_the_lock(tmp_path):
    with claimed(tmp_path / "runs" / "new") as folder:
        (folder / "checkpoint.pt").write_bytes(b"weights")
    assert [path.name for path in folder.iterdir()] == ["checkpoint.pt"]
    (tmp_path / "file").touch()
    with pytest.raises(HarmonyError, match="choose another output"), claimed(tmp_path / "file"):
        pass


@pytest.mark.parametrize("tail", ["", '{"step": 3, "lo'])
def test_a_log_is_cut_where_its_checkpoint_ends(tmp_path, tail):
    log = tmp_path / "log.jsonl"
    entries = [{"step": step, "loss": step} for step in (1, 2, 3, 4, 2)]
    log.write_text("".join(json.dumps(entry) + "\n" for entry in entries) + tail)
    assert cut_log(log, 2) == entries[:2]
    assert log.read_text() == '{"step": 1, "loss": 1}\n{"step": 2, "loss": 2}\n'
    assert cut_log(log, 0) == []
    assert log.read_bytes() == b""


def test_a_resumed_run_logs_each_score_once(tmp_path):
    log = tmp_path / "log.jsonl"
    report = {"composite": {"psnr": 1.0, "fmse": 1.0}, "harmonized": {"psnr": 2.0, "fmse": 2.0}, "worse": 0.0}
    for first in (0, 4, 4, 6):  # killed at 6 with a checkpoint of 4; stopped at 4; resumed to the end; called again
        with Reporter(log, io.StringIO()) as reporter:
            reporter.resume(first)
            for step in (4, 6):
                if step >= first:
                    reporter.validation(step, 1.0, report)
                    reporter.held_out(step, 1.0, 0.5, None)
    kinds = [(entry["step"], "validation" in entry) for entry in map(json.loads, log.read_text().splitlines())]
    assert kinds == [(4, True), (4, False), (6, True), (6, False)]
