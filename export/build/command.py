"""What `harmonyrt build` does with a parsed command line."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

from harmonyrt.common.progress import say
from harmonyrt.common.streams import current as streams
from harmonyrt.export.build.bundle import check_place
from harmonyrt.export.build.family import Recipe
from harmonyrt.export.build.job import build_bundles
from harmonyrt.export.build.recipe import unchanged
from harmonyrt.export.build.summary import as_json, exit_code, print_plan, print_table


def run(arguments: argparse.Namespace) -> int:
    """Build, or say what would be built; returns the exit code.

    Raises:
        HarmonyError: wrong usage or input.
    """
    recipes, output = arguments.family.recipes(arguments), Path(arguments.output)
    if arguments.dry_run:
        for recipe in recipes:
            check_place(output / recipe.name)
        rows = [(r, output / r.name, _status(r, output / r.name, arguments.force)) for r in recipes]
        print_plan(rows, arguments.json)
        return 0
    if not arguments.json:
        streams().results_are_files()
    with reasons_told() if arguments.verbose else contextlib.nullcontext():
        outcomes = build_bundles(arguments.family, recipes, output, arguments.force)
    if arguments.json:
        print(json.dumps(as_json(outcomes), indent=2))
    else:
        print_table(outcomes)
    return exit_code(outcomes)


@contextlib.contextmanager
def reasons_told() -> Iterator[None]:
    """Say what this room logs, such as why a rewrite left a place as it is."""
    logger, told = logging.getLogger("harmonyrt.export"), _Told()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(told)
    try:
        yield
    finally:
        logger.removeHandler(told)
        logger.setLevel(level)


class _Told(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(f"note: {record.getMessage()}")


def _status(recipe: Recipe, place: Path, force: bool) -> str:
    if not recipe.targets:
        return "nothing"
    return "unchanged" if not force and unchanged(recipe, place) else "to build"
