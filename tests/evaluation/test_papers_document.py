"""docs/papers.md: every row has a command, and every command parses to its last option."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|\n ").split(" | ")]
    for line in (ROOT / "docs" / "papers.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith(("| what |", "| --- |"))
]


def test_every_table_equation_and_figure_of_the_papers_has_a_row():
    names = " ".join(row[0] for row in ROWS)
    assert len([row for row in ROWS if row[0].startswith("Table")]) == 5 + 4
    covered = set()
    for first, last in re.findall(r"Equations? (\d+)(?: (?:to|and) (\d+))?", names):
        covered |= set(range(int(first), int(last or first) + 1))
    assert covered == set(range(1, 18))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_rows_have_a_command_that_parses(row):
    what, command, status = row
    assert what
    assert status
    assert re.fullmatch(r"`[^`]+`", command), row
    words = shlex.split(command.strip("`"))
    if words[0] == "harmonyrt":
        parse_verb(words[1], words[2:])
    elif words[:3] == ["python", "-m", "pytest"]:
        parse_tests(words[3:])
    else:
        assert words[:2] == ["python", "-m"], command
        assert importlib.util.find_spec(words[2]), command


def parse_verb(verb: str, arguments: list[str]) -> None:
    """As the command line would, without doing anything."""
    if verb == "build":
        from harmonyrt.export.build.options import parse

        parse(arguments)
        return
    from harmonyrt.cli.main import app

    typer.main.get_command(app).commands[verb].make_context(verb, arguments)


def parse_tests(arguments: list[str]) -> None:
    """The file is there, and holds a test whose name has what `-k` asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("-k", default="")
    asked = parser.parse_args(arguments)
    tests = re.findall(r"def (test_\w+)", (ROOT / asked.file).read_text(encoding="utf-8"))
    assert any(asked.k in name for name in tests), arguments
