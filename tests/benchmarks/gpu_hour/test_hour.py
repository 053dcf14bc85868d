"""The plan of the hour, and one part: what a step leaves, and how a program ends."""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path

import pytest

from fakes.gpu_hours import numbers_in, rows
from harmonyrt.benchmarks.gpu_hour import bundles, diffusion_build, parts, records
from harmonyrt.benchmarks.gpu_hour.hour import NotHere
from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.export import build_engines
from harmonyrt.runtime.backends.tensorrt import versions


def test_every_part_ends_in_time_and_all_of_them_within_the_hour():
    assert all(part.seconds <= parts.LONGEST_PART for part in parts.PARTS)
    assert sum(part.seconds for part in parts.PARTS) <= parts.HOUR_SECONDS
    assert [part.number for part in parts.PARTS] == list(range(1, len(parts.PARTS) + 1))


@pytest.mark.parametrize("part", parts.PARTS, ids=lambda part: part.name)
def test_every_part_has_its_module(part):
    assert callable(importlib.import_module(f"harmonyrt.benchmarks.gpu_hour.{part.module}").run)


def test_parts_are_chosen_by_number_or_name_and_done_in_order():
    assert [part.name for part in parts.chosen(["soak", "1"])] == ["doctor", "soak"]
    assert parts.chosen([]) == list(parts.PARTS)
    with pytest.raises(HarmonyError, match="no part 13; the parts are 1 doctor"):
        parts.chosen(["13"])


@pytest.mark.parametrize(
    "arguments",
    [
        *(wish.arguments for wish in bundles.wishes()),
        *(diffusion_build.arguments(diffusion_build._FULL, target) for target in bundles.GPU_TARGETS),
    ],
    ids=" ".join,
)
def test_builds_of_the_hour_can_be_asked_for(arguments, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(versions, "check_installed", lambda target: None)
    assert build_engines.main([*arguments, "--output", str(tmp_path), "--dry-run"]) == 0
    assert capsys.readouterr().out.strip()


def raises(error):
    def work():
        raise error

    return work


def test_a_step_that_breaks_is_a_row_and_the_next_begins(hour):
    assert not hour.step("a", raises(ZeroDivisionError("by zero")))
    assert not hour.step("b", raises(NotHere("install it")))
    assert not hour.step("c", raises(WorkFailed("it failed")))
    assert hour.step("d", lambda: {"ms": 1.5})
    assert not hour.step("e", lambda: {}, least=1000)
    assert [row["state"] for row in rows(hour)] == ["failed", "absent", "failed", "passed", "short"]
    assert rows(hour)[0]["sentence"] == "ZeroDivisionError: by zero"
    assert rows(hour)[3]["measured"] == {"ms": 1.5}


def test_a_program_is_ended_with_all_that_it_started(hour, tmp_path):
    note = tmp_path / "grandchild"
    script = f"sleep 600 & echo $! > {note}.new; mv {note}.new {note}; wait"
    hour.step("hangs", lambda: hour.command("hangs", ["sh", "-c", script], most=2))
    assert rows(hour)[0]["state"] == "short"
    pid, patience = int(note.read_text()), time.monotonic() + 20
    while _alive(pid) and time.monotonic() < patience:
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except OSError:
        return False


def test_what_a_program_said_last_is_the_sentence(hour):
    ended = hour.command("fails", [sys.executable, "-c", "import sys; sys.exit('error: the GPU is busy')"])
    assert (ended.code, ended.last_words) == (1, "error: the GPU is busy")


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (["passed", "absent"], "passed"),
        (["passed", "failed", "short"], "failed"),
        (["absent", "absent"], "absent"),
        (["passed", "short"], "short"),
        ([], "absent"),
    ],
)
def test_the_state_of_a_part(states, state):
    found = [records.Row(f"row {k}", one, "why").plain(False) for k, one in enumerate(states)]
    assert records.state_of(found) == state
    assert records.sentence_of(found)


def test_a_dry_row_has_no_number():
    measured = {"p50_ms": 1.25, "calls": 3, "fine": True, "nested": [{"fps": 8}, 2.0], "named": "sm_90", "none": None}
    row = records.Row("a", "passed", "", measured).plain(dry=True)
    assert numbers_in(row) == []
    assert row["measured"]["nested"] == [{"fps": "dry"}, "dry"]
    assert row["measured"]["fine"] is True
    assert records.Row("a", "passed", "", measured).plain(dry=False)["measured"] == measured
