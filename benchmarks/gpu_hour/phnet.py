"""The whole of `benchmarks/gpu_suite.py`: engines, gates, latencies, roofline, PyTorch and ONNX Runtime."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from harmonyrt.benchmarks import gpu_runners, gpu_suite
from harmonyrt.benchmarks.gpu_hour import dry
from harmonyrt.benchmarks.gpu_hour.hour import Hour
from harmonyrt.benchmarks.gpu_hour.records import ABSENT, PASSED, without_numbers
from harmonyrt.common import WorkFailed
from harmonyrt.common.files import write_json

FILE = "phnet-suite.json"
_SHOWN = ("latency_ms", "end_to_end_ms", "fps", "roof_ms", "share_of_roof", "note")


_LONGEST_STEP = 60
"""Seconds that a step of the suite may still take when its own time is up: the build of an engine, say."""


def run(hour: Hour) -> None:
    """One row for each measurement, and one for each thing that was left out."""
    found: dict[str, Any] = {}
    try:
        hour.step("suite", lambda: _suite(hour, found), least=1)
    finally:  # also what was measured before the part was ended
        for row in found.get("measured", []):
            what = f"{row['runner']} {row['precision']}, {row['size']} px, batch {row['batch']}"
            hour.add(what, PASSED, measured={key: row[key] for key in _SHOWN if key in row})
        for one in found.get("skipped", []):
            hour.add(one["what"], ABSENT, one["reason"])


def _suite(hour: Hour, found: dict[str, Any]) -> dict[str, Any]:
    arguments = ["--seconds", str(max(1, int(hour.left - _LONGEST_STEP)))]
    if hour.dry:
        dry.simulate_suite(gpu_runners)
        arguments += ["--sizes", str(dry.SIDE), "--batches", "1", "--precisions", "fp32"]
    with tempfile.TemporaryDirectory() as folder:  # what a dry run times must not be on the disk for a moment
        path = Path(folder) / FILE
        try:
            gpu_suite.main([*arguments, "--output", str(path)])
        finally:
            if path.exists():
                found |= json.loads(path.read_text(encoding="utf-8"))
                kept = without_numbers(found) if hour.dry else found
                write_json(hour.output / FILE, {"dry": hour.dry, **kept, "schema": found["schema"]})
    if not found["measured"]:
        raise WorkFailed("it measured nothing; the rows below say why")
    return {"file": FILE, "measured": len(found["measured"]), "skipped": len(found["skipped"])}
