"""A report as one HTML file that needs nothing else: tables, histograms, worst and best pictures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby

from harmonyrt.evaluation.report_pictures import Gallery, Series, Shown, gain, histogram
from harmonyrt.evaluation.runs import PROTOCOLS
from harmonyrt.evaluation.systems import COMPOSITE, System
from harmonyrt.evaluation.tables import Table

_STYLE = """
:root { color-scheme: light dark; --line: #d5d9de; --soft: #5a6470; --quoted: #f3f0e6; --back: #fff; --text: #1b1f24;
  --s0: #7a838d; --s1: #1764ab; --s2: #b3400e; --s3: #1d7a3e; --s4: #7d3fa8; --s5: #8a6d00; }
@media (prefers-color-scheme: dark) { :root { --line: #3a4149; --soft: #a3adb8; --quoted: #2b2820; --back: #14171a;
  --text: #e6e9ec; --s0: #9aa4ae; --s1: #6db3f2; --s2: #f0935f; --s3: #6fce8f; --s4: #c79bea; --s5: #dcc04a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 86rem; padding: 1rem; background: var(--back); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; } h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; overflow-wrap: anywhere; }
p { margin: .4rem 0; } .soft, caption, figcaption { color: var(--soft); font-size: .875rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
thead th { vertical-align: bottom; white-space: normal; min-width: 4.2rem; font-size: .875rem; }
thead tr + tr th { border-left: 0; } th.group { text-align: center; border-left: 1px solid var(--line); }
tbody th { text-align: left; font-weight: 500; position: sticky; left: 0; background: var(--back);
  min-width: min(12rem, 45vw); max-width: 45vw; white-space: normal; overflow-wrap: break-word; }
th .soft { display: block; }
tr.quoted th, td.quoted { background: var(--quoted); font-style: italic; }
.charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
figure { margin: 0; } svg { width: 100%; max-width: 34rem; height: auto; }
svg text { font-size: 11px; fill: var(--soft); }
.grid { stroke: var(--line); } .line { fill: none; stroke-width: 1.6; }
.key { display: inline-block; margin-right: 1rem; } .key svg { width: 1.6rem; height: .6rem; margin-right: .3rem; }
.s0 { stroke: var(--s0); stroke-dasharray: 4 2; } .s1 { stroke: var(--s1); } .s2 { stroke: var(--s2); }
.s3 { stroke: var(--s3); } .s4 { stroke: var(--s4); } .s5 { stroke: var(--s5); }
.shown { display: grid; gap: .4rem; grid-template-columns: repeat(5, minmax(0, 1fr)); margin-bottom: 1rem; }
.shown p { grid-column: 1 / -1; margin: .4rem 0 0; overflow-wrap: anywhere; } .shown img { width: 100%; height: auto; }
@media (max-width: 40rem) { .shown { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
"""
_COLOURS = 5


def page(
    title: str, systems: Sequence[System], tables: Sequence[Table], galleries: Sequence[Gallery], made: str
) -> str:
    """The file's text.

    Args:
        title: heading, for example the dataset's name.
        systems: what was measured.
        tables: of :func:`harmonyrt.evaluation.tables.all_tables`.
        galleries: pictures to show.
        made: by what and when, for the reader.
    """
    run = systems[0].measured.run
    count, sizes = len(systems[0].first_pass), dict.fromkeys(map(_compared, systems))
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{count} pictures; protocol <strong>{run.protocol}</strong>: {escape(PROTOCOLS[run.protocol])}."
        f" Compared at {' and '.join(sizes)}.</p>",
        f'<p class="soft">{escape(made)}</p>',
    ]
    if any(table.has_quoted for table in tables):
        body.append("<p>Figures in italics are <em>quoted</em> from the papers, not measured here.</p>")
    body += [_table(table) for table in tables]
    body += _charts(systems)
    body += [_gallery(one) for one in galleries]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _compared(system: System) -> str:
    """The size at which pictures are compared, in words."""
    size = system.measured.about.size
    if size is None:
        return "the files' own size"
    height, width = (size, size) if isinstance(size, int) else size
    return f"{width}x{height} pixels"


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in table.head)
    groups = _groups(table.groups)
    lines = []
    for line in table.lines:
        source = f' <span class="soft">quoted: {escape(line.quoted)}</span>' if line.quoted else ""
        kinds = (' class="quoted"' if table.is_quoted(line, n) else "" for n in range(len(line.cells)))
        cells = "".join(f"<td{kind}>{escape(text)}</td>" for kind, text in zip(kinds, line.cells, strict=True))
        kind = ' class="quoted"' if line.quoted else ""
        lines.append(f'<tr{kind}><th scope="row">{escape(line.label)}{source}</th>{cells}</tr>')
    note = f'<p class="soft">{escape(table.note)}</p>' if table.note else ""
    title = escape(table.title)
    return (
        f'<section><h2>{title}</h2><div class="scroll" tabindex="0" role="region" aria-label="{title}"><table>'
        f"<thead>{groups}<tr>{head}</tr></thead>\n<tbody>\n"
        + "\n".join(lines)
        + f"\n</tbody></table></div>{note}</section>"
    )


def _groups(groups: Sequence[str]) -> str:
    """A line of headings, each above the columns of its group."""
    cells = []
    for name, columns in groupby(groups):
        width = len(list(columns))
        cells.append(
            f'<th class="group" scope="colgroup" colspan="{width}">{escape(name)}</th>' if name else "<td></td>"
        )
    return f"<tr>{''.join(cells)}</tr>" if cells else ""


def _charts(systems: Sequence[System]) -> list[str]:
    given = Series(COMPOSITE, [row.before.psnr for row in systems[0].first_pass])

    def drawn(value) -> list[Series]:
        return [Series(s.label, [value(r) for r in s.first_pass], 1 + n % _COLOURS) for n, s in enumerate(systems)]

    done, gains = drawn(lambda row: row.after.psnr), drawn(gain)
    ratio = [Series("foreground", [100 * row.after.ratio for row in systems[0].first_pass], 1)]
    charts = [
        ("PSNR of each picture", "dB", [given, *done]),
        ("Gain over the composite", "dB", gains),
        ("Foreground ratio", "%", ratio),
    ]
    figures = [
        f"<figure><figcaption>{escape(title)}</figcaption>{histogram(title, unit, series)}{_legend(series)}</figure>"
        for title, unit, series in charts
    ]
    return ['<section><h2>Histograms</h2><div class="charts">', *figures, "</div></section>"]


def _legend(series: Sequence[Series]) -> str:
    if len(series) < 2:
        return ""
    line = '<svg viewBox="0 0 26 10" aria-hidden="true"><path class="line s{}" d="M0 5H26"/></svg>'
    keys = (f'<span class="key">{line.format(one.style)}{escape(one.name)}</span>' for one in series)
    return f'<p class="soft">{"".join(keys)}</p>'


def _gallery(one: Gallery) -> str:
    parts = [f"<section><h2>{escape(one.title)}</h2>"]
    for heading, shown in one.parts:
        parts += [f"<h3>{escape(heading)}</h3>", *map(_shown, shown)]
    return "\n".join([*parts, "</section>"])


def _shown(shown: Shown) -> str:
    name = escape(shown.about.partition(": ")[0], quote=True)
    figures = "".join(
        f'<figure><img src="{uri}" alt="{escape(what, quote=True)} of {name}">'
        f"<figcaption>{escape(what)}</figcaption></figure>"
        for what, uri in shown.images
    )
    return f'<div class="shown"><p>{escape(shown.about)}</p>{figures}</div>'
