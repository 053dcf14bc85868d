"""The result of a build, for people and for programs; on stdout."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from harmonyrt.export.build.job import Outcome, total_bytes
from harmonyrt.export.build.recipe import BundleRecipe
from harmonyrt.runtime.manifest import EngineSpec, Skipped

PRECISION_OF_TYPE = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def print_plan(plans: Sequence[tuple[BundleRecipe, Path, str]], as_json: bool) -> None:
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
    print(f"checkpoint: {recipe.checkpoint} (sha256 {recipe.checkpoint_sha256[:12]}…)")


def _planned(recipe: BundleRecipe, place: Path, status: str) -> dict:
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
            f"{total_bytes(engine.files) / 1e6:.1f} MB",
            " ".join(f"{PRECISION_OF_TYPE.get(kind, kind)}:{n}" for kind, n in engine.census.items()),
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


def _engine_name(engine: EngineSpec) -> str:
    capability = engine.needs.get("compute_capability")
    part = "" if engine.component == "network" else f"{engine.component}: "
    cards = f" sm{capability.replace('.', '').replace(', ', '/')}" if capability else ""
    return f"{part}{engine.target} {engine.precision}{cards}"


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
