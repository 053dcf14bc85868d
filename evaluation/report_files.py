"""A report for programs and papers: JSON, CSV, Markdown and LaTeX. Pages for people: :mod:`.report_page`."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from typing import Any

from harmonyrt.evaluation.metrics import average, by_ratio
from harmonyrt.evaluation.protocol import Report
from harmonyrt.evaluation.protocol import report as report_of
from harmonyrt.evaluation.systems import System, parts_of, subsets_of
from harmonyrt.evaluation.tables import Table

KIND = "harmonyrt-evaluation"


def report_of_system(system: System) -> Report:
    """The averages of one system, over all of its passes."""
    size = system.measured.about.size
    side = size[0] if isinstance(size, tuple) else size
    made = report_of(side, [row.before for row in system.rows], [row.after for row in system.rows])
    passes = len(system.measured.run.passes)
    for means in (made.composite, made.harmonized, *made.by_ratio.values()):
        means["pictures"] //= passes  # each was counted once for every seed
    return made


def as_data(systems: Sequence[System], tables: Sequence[Table]) -> dict[str, Any]:
    """Everything, for JSON: the first system's averages, then all systems and tables."""
    return {
        **dataclasses.asdict(report_of_system(systems[0])),
        "kind": KIND,
        "protocol": systems[0].measured.run.protocol,
        "peak": systems[0].measured.run.peak_name,
        "systems": [_system(one) for one in systems],
        "tables": [dataclasses.asdict(table) for table in tables],
    }


def _system(system: System) -> dict[str, Any]:
    seeds, part = system.measured.run.seeds, parts_of([system])[-1]
    return {
        "label": system.label,
        "bundle": system.measured.run.bundle,
        **{f"about_{key}": value for key, value in dataclasses.asdict(system.measured.about).items()},
        **dataclasses.asdict(report_of_system(system)),
        "by_subset": {
            n: average(part.of(n)) | {"pictures": len(part.of(n)) // part.passes} for n in subsets_of([system])
        },
        "by_seed": {str(seed): average(r.after for r in system.rows if r.seed == seed) for seed in seeds},
    }


def as_json(systems: Sequence[System], tables: Sequence[Table]) -> str:
    """:func:`as_data` as text."""
    return json.dumps(as_data(systems, tables), indent=2, allow_nan=False) + "\n"


def as_csv(systems: Sequence[System]) -> str:
    """One line for each system and group: all pictures, each subset, each bin of the foreground ratio."""
    rows = []
    for part in parts_of(systems):
        groups = {("all", ""): average(part.scores)}
        groups |= {("subset", name): average(part.of(name)) for name in subsets_of(systems)}
        groups |= {("ratio", name): means for name, means in by_ratio(part.scores).items()}
        for (group, name), means in groups.items():
            means["pictures"] //= part.passes
            rows.append({"system": part.label, "group": group, "name": name, **means})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_markdown(tables: Sequence[Table]) -> str:
    """GitHub's tables; quoted lines name their source."""
    parts = []
    for table in tables:
        lines = [f"### {table.title}", "", _piped(table.flat_head), "|" + " --- |" + " ---: |" * (len(table.head) - 1)]
        for line in table.lines:
            label = f"{line.label} [quoted: {line.quoted}]" if line.quoted else line.label
            lines.append(_piped((label, *line.cells)))
        parts.append("\n".join([*lines, *(["", table.note] if table.note else [])]))
    return "\n\n".join(parts) + "\n"


def _piped(cells: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"


_TEX = {
    **{"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{"},
    **{"}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"},
}


def as_latex(tables: Sequence[Table]) -> str:
    """A `tabular` for each table, with booktabs' rules; quoted lines are in italics and name their source."""
    parts = []
    for table in tables:
        rows = [_ampersands(table.flat_head), r"\midrule"]
        for line in table.lines:
            label = f"{line.label} (quoted: {line.quoted})" if line.quoted else line.label
            italic = [bool(line.quoted), *(table.is_quoted(line, n) for n in range(len(line.cells)))]
            rows.append(_ampersands((label, *line.cells), italic))
        columns = "l" + "r" * (len(table.head) - 1)
        body = "\n".join([r"\toprule", *rows, r"\bottomrule"])
        note = f"\n% {table.note}" if table.note else ""
        parts.append(f"% {table.title}{note}\n\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}")
    return "% needs \\usepackage{booktabs}\n" + "\n\n".join(parts) + "\n"


def _ampersands(cells: Sequence[str], italic: Sequence[bool] = ()) -> str:
    texts = ["".join(_TEX.get(sign, sign) for sign in text) for text in cells]
    slanted = italic or [False] * len(texts)
    texts = [rf"\textit{{{text}}}" if wanted and text else text for text, wanted in zip(texts, slanted, strict=True)]
    return " & ".join(texts) + r" \\"
