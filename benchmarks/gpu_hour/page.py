"""One HTML page of a run: no scripts, no other files; it can be mailed."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from harmonyrt.benchmarks.gpu_hour.parts import PARTS
from harmonyrt.benchmarks.gpu_hour.records import DRY, STATES
from harmonyrt.common.files import written_whole

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; }
p { margin: .3rem 0; } small, .quiet { opacity: .75; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.state { display: inline-block; padding: 0 .5rem; border-radius: .6rem; font-size: .85rem; color: #fff;
  background: #666; white-space: nowrap; }
.passed { background: #1a7f37; } .failed { background: #b3261e; } .short { background: #8a5a00; }
.banner { border: 2px solid #b3261e; background: #b3261e22; padding: .6rem 1rem; margin: 1rem 0; font-weight: 600; }
.rows th:first-child { width: 30%; } .rows th:nth-child(2) { width: 9rem; }
details { margin: .2rem 0; } summary { cursor: pointer; } .wide { overflow-x: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .8rem; margin: .2rem 0; }
dt { opacity: .75; } dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
"""
_DRY = "Dry run: nothing here was measured on a GPU. Stand-ins did the work, and “dry” stands where a number would be."
_FEW = 6
"""So many values of a row stand open; more are folded."""


def write(path: Path, summary: dict[str, Any], parts: list[dict[str, Any]]) -> None:
    """Write the page, whole or not at all.

    Args:
        path: of the page.
        summary: as the driver writes it.
        parts: records of the parts that were done.
    """
    body = [f"<h1>First hour{' (dry run)' if summary['dry'] else ''}</h1>", *_machine(summary)]
    if summary["dry"]:
        body.append(f'<p class="banner" role="note">{_DRY}</p>')
    body += [*_overview(summary), *(line for part in parts for line in _part(part)), *_states()]
    title = "HarmonyRT first hour" + (", dry run" if summary["dry"] else "")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    text = f'<!doctype html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head><body>\n'
    with written_whole(path) as scratch:
        scratch.write_text(text + "\n".join(body) + "\n</body></html>\n", encoding="utf-8")


def _text(value: Any) -> str:
    return html.escape(str(value))


def _machine(summary: dict[str, Any]) -> list[str]:
    machine = summary["machine"]
    gpu = machine["card"]
    named = f"{gpu['name']}, driver {gpu['driver_version']}, {gpu['memory.total']}" if gpu else "no NVIDIA GPU"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    facts = (named, machine["cpu"], f"Python {machine['python']}", summary["made"])
    return [
        f"<p>{' · '.join(map(_text, facts))}</p>",
        f'<p class="quiet">{_text(versions)}</p>',
    ]


def _overview(summary: dict[str, Any]) -> list[str]:
    lines = ["<table><thead><tr><th>part</th><th></th><th>state</th><th>seconds</th><th>why</th></tr></thead><tbody>"]
    for part, one in zip(PARTS, summary["parts"], strict=True):
        seconds = one.get("seconds", "")
        lines.append(
            f'<tr><td class="number">{part.number}</td><td><a href="#{part.name}">{_text(part.title)}</a><br>'
            f"<small>{_text(part.shows)}</small></td><td>{_state(one['state'], summary['dry'])}</td>"
            f'<td class="number">{_text(seconds)}</td><td>{_text(one.get("sentence", ""))}</td></tr>'
        )
    return [*lines, "</tbody></table>"]


def _state(state: str, dry: bool = False) -> str:
    """A pill; what a dry run passed has proved nothing about a GPU, and is not green."""
    walked = dry and state in STATES
    return f'<span class="state {"walked" if walked else state.split()[0]}">{_text(state)}{", dry" * walked}</span>'


def _part(part: dict[str, Any]) -> list[str]:
    lines = [
        f'<h2 id="{part["name"]}">{part["part"]}. {_text(part["title"])} {_state(part["state"], part["dry"])}</h2>',
        f'<p class="quiet">{_text(part["shows"])}. Begun {_text(part["began"])}, at most {part["most_seconds"]} s.</p>',
        '<div class="wide"><table class="rows"><thead>',
        "<tr><th>what</th><th>state</th><th>found</th></tr></thead><tbody>",
    ]
    for row in part["rows"]:
        sentence = f"<p>{_text(row['sentence'])}</p>" if row["sentence"] else ""
        lines.append(
            f"<tr><td>{_text(row['what'])}</td><td>{_state(row['state'], row['dry'])}</td>"
            f"<td>{sentence}{_values(row['measured'])}</td></tr>"
        )
    return [*lines, "</tbody></table></div>"]


def _values(measured: dict[str, Any]) -> str:
    """Names and values; nested ones and long lists are folded."""
    flat = list(_flat("", measured))
    if not flat:
        return ""
    listed = "".join(f"<dt>{_text(name)}</dt><dd>{_text(_short(value))}</dd>" for name, value in flat)
    if len(flat) <= _FEW:
        return f"<dl>{listed}</dl>"
    return f"<details><summary>{len(flat)} values</summary><dl>{listed}</dl></details>"


def _flat(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _flat(f"{name}.{key}" if name else str(key), one)
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        for number, one in enumerate(value):
            yield from _flat(f"{name}[{number}]", one)
    else:
        yield name, value


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_short, value)) or "none"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.1f}"
    return DRY if value == DRY else str(value)


def _states() -> list[str]:
    listed = "".join(f"<dt>{_state(state)}</dt><dd>{_text(meaning)}</dd>" for state, meaning in STATES.items())
    return ["<h2>States</h2>", f"<dl>{listed}</dl>"]
