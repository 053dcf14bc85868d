"""Regression guard: `make bench-guard` holds ratios of one interleaved run, never absolute times, against their floors.

The floors stand in guard.json: each names two sides and how many times faster the second has to be than the first.
A floor is set below what was measured, by more than the spread of repeated runs, so that a noisy minute does not fail.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harmonyrt.benchmarks.compare import Effort, measure
from harmonyrt.benchmarks.subjects import Subject
from harmonyrt.common import HarmonyError
from harmonyrt.export.rewrites import DEFAULT

FLOORS = Path(__file__).with_name("guard.json")


@dataclass(frozen=True)
class Floor:
    """What has to hold.

    Attributes:
        name: for the report.
        size: side of the engine in pixels.
        threads: CPU threads of both sides.
        target: engine target that is compared with PyTorch eager.
        backend: what runs it.
        precision: of the engine.
        at_least: ratio that must be reached.
        rewrites: what the engine has beside the default ones.
    """

    name: str
    size: int
    threads: int
    target: str
    backend: str
    precision: str
    at_least: float
    rewrites: tuple[str, ...] = ()


def floors(path: Path = FLOORS) -> list[Floor]:
    """The committed floors."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [Floor(**{**row, "rewrites": tuple(row.get("rewrites", ()))}) for row in rows]


def check(floor: Floor, bundles: Path, checkpoint: Path, effort: Effort) -> tuple[float, bool]:
    """Measure one floor; returns the ratio, and whether it holds."""
    bundle = bundles / f"phnet-{floor.size}-{floor.precision}"
    size = (floor.size, floor.size)
    torch = Subject("torch", str(checkpoint), *size, threads=floor.threads)
    engine = Subject("engine", str(bundle), *size, threads=floor.threads, backend=floor.backend, target=floor.target)
    speedup = measure([torch, engine], effort)[1].speedup
    assert speedup is not None
    return speedup.median, speedup.median >= floor.at_least


def main(argv: Sequence[str] | None = None) -> int:
    """Build what is needed, measure every floor, print a line each; 1 when one does not hold."""
    parser = argparse.ArgumentParser(prog="bench-guard", description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", help="weights (default: the shipped ones)")
    parser.add_argument("--floors", type=Path, default=FLOORS, help="what has to hold (default: guard.json)")
    parser.add_argument(
        "--quick", action="store_true", help="one short round: shows that the guard works, proves nothing"
    )
    arguments = parser.parse_args(argv)
    from harmonyrt.export.build_engines import main as build
    from harmonyrt.export.recipe import find_checkpoint

    effort = Effort(rounds=1, seconds=0.01, least=1, burn_in_seconds=0) if arguments.quick else Effort()
    try:
        checkpoint = find_checkpoint(arguments.checkpoint)
        held = True
        with tempfile.TemporaryDirectory() as scratch:
            for floor in floors(arguments.floors):
                folder = Path(scratch, "-".join(("default", *floor.rewrites)))
                with contextlib.redirect_stdout(sys.stderr):
                    built = build(
                        ["phnet", "--checkpoint", str(checkpoint), "--sizes", str(floor.size), "--precisions",
                         floor.precision, "--targets", floor.target, "--output", str(folder),
                         "--rewrites", *DEFAULT, *floor.rewrites]
                    )  # fmt: skip
                if built != 0:
                    return built
                ratio, holds = check(floor, folder, checkpoint, effort)
                held &= holds or arguments.quick
                print(f"{'holds ' if holds else 'FAILED'} {floor.name}: {ratio:.2f}x, floor {floor.at_least:.2f}x")
    except HarmonyError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
