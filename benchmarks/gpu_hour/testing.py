"""The tests that need a GPU. Part kernels runs its own with the same means."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from harmonyrt.benchmarks.gpu_hour.hour import ROOT, Hour, NotHere
from harmonyrt.benchmarks.gpu_hour.records import ABSENT, FAILED, SHORT
from harmonyrt.common import WorkFailed

TESTS = ROOT / "tests"
_KEPT = 3
"""Failures of one file that are told in words; the log has them all."""


def run(hour: Hour) -> None:
    """Every test file with tests marked `gpu`: a row each."""
    try:
        files = marked_files()
    except NotHere as error:
        hour.add("tests", ABSENT, str(error))
        return
    for path in files[:1] if hour.dry else files:  # without a GPU, each would only start pytest again
        run_file(hour, path, ["-m", "gpu"])


def marked_files() -> list[Path]:
    """Test files that name the mark `gpu`; only these, since collecting all of them takes longer than running these.

    Raises:
        NotHere: this is no checkout.
    """
    if not TESTS.is_dir():
        raise NotHere("the tests are not here: run this from a clone, not from an installed package")
    return sorted(path for path in TESTS.rglob("test_*.py") if "mark.gpu" in path.read_text(encoding="utf-8"))


def run_file(hour: Hour, path: Path, more: Sequence[str]) -> None:
    """Run one file with pytest; the row tells how many passed, failed and were skipped, and why."""
    name = str(path.relative_to(ROOT))
    if hour.left < 10:
        hour.add(name, SHORT, "not begun: the part's time was used up")
        return
    report = hour.log(path.stem).with_suffix(".xml")
    command = [sys.executable, "-m", "pytest", str(path), "--rootdir", str(ROOT), "-p", "no:cacheprovider", "-q"]
    results: list[tuple[str, str, str]] = []

    def work() -> dict[str, int]:
        ended = hour.command(path.stem, [*command, f"--junitxml={report}", *more])
        if "No module named pytest" in ended.err:
            raise NotHere("pytest is not installed: run pip install 'harmonyrt[dev]'")
        if not report.exists():
            raise NotHere(ended.last_words)
        results.extend(_results(report))
        counts = {state: sum(one[1] == state for one in results) for state in ("passed", "failed", "skipped")}
        if counts["failed"]:
            raise WorkFailed(f"{counts['failed']} of {len(results)} tests failed")
        if counts["skipped"] and not counts["passed"]:  # nothing was shown
            raise NotHere(f"all {len(results)} tests were skipped: {_reasons(results)}")
        return counts

    passed = hour.step(name, work)
    for test, _, why in [one for one in results if one[1] == "failed"][:_KEPT]:
        hour.add(f"{path.stem}: {test}", FAILED, why)
    if passed and _reasons(results):
        hour.add(f"{path.stem}: skipped", ABSENT, _reasons(results))


def _reasons(results: list[tuple[str, str, str]]) -> str:
    return "; ".join(sorted({why for _, state, why in results if state == "skipped"}))


def _results(report: Path) -> list[tuple[str, str, str]]:
    """(test, state, why) of a JUnit report."""
    found = []
    for case in ET.parse(report).getroot().iter("testcase"):
        state, why = "passed", ""
        for kind, meant in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
            told = case.find(kind)
            if told is not None:
                state, why = meant, (told.get("message") or (told.text or "").strip()[-200:])
        found.append((case.get("name", "?"), state, why))
    return found
