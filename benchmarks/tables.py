"""docs/benchmarks.md from committed JSON: `python -m harmonyrt.benchmarks.tables` renews what its marks enclose."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from harmonyrt.benchmarks.pictures import draw
from harmonyrt.benchmarks.results import PAPER_ROWS, Run, markdown, read
from harmonyrt.benchmarks.targets import targets
from harmonyrt.common import HarmonyError
from harmonyrt.common.files import written_whole

OPENING = {
    "bundle": "bundle",
    "engine": "engine",
    "threads": "threads",
    "open_empty_cache_ms": "open, empty cache, ms",
    "open_ms": "open, filled cache, ms",
    "first_call_ms": "first call, ms",
    "peak_rss_empty_cache_mb": "peak MB, empty cache",
    "peak_rss_mb": "peak MB, filled cache",
    "cache_mb": "cache on disk, MB",
}
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"


def tables(folder: Path) -> str:
    """All runs of a folder as Markdown, in the order of their file names, after what the papers state."""
    paper = ["### What the paper states", "", "| what | figure | where |", "|---|---|---|"]
    paper += [f"| {what} | {figure} | {where} |" for what, figure, where in PAPER_ROWS]
    runs = committed_runs(folder)
    return "\n".join([targets(runs, folder), *paper, "", *opening(folder / "opening.json"), *map(markdown, runs)])


def opening(path: Path) -> list[str]:
    """What opening costs, as Markdown; nothing without its file."""
    if not path.is_file():
        return []
    report = json.loads(path.read_text(encoding="utf-8"))
    table = ["| " + " | ".join(OPENING.values()) + " |", "|" + "---|" * len(OPENING)]
    table += ["| " + " | ".join(str(row[key]) for key in OPENING) + " |" for row in report["rows"]]
    lines = [f"Machine: {report['machine']}, {report['date']}.", "", f"`{report['command']}`", ""]
    return ["### Opening", "", *table, "", *lines]


def committed_runs(folder: Path) -> list[Run]:
    """The runs of a folder, in the order of their file names."""
    return [read(path) for path in sorted(folder.glob("bench-*.json"))]


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
    results = root / "benchmarks" / "results"
    try:
        changed = rewrite(root / "docs" / "benchmarks.md", results)
        drawn = draw(committed_runs(results), root / "docs" / "pictures")
    except HarmonyError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("docs/benchmarks.md rewritten" if changed else "docs/benchmarks.md is up to date")
    print(f"drawn: {', '.join(path.name for path in drawn)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
