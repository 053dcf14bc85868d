"""What a part has to work with: the folder, the time that is left, rows, and programs that are ended in time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harmonyrt.benchmarks.gpu_hour.records import ABSENT, FAILED, PASSED, SHORT, Row
from harmonyrt.common import HarmonyError

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, or site-packages/harmonyrt."""
_SENTENCE = 400


class NotHere(HarmonyError):
    """Something that a step needs is not on this machine: the row is absent, not failed."""


class TimeUsedUp(HarmonyError):
    """A step was ended, or not begun, because of the time."""


@dataclass
class Hour:
    """One part at work, in a separate process.

    Attributes:
        output: the folder of the run.
        part: the part's name.
        dry: nothing here is a measurement: no GPU, stand-ins instead.
        seconds: that this part may take.
    """

    output: Path
    part: str
    dry: bool
    seconds: float
    begun: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds until the part is ended."""
        return self.seconds - (time.monotonic() - self.begun)

    @property
    def bundles(self) -> Path:
        """Where the bundles of the run are."""
        return self.output / "bundles"

    @property
    def rows_file(self) -> Path:
        """Rows so far, one JSON object a line: they survive the end of this process, however it ends."""
        return self.output / "parts" / f".{self.part}.rows"

    def add(self, what: str, state: str, sentence: str = "", measured: dict[str, Any] | None = None) -> None:
        """Note a row, at once on the disk."""
        row = Row(what, state, " ".join(sentence.split())[:_SENTENCE], measured or {}).plain(self.dry)
        with open(self.rows_file, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(
            f"         {state:<7} {what}{': ' if sentence else ''}{row['sentence'][:160]}", file=sys.stderr, flush=True
        )

    def step(self, what: str, work: Callable[[], dict[str, Any] | None], least: float = 5) -> bool:
        """Do one step, if `least` seconds are left; whatever goes wrong is a row, and the next step begins.

        Args:
            what: for the row.
            work: returns what it measured.
            least: seconds without which it is not begun.

        Returns:
            Whether it passed.
        """
        if self.left < least:
            self.add(what, SHORT, f"not begun: it needs {least:.0f} s, and the part's {self.seconds:.0f} s were used")
            return False
        try:
            self.add(what, PASSED, measured=work())
            return True
        except NotHere as error:
            self.add(what, ABSENT, str(error))
        except TimeUsedUp as error:
            self.add(what, SHORT, str(error))
        except HarmonyError as error:
            self.add(what, FAILED, str(error))
        except Exception as error:  # one broken step must not cost the others
            self.add(what, FAILED, f"{type(error).__name__}: {error}")
        return False

    def log(self, name: str) -> Path:
        """A file for what a program prints."""
        folder = self.output / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{self.part}-{name}.log"

    def command(self, name: str, command: Sequence[str], most: float | None = None, spare: float = 5) -> Ended:
        """Run a program in a process group, and end the group when its time is up.

        Args:
            name: of its log.
            command: program and arguments.
            most: seconds that it may take; None for what the part has left.
            spare: seconds of the part that must be left after it.

        Raises:
            TimeUsedUp: it was ended.
        """
        log = self.log(name)
        seconds = max(1.0, min(most or self.left, self.left - spare))
        errors = log.with_suffix(".err.log")
        with open(log, "wb") as out, open(errors, "wb") as err:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
            try:
                code = process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                raise TimeUsedUp(f"{name} was ended after {seconds:.0f} s; its output is in {log.name}") from None
            finally:
                end_group(process)
        return Ended(code, log.read_text(errors="replace"), errors.read_text(errors="replace"))


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    code: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """Why it failed, as far as it said so: the last error, or the last line."""
        lines = [line.strip() for line in (*self.out.splitlines(), *self.err.splitlines()) if line.strip()]
        errors = [line for line in lines if line.lower().startswith(("error", "failed"))]
        said = errors or lines or [""]
        return said[-1] or f"it ended with {named_code(self.code)} and printed nothing"


def named_code(code: int) -> str:
    """``-11`` -> ``"signal SIGSEGV"``; ``3`` -> ``"exit code 3"``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def end_group(process: subprocess.Popen) -> None:
    """End a process that leads a group, and what it started; nothing happens where all of it has ended."""
    for ending in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, ending)
        except (ProcessLookupError, PermissionError):  # macOS answers the second for a group of zombies
            break
        try:
            process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
