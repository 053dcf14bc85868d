"""Tables from committed JSON: `python -m harmonyrt.benchmarks.report.tables` renews five documents.

They keep what is outside their marks: README.md has one table, docs/benchmarks.md three, weights/README.md those of
quality, docs/serving.md those of the server, results/README.md all others.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from harmonyrt.benchmarks.compare import Measured
from harmonyrt.benchmarks.peers.report import report as peers_table
from harmonyrt.benchmarks.report.front_page import front_page, readme
from harmonyrt.benchmarks.report.goals import goals
from harmonyrt.benchmarks.report.pictures import draw, frame_rates
from harmonyrt.benchmarks.report.quality import quality
from harmonyrt.benchmarks.report.serving import sizing
from harmonyrt.benchmarks.results import PAPER_ROWS, Run, markdown, read, short_machine_line
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
    """Everything that is committed as Markdown: goals, overviews, opening, the runtime's overhead, then run by run."""
    paper = ["## What the paper states", "", "| what | figure | where |", "|---|---|---|"]
    paper += [f"| {what} | {figure} | {where} |" for what, figure, where in PAPER_ROWS]
    runs = committed_runs(folder)
    costs = [*opening(folder / "opening.json"), *overhead(folder)]
    others = [line for path in sorted(folder.iterdir()) if path.is_dir() for line in elsewhere(path)]
    by_run = ["## Run by run", "", *map(markdown, runs)] if runs else []
    return "\n".join([goals(runs, folder), *overview(runs), *peers(folder), *paper, "", *costs, *by_run, *others])


def elsewhere(folder: Path) -> list[str]:
    """The runs of another machine, which are in their own folder, as Markdown; nothing without any."""
    runs = committed_runs(folder)
    if not runs:
        return []
    machine = short_machine_line(runs[0]).partition(";")[0]
    head = [f"## On another machine: {machine}", "", goals(runs, folder), *overview(runs)]
    return [*head, *peers(folder), *map(markdown, runs)]


def overview(runs: Sequence[Run]) -> list[str]:
    """A table for each network: ratio to PyTorch eager, and pictures per second, by engine, size and threads."""
    rates = frame_rates(runs)
    lines = []
    for network in dict.fromkeys(network for network, *_ in rates):
        own = {key[1:]: m for key, m in rates.items() if key[0] == network}
        columns = sorted({(size, threads) for threads, size, _ in own})
        heads = [f"{size} px, {threads} thread{'s' if threads > 1 else ''}" for size, threads in columns]
        lines += [f"### {network}, network only, batch 1", "", "| engine | " + " | ".join(heads) + " |"]
        lines.append("|---|" + "---|" * len(columns))
        for engine in dict.fromkeys(engine for *_, engine in own):
            cells = [_cell(own.get((threads, size, engine))) for size, threads in columns]
            lines.append("| " + " | ".join([engine, *cells]) + " |")
        lines += ["", "Times the speed of PyTorch eager in the same run, and pictures per second.", ""]
    return lines


def _cell(m: Measured | None) -> str:
    if m is None:
        return ""
    rate = f"{m.latency.fps:.2f}" if m.latency.fps < 10 else f"{m.latency.fps:.1f}"
    return f"{'1' if m.speedup is None else f'{m.speedup.median:.2f}x'} ({rate})"


def peers(folder: Path) -> list[str]:
    """Our engines and other libraries in one run, as Markdown, a table for each size; nothing without such runs."""
    runs = sorted(map(read, sorted(folder.glob("peers-*.json"))), key=_order)
    lines = []
    for size in dict.fromkeys(run.measured[0].case.height for run in runs):
        same = [run for run in runs if run.measured[0].case.height == size]
        lines += [f"### Peers at {size} px", "", peers_table(same), f"`{same[0].command}`", ""]
    return lines


def overhead(folder: Path) -> list[str]:
    """What the runtime adds to its engine, as Markdown."""
    lines = []
    for path in sorted(folder.glob("around_engine*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        side, network = report["engine_size"][0], f"{report['parameters'] / 1e6:.1f} M"
        lines += [f"### Runtime overhead around an engine of {side} px", ""]
        lines += ["| picture | threads | fit, ms | edit upsampling and blend, ms | together, ms | engine, ms | share |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for row in report["rows"]:
            together = row["fit"] + row["carry_back"]
            cells = (row["size"], row["threads"], row["fit"], row["carry_back"], f"{together:.1f}", row["engine"])
            lines.append("| " + " | ".join(map(str, (*cells, f"{together / row['engine']:.1%}"))) + " |")
        what = f"PHNet {network}, {report['backend']}; {report['machine']}, {report['date']}"
        lines += ["", f"Medians of {report['rounds']} calls. {what}.", "", f"`{report['command']}`", ""]
    return lines


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
    """The runs of a folder: larger networks first, then by size and threads, those of more engines first."""
    return sorted(map(read, sorted(folder.glob("bench-*.json"))), key=_order)


def _order(run: Run) -> tuple[float, int, int, int]:
    first = run.measured[0]
    millions = float(first.about.get("model", "PHNet 0 M").split()[1])
    return -millions, first.case.height, first.case.threads or 0, -len(run.measured)


def index(folder: Path) -> list[str]:
    """Every committed measurement with the command that repeats it, as Markdown."""
    lines = ["## Files", "", "| file | what | command |", "|---|---|---|"]
    for path in sorted(folder.rglob("*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        what = report.get("what") or report.get("name") or path.stem
        command = report.get("command")
        cells = (f"[{path.stem}]({path.relative_to(folder)})", what, f"`{command}`" if command else "not recorded")
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return [*lines, ""]


def rewrite(document: Path, fresh: str) -> bool:
    """Put fresh tables between a document's marks.

    Returns:
        Whether anything changed.

    Raises:
        HarmonyError: the document has no place for tables.
    """
    text = document.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise HarmonyError(f"{document} has no lines {BEGIN} and {END}; put them where the tables belong")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    renewed = f"{head}{BEGIN}\n\n{fresh.rstrip()}\n\n{END}{tail}"
    if renewed == text:
        return False
    with written_whole(document) as scratch:
        scratch.write_text(renewed, encoding="utf-8")
    return True


def documents(root: Path) -> dict[Path, str]:
    """What belongs between the marks of each document of a checkout."""
    results = root / "benchmarks" / "results"
    runs = committed_runs(results)
    elsewhere = [committed_runs(path) for path in sorted(results.iterdir()) if path.is_dir()]
    return {
        root / "README.md": readme(runs),
        root / "docs" / "serving.md": sizing(results),
        root / "docs" / "benchmarks.md": front_page(runs, elsewhere, results / "opening.json"),
        results / "README.md": "\n".join([*index(results), tables(results)]),
        root / "weights" / "README.md": quality(results),
    }


def main() -> int:
    root = Path(__file__).resolve().parents[2]
    try:
        changed = [path for path, text in documents(root).items() if rewrite(path, text)]
        drawn = draw(committed_runs(root / "benchmarks" / "results"), root / "docs" / "pictures")
    except HarmonyError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"rewritten: {', '.join(str(path.relative_to(root)) for path in changed) or 'nothing, all is up to date'}")
    print(f"drawn: {', '.join(path.name for path in drawn)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
