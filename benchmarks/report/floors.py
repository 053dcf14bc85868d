"""Where the guard's floors come from: the committed runs, by one rule.

A floor is :data:`harmonyrt.benchmarks.report.guard.MARGIN` of the lowest ratio that any committed run of that kind of
machine shows for the two sides, cut (not rounded) to two digits. A run counts when it timed both sides of the floor in
one interleaved run: PHNet 10 M, one image, the floor's size and number of threads. What no committed run shows keeps
the floor that it has.

    python -m harmonyrt.benchmarks.report.floors            # renew guard.json
    python -m harmonyrt.benchmarks.report.floors --check    # 1 where it would change
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harmonyrt.benchmarks.compare import ratio
from harmonyrt.benchmarks.report.guard import FLOORS, MARGIN, PLAIN, Floor, floor_of
from harmonyrt.benchmarks.results import KIND, Measured, Run, read
from harmonyrt.common import HarmonyError

RESULTS = Path(__file__).resolve().parents[1] / "results"
MODEL = "PHNet 10.0 M"
"""What the guard builds: the shipped weights, or others of their configuration."""
BUILT_AS = {"shipped-10m": "fast"}
"""Folders of committed runs that are not named after their rewrites (docs/cpu_performance.md, "Repeating the runs")."""


def committed_runs(folder: Path = RESULTS) -> Iterator[Run]:
    """The runs of `harmonyrt bench` among the committed results."""
    for path in sorted(folder.rglob("bench-*.json")):
        if json.loads(path.read_text(encoding="utf-8")).get("kind") == KIND:
            yield read(path)


def renewed(known: dict[str, list[dict[str, Any]]], runs: Iterable[Run]) -> dict[str, list[dict[str, Any]]]:
    """The rows of guard.json with the floors that the runs give."""
    runs = list(runs)
    return {machine: [_renewed(machine, row, runs) for row in rows] for machine, rows in known.items()}


def ratios(machine: str, floor: Floor, runs: Iterable[Run]) -> list[float]:
    """How many times faster than its baseline a floor's engine was, in each run of a machine that timed both."""
    found = []
    for run in runs:
        cpu = run.machine["cpu"]
        if f"{cpu['model']}, {cpu['cores']} cores" != machine or not set(cpu["features"]).issuperset(floor.needs):
            continue
        engines = [m for m in run.measured if _is_engine(m, floor, floor.rewrites)]
        if floor.against == "torch":
            baselines = [m for m in run.measured if _is_torch(m, floor)]
        else:
            baselines = [m for m in run.measured if _is_engine(m, floor, PLAIN)]
        found += [ratio(b.samples, e.samples).median for b in baselines[:1] for e in engines[:1]]
    return found


def _renewed(machine: str, row: dict[str, Any], runs: Sequence[Run]) -> dict[str, Any]:
    found = ratios(machine, floor_of(row), runs)
    return {**row, "at_least": math.floor(100 * MARGIN * min(found)) / 100} if found else row


def _same_shape(one: Measured, floor: Floor) -> bool:
    case = one.case
    return (case.height, case.width, case.batch, case.threads) == (floor.size, floor.size, 1, floor.threads)


def _is_torch(one: Measured, floor: Floor) -> bool:
    about = one.about
    return (
        one.case.kind == "torch" and _same_shape(one, floor) and (about["target"], about["model"]) == ("eager", MODEL)
    )


def _is_engine(one: Measured, floor: Floor, rewrites: Sequence[str]) -> bool:
    folder = Path(one.case.path).parent.name
    made = (floor.backend, floor.target, floor.precision, MODEL)
    return (
        one.case.kind == "engine"
        and _same_shape(one, floor)
        and BUILT_AS.get(folder, folder) == "-".join(rewrites)
        and tuple(one.about[name] for name in ("backend", "target", "precision", "model")) == made
    )


def text_of(rows: dict[str, list[dict[str, Any]]]) -> str:
    """Of guard.json: a line for each floor."""
    machines = []
    for machine, floors in rows.items():
        lines = ",\n".join(f"  {json.dumps(floor)}" for floor in floors)
        machines.append(f" {json.dumps(machine)}: [\n{lines}\n ]")
    return "{\n" + ",\n".join(machines) + "\n}\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Renew guard.json, or with ``--check`` say whether it is as the rule wants it."""
    parser = argparse.ArgumentParser(prog="floors", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; 1 where a floor would change")
    parser.add_argument("--floors", type=Path, default=FLOORS, help="guard.json")
    arguments = parser.parse_args(argv)
    try:
        before = arguments.floors.read_text(encoding="utf-8")
        after = text_of(renewed(json.loads(before), committed_runs()))
    except (HarmonyError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if arguments.check:
        print("as the committed runs want it" if before == after else f"{arguments.floors} differs: run this again")
        return int(before != after)
    arguments.floors.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
