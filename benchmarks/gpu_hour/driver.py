"""Does the parts one after the other, each in a separate process that is ended when its time is up.

A part that crashes, hangs or is killed is a row with a sentence; the next one begins. After each part the summary and
the page are written again, so that an interrupted run leaves a readable one.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from harmonyrt.benchmarks import gpu_suite
from harmonyrt.benchmarks.gpu_hour import inputs, page, records
from harmonyrt.benchmarks.gpu_hour.hour import ROOT, Hour, end_group, named_code
from harmonyrt.benchmarks.gpu_hour.parts import HOUR_SECONDS, LONGEST_PART, PARTS, Part
from harmonyrt.common.files import write_json
from harmonyrt.common.progress import say

_GRACE = 10
"""Seconds between the end of a part's own time and the end of its process."""
_LEAST = 20
"""A part is not begun with less of the hour left."""


def run_parts(wanted: Sequence[Part], output: Path, dry: bool, force: bool, options: dict[str, Any]) -> int:
    """Do parts, write what they found.

    Args:
        wanted: which, in order.
        output: folder of the run; parts in it that have the same inputs are kept.
        dry: with stand-ins instead of a GPU.
        force: do again what was done.
        options: of the run, part of every part's inputs.

    Returns:
        The exit code: 1 where a part failed.
    """
    records.check_same_kind(output, dry)
    (output / "parts").mkdir(parents=True, exist_ok=True)
    begun, machine, sources = time.monotonic(), gpu_suite.machine(), inputs.sources()
    states = []
    with importable() as environment:
        if dry:  # tiny networks in many threads would do nothing but wait for each other
            environment["OMP_NUM_THREADS"] = "1"
        for part in wanted:
            known = inputs.inputs_of(part, machine, dry, options, sources)
            kept = records.read_part(output, part.name)
            left = HOUR_SECONDS - (time.monotonic() - begun)
            if kept and not force and kept["state"] in records.DONE and kept["digest"] == inputs.digest_of(known):
                say(f"part {part.number} {part.name}: kept from {kept['began']}, its inputs are the same")
            elif left < _LEAST:
                _write(output, part, dry, known, [], 0, "not begun: the hour was used up", records.SHORT)
            else:
                say(f"part {part.number} {part.name}: at most {part.seconds} s ({part.shows})")
                _one(part, output, dry, min(LONGEST_PART if dry else part.seconds, left), known, environment)
            found = records.read_part(output, part.name)
            assert found is not None
            states.append(found["state"])
            say(f"part {part.number} {part.name}: {found['state']}, {found['sentence']}")
            write_summary(output, machine, dry)
    return int(records.FAILED in states)


@contextlib.contextmanager
def importable() -> Iterator[dict[str, str]]:
    """The environment in which every child finds this checkout as `harmonyrt`, also where it is not installed."""
    with tempfile.TemporaryDirectory(prefix="harmonyrt-") as folder:
        environment = dict(os.environ)
        if os.environ.get("HARMONYRT_FIRST_HOUR_UNINSTALLED"):
            (Path(folder) / "harmonyrt").symlink_to(ROOT, target_is_directory=True)
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
        yield environment


def _one(
    part: Part, output: Path, dry: bool, seconds: float, known: dict[str, Any], environment: dict[str, str]
) -> None:
    hour = Hour(output, part.name, dry, seconds - _GRACE)
    hour.rows_file.unlink(missing_ok=True)
    command = child_command(hour)
    log, began = hour.log("part"), time.monotonic()
    with open(log, "wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, start_new_session=True
        )
        ended = ""
        try:
            code = process.wait(timeout=seconds)
            if code != 0:
                ended = f"its process ended with {named_code(code)}; see logs/{log.name}"
        except subprocess.TimeoutExpired:
            ended = f"it was ended after {seconds:.0f} s; what it had found until then is kept"
        finally:
            end_group(process)
    rows = [json.loads(line) for line in _lines(hour.rows_file)]
    hour.rows_file.unlink(missing_ok=True)
    if ended:
        rows.append(records.Row("the part", records.FAILED, ended).plain(dry))
    _write(output, part, dry, known, rows, time.monotonic() - began)


def child_command(hour: Hour) -> list[str]:
    """The command that does one part: this program again."""
    script = str(ROOT / "benchmarks" / "first_hour.py")
    command = [sys.executable, script, "--child", hour.part, "--child-seconds", str(hour.seconds)]
    return [*command, "--output", str(hour.output), *(["--dry-run"] if hour.dry else [])]


def _lines(path: Path) -> list[str]:
    """Whole lines: the last may be cut short where its process was killed."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return []
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _write(
    output: Path,
    part: Part,
    dry: bool,
    known: dict[str, Any],
    rows: list[dict[str, Any]],
    seconds: float,
    sentence: str = "",
    state: str = "",
) -> None:
    record = {
        "kind": records.PART_KIND,
        "schema": records.SCHEMA,
        "dry": dry,
        "part": part.number,
        "name": part.name,
        "title": part.title,
        "shows": part.shows,
        "state": state or records.state_of(rows),
        "sentence": sentence or records.sentence_of(rows),
        "began": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": records.DRY if dry else round(seconds, 1),
        "most_seconds": part.seconds,
        "digest": inputs.digest_of(known),
        "inputs": known,
        "rows": rows,
    }
    write_json(records.part_file(output, part.name), record)


def write_summary(output: Path, machine: dict[str, Any], dry: bool) -> None:
    """Write the summary and the page of everything that the folder holds."""
    found = [records.read_part(output, part.name) for part in PARTS]
    summary = {
        "kind": records.KIND,
        "schema": records.SCHEMA,
        "dry": dry,
        "made": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine,
        "parts": [
            {"part": part.number, "name": part.name, "state": "not done yet" if one is None else one["state"]}
            | ({} if one is None else {key: one[key] for key in ("sentence", "seconds", "began")})
            for part, one in zip(PARTS, found, strict=True)
        ],
    }
    write_json(output / records.SUMMARY, summary)
    page.write(output / records.PAGE, summary, [one for one in found if one is not None])


def child(name: str, output: Path, dry: bool, seconds: float) -> int:
    """Do one part in this process; its rows go to the disk as they come."""
    part = next(part for part in PARTS if part.name == name)
    module = importlib.import_module(f"harmonyrt.benchmarks.gpu_hour.{part.module}")
    module.run(Hour(output, name, dry, seconds))
    return 0
