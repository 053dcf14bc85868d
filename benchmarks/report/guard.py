"""Regression guard: `make bench-guard` holds ratios of one interleaved run, never absolute times, against their floors.

The floors are in guard.json: each names an engine and how many times faster it has to be than its baseline, which is
PyTorch eager of the same network, or the same backend's engine without rewrites (the steadier of the two: PyTorch's own
time moves by a tenth from run to run). A floor is :data:`MARGIN` of the lowest ratio that was seen, so that a noisy
minute does not fail, and a rewrite that no longer matches does; :mod:`harmonyrt.benchmarks.report.floors` takes it from
the committed runs. Ratios belong to a kind of machine: guard.json has floors for each that was measured, and another
one is held to those of the first one that are in FP32, which every CPU has; the report says so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harmonyrt.benchmarks.cases import Case
from harmonyrt.benchmarks.compare import Budget, measure, ratio
from harmonyrt.common import HarmonyError
from harmonyrt.runtime.machine import machine_name
from harmonyrt.runtime.machine_report import machine

FLOORS = Path(__file__).with_name("guard.json")
MARGIN = 0.9
PLAIN = ("none",)


@dataclass(frozen=True)
class Floor:
    """What has to hold.

    Attributes:
        name: for the report.
        size: side of the engine in pixels.
        threads: CPU threads of both sides.
        target: of the engine.
        backend: what runs it.
        precision: of the engine.
        at_least: ratio that must be reached.
        rewrites: names for `harmonyrt build --rewrites`.
        against: the baseline: ``"torch"``, or ``"none"``: the engine without rewrites.
        needs: features of the CPU, by the names of :mod:`harmonyrt.runtime.machine_report`; it counts only with them,
            since CPUs with and without AMX have one name.
    """

    name: str
    size: int
    threads: int
    target: str
    backend: str
    precision: str
    at_least: float
    rewrites: tuple[str, ...] = ("fast",)
    against: str = "none"
    needs: tuple[str, ...] = ()


def floors(machine: str, path: Path = FLOORS) -> tuple[str, list[Floor]]:
    """The committed floors for a machine.

    Args:
        machine: as :func:`harmonyrt.runtime.machine.machine_name` says it.
        path: guard.json.

    Returns:
        Which machine they were measured on, the first of the file if not on this one, and the floors that serve here.
    """
    known = json.loads(path.read_text(encoding="utf-8"))
    found = machine if machine in known else next(iter(known))
    rows = [floor_of(row) for row in known[found]]
    return found, [floor for floor in rows if machine in known or floor.precision == "fp32"]


def floor_of(row: dict[str, Any]) -> Floor:
    """A row of guard.json."""
    lists = {"rewrites": tuple(row.get("rewrites", ("fast",))), "needs": tuple(row.get("needs", ()))}
    return Floor(**{**row, **lists})


def plain(floor: Floor) -> Floor:
    """The same engine without rewrites."""
    return replace(floor, rewrites=PLAIN)


def folder_of(floor: Floor, bundles: Path) -> Path:
    """Where the floor's bundle is built."""
    return bundles / "-".join((floor.target, *floor.rewrites))


def build_all(wanted: Sequence[Floor], bundles: Path, checkpoint: Path) -> int:
    """Build every floor's bundle; what exists and is unchanged stays. Returns the build's exit code."""
    from harmonyrt.export.build_engines import main as build

    with_baselines = [*wanted, *(plain(floor) for floor in wanted if floor.against == "none")]
    for floor in {folder_of(floor, bundles) / _name(floor): floor for floor in with_baselines}.values():
        with contextlib.redirect_stdout(sys.stderr):
            built = build(
                ["phnet", "--checkpoint", str(checkpoint), "--sizes", str(floor.size), "--precisions",
                 floor.precision, "--targets", floor.target, "--output", str(folder_of(floor, bundles)),
                 "--rewrites", *floor.rewrites]
            )  # fmt: skip
        if built != 0:
            return built
    return 0


def check(wanted: Sequence[Floor], bundles: Path, checkpoint: Path, budget: Budget) -> Iterator[tuple[Floor, float]]:
    """The ratio of every floor; those of one size and number of threads come from one interleaved run."""
    for size, threads in dict.fromkeys((floor.size, floor.threads) for floor in wanted):
        some = [floor for floor in wanted if (floor.size, floor.threads) == (size, threads)]
        torch = Case("torch", str(checkpoint), size, size, threads=threads)
        baselines = [torch if floor.against == "torch" else _engine(plain(floor), bundles) for floor in some]
        engines = [_engine(floor, bundles) for floor in some]
        sides = list(dict.fromkeys((*baselines, *engines)))
        samples = {side: measured.samples for side, measured in zip(sides, measure(sides, budget), strict=True)}
        for floor, baseline, engine in zip(some, baselines, engines, strict=True):
            yield floor, ratio(samples[baseline], samples[engine]).median


def _name(floor: Floor) -> str:
    return f"phnet-{floor.size}-{floor.precision}"


def _engine(floor: Floor, bundles: Path) -> Case:
    place, side = folder_of(floor, bundles) / _name(floor), floor.size
    return Case("engine", str(place), side, side, threads=floor.threads, backend=floor.backend, target=floor.target)


def main(argv: Sequence[str] | None = None) -> int:
    """Build what is needed, measure every floor, print a line each; 1 when one does not hold."""
    parser = argparse.ArgumentParser(prog="bench-guard", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkpoint", help="weights (default: the shipped ones)")
    parser.add_argument("--floors", type=Path, default=FLOORS, help="what has to hold (default: guard.json)")
    parser.add_argument("--bundles", type=Path, help="keep the bundles here, for the next time (default: nowhere)")
    parser.add_argument(
        "--quick", action="store_true", help="one short round: shows that the guard works, proves nothing"
    )
    arguments = parser.parse_args(argv)
    from harmonyrt.export.phnet.recipe import find_checkpoint

    budget = Budget(rounds=1, seconds=0.01, least=1, burn_in_seconds=0) if arguments.quick else Budget()
    try:
        checkpoint = find_checkpoint(arguments.checkpoint)
        here = machine_name()
        measured_on, wanted = floors(here, arguments.floors)
        features = set(machine().cpu.features)
        for floor in wanted:
            if missing := [name for name in floor.needs if name not in features]:
                print(f"skipped {floor.name}: this CPU has no {', '.join(missing)}")
        wanted = [floor for floor in wanted if features.issuperset(floor.needs)]
        if measured_on != here:
            print(f"no floors were measured on {here}; these are of {measured_on}", file=sys.stderr)
        held = True
        with tempfile.TemporaryDirectory() as scratch:
            bundles = arguments.bundles or Path(scratch)
            if (built := build_all(wanted, bundles, checkpoint)) != 0:
                return built
            for floor, found in check(wanted, bundles, checkpoint, budget):
                holds = found >= floor.at_least
                held &= holds or arguments.quick
                print(f"{'holds ' if holds else 'FAILED'} {floor.name}: {found:.2f}x, floor {floor.at_least:.2f}x")
    except HarmonyError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
