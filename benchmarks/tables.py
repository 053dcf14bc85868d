"""docs/benchmarks.md from committed JSON: `python -m harmonyrt.benchmarks.tables` renews what its marks enclose."""

from __future__ import annotations

import sys
from pathlib import Path

from harmonyrt.benchmarks.results import PAPER_ROWS, markdown, read
from harmonyrt.common import HarmonyError
from harmonyrt.common.files import written_whole

BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"


def tables(folder: Path) -> str:
    """All runs of a folder as Markdown, in the order of their file names, after what the papers state."""
    paper = ["### What the paper states", "", "| what | figure | where |", "|---|---|---|"]
    paper += [f"| {what} | {figure} | {where} |" for what, figure, where in PAPER_ROWS]
    runs = [markdown(read(path)) for path in sorted(folder.glob("bench-*.json"))]
    return "\n".join([*paper, "", *runs])


def rewrite(document: Path, folder: Path) -> bool:
    """Put fresh tables into a document.

    Returns:
        Whether anything changed.

    Raises:
        HarmonyError: the document has no place for tables.
    """
    text = document.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise HarmonyError(f"{document} has no lines {BEGIN} and {END}; put them where the tables belong")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    fresh = f"{head}{BEGIN}\n\n{tables(folder)}\n{END}{tail}"
    if fresh == text:
        return False
    with written_whole(document) as scratch:
        scratch.write_text(fresh, encoding="utf-8")
    return True


def main() -> int:
    root = Path(__file__).resolve().parents[1]
    try:
        changed = rewrite(root / "docs" / "benchmarks.md", root / "benchmarks" / "results")
    except HarmonyError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("docs/benchmarks.md rewritten" if changed else "docs/benchmarks.md is up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
