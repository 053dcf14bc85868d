"""Tables of docs/serving.md from the committed runs of :mod:`harmonyrt.benchmarks.serving`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HEADS = (
    *("megapixels", "plain call, ms", "request, ms", "times", "plain loop, per s", "server, per s", "times"),
    *("accepted at 3x: p99, ms", "times unloaded", "refused: p99, ms", "recovery, s", "server, MB"),
)


def sizing(folder: Path) -> str:
    """What a server was measured to do, as Markdown; that there is nothing, where nothing is committed."""
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("serving*.json"))]
    lines: list[str] = []
    for report in reports:
        for key, table in (("sizes", _sizes), ("soak", _soak), ("mutations", _mutations)):
            if key in report:
                lines += [*table(report[key]), "", _about(report), "", f"`{report['command']}`", ""]
    return "\n".join(lines) if lines else "Nothing is committed yet."


def _about(report: dict[str, Any]) -> str:
    cpu = report["machine"]["cpu"]
    return f"{report['bundle']}; {cpu['model']}, {cpu['cores_granted']:g} cores granted; {report['made'][:10]}."


def _sizes(sizes: list[dict[str, Any]]) -> list[str]:
    lines = ["| " + " | ".join(HEADS) + " |", "|" + "---|" * len(HEADS)]
    for row in sizes:
        crowd = row["open"]
        cells = (
            f"{row['megapixels']:.1f}",
            f"{row['plain_ms']['p50']:.0f}",
            f"{row['unloaded_ms']['p50']:.0f}",
            f"{row['unloaded_ratio']:.2f}",
            f"{row['plain_per_second']:.2f}",
            f"{row['served_per_second']:.2f}",
            f"{row['throughput_ratio']:.2f}",
            f"{crowd['accepted_ms']['p99']:.0f}",
            f"{crowd['accepted_p99_over_unloaded']:.1f}",
            f"{crowd['refused_ms']['p99']:.0f}" if crowd["refused_ms"]["count"] else "none",
            f"{crowd['recovery_seconds']:.1f}",
            f"{row['server_mb']:.0f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _soak(soak: dict[str, Any]) -> list[str]:
    counts = ", ".join(f"{count} {what}" for what, count in soak["counts"].items())
    growth = "not measured" if soak["memory_growth"] is None else f"{soak['memory_growth']:.1%}"
    return [
        f"**Soak.** {soak['requests']} requests in {soak['minutes']:.0f} minutes: {counts}. Sessions that failed and"
        f" were replaced: {soak['session_failures']:.0f}. Memory grew by {growth} after the first thousand."
    ]


def _mutations(found: dict[str, Any]) -> list[str]:
    statuses = ", ".join(f"{count} got {status}" for status, count in found["statuses"].items())
    return [f"**Damaged forms.** Of {found['forms']}, {statuses}; unexpected: {len(found['unexpected'])}."]
