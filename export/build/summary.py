"""The result of a build, for people and for programs; on stdout."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harmonyrt.export.build.family import Recipe
from harmonyrt.export.build.outcome import Outcome
from harmonyrt.export.targets import TYPE_OF_PRECISION
from harmonyrt.runtime.manifest import EngineSpec, Skipped

_PRECISION_OF_TYPE = {kind: precision for precision, kind in TYPE_OF_PRECISION.items()}


def print_plan(plans: Sequence[tuple[Recipe, Path, str]], as_json: bool) -> None:
    """Print what a build would do: (recipe, folder of the bundle, status) each."""
    if as_json:
        print(json.dumps({"plan": [_planned(*one) for one in plans]}, indent=2))
        return
    rows = [
        (str(place), status, ", ".join(recipe.targets) or "-", ", ".join(recipe.rewrites) or "-")
        for recipe, place, status in plans
    ]
    _print_columns(("bundle", "status", "targets", "rewrites"), rows)
    _print_skipped(skipped for recipe, _, _ in plans for skipped in recipe.skipped)
    recipe = plans[0][0]
    print(f"checkpoint: {recipe.source_name} (sha256 {recipe.source_sha256[:12]}…)")


def _planned(recipe: Recipe, place: Path, status: str) -> dict:
    return {
        "bundle": str(place),
        "status": status,
        "targets": list(recipe.targets),
        "skipped": [dataclasses.asdict(skipped) for skipped in recipe.skipped],
        **recipe.facts(),
    }


def print_table(outcomes: Sequence[Outcome]) -> None:
    """Print a line per engine, what cannot exist and why, and what failed."""
    rows = [
        (
            str(outcome.place),
            outcome.status,
            _engine_name(engine),
            f"{sum(file.bytes for file in engine.files) / 1e6:.1f} MB",
            " ".join(f"{_PRECISION_OF_TYPE.get(kind, kind)}:{n}" for kind, n in engine.census.items()),
            f"{engine.parity.max_abs_error:.1e}",
            f"{engine.parity.psnr_db:.1f} dB",
            f"{engine.build_seconds:.1f} s",
        )
        for outcome in outcomes
        if outcome.manifest
        for engine in outcome.manifest.engines
    ]
    if rows:
        _print_columns(("bundle", "status", "engine", "size", "computes in", "max error", "parity", "built in"), rows)
    _print_skipped(skipped for o in outcomes for skipped in (*o.recipe.skipped, *o.refused))
    for assumed in dict.fromkeys(s for o in outcomes if o.manifest for s in o.manifest.model.config.get("assumed", ())):
        print(f"assumed: {assumed}")
    for problem in (problem for outcome in outcomes for problem in outcome.problems):
        print(f"failed: {problem}")
    if outcomes and all(outcome.status in ("unchanged", "nothing") for outcome in outcomes):
        print("nothing changed: every bundle is already as asked (--force builds again)")
    configs = [_config(outcome) for outcome in outcomes]
    for note in (note for config in configs for note in config.get("fallbacks", ())):
        print(f"fell back: {note}")
    for line in dict.fromkeys(line for config in configs for line in source_lines(config.get("sources", {}))):
        print(f"from {line}")
    if any(outcome.manifest and outcome.manifest.model.random_weights for outcome in outcomes):
        print("random weights: for latency work only")


def source_lines(sources: Mapping[str, Sequence[Mapping[str, str]]]) -> list[str]:
    """A line per part of a network: the files that it came from."""
    named = "{path} (sha256 {sha256:.12}…)"
    return [f"{part}: {', '.join(named.format(**file) for file in files)}" for part, files in sources.items()]


def _engine_name(engine: EngineSpec) -> str:
    capability = engine.needs.get("compute_capability")
    part = "" if engine.component == "network" else f"{engine.component}: "
    gpus = f" sm{capability.replace('.', '').replace(', ', '/')}" if capability else ""
    return f"{part}{engine.label}{gpus}"


def _print_skipped(skipped: Iterable[Skipped]) -> None:
    for reason in dict.fromkeys(f"{one.target} {one.precision}: {one.reason}" for one in skipped):
        print(f"not possible: {reason}")


def _print_columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    for row in (heads, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def as_json(outcomes: Sequence[Outcome]) -> dict:
    """The same for programs."""
    return {
        "bundles": [
            {
                "bundle": str(outcome.place),
                "status": outcome.status,
                "engines": [dataclasses.asdict(engine) for engine in outcome.manifest.engines]
                if outcome.manifest
                else [],
                "skipped": [dataclasses.asdict(skipped) for skipped in (*outcome.recipe.skipped, *outcome.refused)],
                "problems": outcome.problems,
                "assumed": list(_config(outcome).get("assumed", ())),
                "sources": _config(outcome).get("sources", {}),
            }
            for outcome in outcomes
        ]
    }


def _config(outcome: Outcome) -> dict:
    return outcome.manifest.model.config if outcome.manifest else {}


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """1 when an engine failed, 0 otherwise."""
    return 1 if any(outcome.problems for outcome in outcomes) else 0
