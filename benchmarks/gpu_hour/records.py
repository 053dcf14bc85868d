"""What a part of the first hour leaves behind: rows, their states, and files that appear whole or not at all.

A dry run walks through the same code on a machine without a GPU. What it times is not a GPU, so no number of it is
kept: :func:`without_numbers` replaces each by the word "dry" before anything is written.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harmonyrt.common import HarmonyError

SCHEMA = 1
KIND, PART_KIND = "harmonyrt-first-hour", "harmonyrt-first-hour-part"
SUMMARY, PAGE = "first_hour.json", "index.html"
PASSED, FAILED, ABSENT, SHORT = "passed", "failed", "absent", "short"
STATES = {
    PASSED: "did what it should",
    FAILED: "did not; the sentence says why",
    ABSENT: "a tool, package or file that it needs is not on this machine",
    SHORT: "the time was used up before all of it was done",
}
DONE = (PASSED, SHORT)
"""Parts in these states are not done again while their inputs stay the same."""
DRY = "dry"


@dataclasses.dataclass(frozen=True)
class Row:
    """One thing that a part did.

    Attributes:
        what: for example ``"tensorrt fp16, 512 px"``.
        state: a key of :data:`STATES`.
        sentence: why it failed or is absent, or what is worth knowing.
        measured: numbers by name, nested as they come; milliseconds, bytes and so on stand in the names.
    """

    what: str
    state: str
    sentence: str = ""
    measured: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.state in STATES, self.state

    def plain(self, dry: bool) -> dict[str, Any]:
        """The row as it is written."""
        measured = without_numbers(self.measured) if dry else self.measured
        return {"what": self.what, "state": self.state, "sentence": self.sentence, "dry": dry, "measured": measured}


def without_numbers(found: Any) -> Any:
    """The same structure with :data:`DRY` for every number; true, false and text stay."""
    if isinstance(found, dict):
        return {key: without_numbers(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [without_numbers(value) for value in found]
    return found if found is None or isinstance(found, bool | str) else DRY


def state_of(rows: Sequence[dict[str, Any]]) -> str:
    """The state of a part: one failure is a failure; absent only if all of it is."""
    states = {row["state"] for row in rows}
    if FAILED in states:
        return FAILED
    if not states or states == {ABSENT}:
        return ABSENT
    return SHORT if SHORT in states else PASSED


def sentence_of(rows: Sequence[dict[str, Any]]) -> str:
    """Why a part is in its state: the first row in that state tells, or how many rows passed."""
    state = state_of(rows)
    told = [row for row in rows if row["state"] == state]
    if state == PASSED:
        return f"{len(told)} of {len(rows)} done" if len(told) < len(rows) else f"all {len(rows)} done"
    more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
    return f"{told[0]['what']}: {told[0]['sentence']}{more}" if told else "it did nothing"


def part_file(output: Path, name: str) -> Path:
    """Where the record of a part is."""
    return output / "parts" / f"{name}.json"


def read_part(output: Path, name: str) -> dict[str, Any] | None:
    """The record of a part that was done before; None where there is none that can be read."""
    try:
        found = json.loads(part_file(output, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = isinstance(found, dict) and found.get("kind") == PART_KIND and found.get("schema") == SCHEMA
    return found if same else None


def check_same_kind(output: Path, dry: bool) -> None:
    """Keep dry runs and measurements in separate folders.

    Raises:
        HarmonyError: the folder holds records of the other kind.
    """
    for path in sorted((output / "parts").glob("*.json")):
        found = read_part(output, path.stem)
        if found is not None and found["dry"] != dry:
            held, wanted = ("a dry run", "a measurement") if found["dry"] else ("measurements", "a dry run")
            raise HarmonyError(f"{output} holds {held}, and this is {wanted}: choose another --output")
