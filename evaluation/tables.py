"""The papers' tables, from rows: by subset, by foreground ratio, by resolution, by seed; with quoted rows if wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from harmonyrt.evaluation import quoted
from harmonyrt.evaluation.metrics import Score, average, bin_name
from harmonyrt.evaluation.systems import System, is_ffhqh, is_iharmony4, parts_of, subsets_of

TITLES = {
    **{"psnr": "PSNR", "mse": "MSE", "fmse": "fMSE", "fpsnr": "fPSNR", "bmse": "bMSE", "ssim": "SSIM"},
    **{"psnr_255": "PSNR, peak 255", "psnr_max": "PSNR, peak max(real)", "psnr_range": "PSNR, peak max-min"},
    **{"fmse_eq16": "fMSE soft, eq. 16", "fmse_eq17": "fMSE soft, eq. 17"},
}
"""What tables call a :class:`harmonyrt.evaluation.metrics.Score`'s measures."""
DIGITS = {"ssim": 4}
BINS = ("0-5%", "5-15%", "15-100%")


@dataclass(frozen=True)
class Line:
    """A row of a table; `quoted` says whose paper it is from, "" where we measured it."""

    label: str
    cells: tuple[str, ...]
    quoted: str = ""


@dataclass(frozen=True)
class Table:
    """A table of text: a heading above the labels and one above each cell; `groups` stand above those headings.

    The last `quoted_columns` hold a paper's figures.
    """

    title: str
    head: tuple[str, ...]
    lines: tuple[Line, ...]
    note: str = ""
    groups: tuple[str, ...] = ()
    quoted_columns: int = 0

    @property
    def has_quoted(self) -> bool:
        """Whether anything in it was not measured here."""
        return self.quoted_columns > 0 or any(line.quoted for line in self.lines)

    def is_quoted(self, line: Line, column: int) -> bool:
        """Whether a cell of a line was not measured here."""
        return bool(line.quoted) or column >= len(line.cells) - self.quoted_columns

    @property
    def flat_head(self) -> tuple[str, ...]:
        """Headings with their groups, for formats of one heading line."""
        groups = self.groups or ("",) * len(self.head)
        return tuple(f"{group} {text}".strip() for group, text in zip(groups, self.head, strict=True))


def cell(key: str, value: float | None) -> str:
    """A figure of a measure as tables show it."""
    return "-" if value is None else f"{value:.{DIGITS.get(key, 2)}f}"


def _cells(keys: Sequence[str], means: dict[str, float]) -> tuple[str, ...]:
    return tuple(cell(key, means.get(key)) for key in keys)


def overview(systems: Sequence[System]) -> Table:
    """Every measure of every system over all pictures."""
    keys = ["psnr", "mse", "fpsnr", "fmse", "bmse"]
    if all(row.after.ssim is not None for one in systems for row in one.rows):
        keys.append("ssim")
    parts = parts_of(systems)
    lines = tuple(Line(p.label, (p.count(p.scores), *_cells(keys, average(p.scores)))) for p in parts)
    peak = systems[0].measured.run.peak_name
    note = f"PSNR and fPSNR with the peak {_PEAKS[peak]}; MSE on the 0-255 scale; means of per-picture values."
    return Table("All pictures", ("", "pictures", *(TITLES[key] for key in keys)), lines, note)


_PEAKS = {"255": "255", "phnet": "max(real)", "range": "max-min of the judged picture"}


def conventions(systems: Sequence[System]) -> Table:
    """What the same pictures score by every convention in use."""
    keys = ("psnr_255", "psnr_max", "psnr_range", "fmse", "fmse_eq16", "fmse_eq17")
    lines = tuple(Line(part.label, _cells(keys, average(part.scores))) for part in parts_of(systems))
    note = "PHNet's appendix A, remarks 2 and 3: figures of one column cannot be compared with those of another."
    head = ("", *(TITLES[key] if key != "fmse" else "fMSE, binary mask" for key in keys))
    return Table("The same pictures by each convention", head, lines, note)


def by_subset(systems: Sequence[System], with_quoted: bool) -> Table:
    """PHNet's table 4, with fMSE: all pictures, then each subset."""
    keys, subsets = ("psnr", "mse", "fmse"), subsets_of(systems)
    parts = ("All", *subsets)
    head = ("", *(TITLES[key] for _ in parts for key in keys))
    lines = []
    for part in parts_of(systems):
        groups = [part.of(subset) for subset in (None, *subsets)]
        lines.append(Line(part.label, tuple(text for group in groups for text in _cells(keys, average(group)))))
    if with_quoted and is_iharmony4(systems):
        for name, values in quoted.IHARMONY4.items():
            cells = (cell(key, v) for pair in values for key, v in zip(keys, (*pair, None), strict=True))
            lines.append(Line(name, tuple(cells), "PHNet, table 4"))
    return Table("By subset", head, tuple(lines), groups=("", *(name for name in parts for _ in keys)))


def by_subset_transposed(systems: Sequence[System], with_quoted: bool) -> Table:
    """DiffHarmony's table 1: a line for each subset and measure, a column for each method."""
    columns = parts_of(systems)
    methods = list(quoted.DIFFHARMONY_METHODS) if with_quoted and is_iharmony4(systems) else []
    lines = []
    for subset in (*subsets_of(systems), "Average"):
        for key in ("psnr", "mse", "fmse"):
            wanted = None if subset == "Average" else subset
            cells = (cell(key, average(part.of(wanted)).get(key)) for part in columns)
            printed = quoted.DIFFHARMONY_SUBSETS[subset][key] if methods else ()
            lines.append(Line(f"{subset} {TITLES[key]}", (*cells, *(cell(key, v) for v in printed))))
    head = ("", *(part.label for part in columns), *(f"{name} [quoted]" for name in methods))
    note = "Columns marked as quoted: DiffHarmony, table 1." if methods else ""
    return Table("By subset, methods as columns", head, tuple(lines), note, quoted_columns=len(methods))


def by_bin(systems: Sequence[System], with_quoted: bool, open_end: bool) -> Table:
    """PHNet's table 5 and DiffHarmony's table 4: measures in the bins of the foreground ratio.

    Args:
        systems: what was measured.
        with_quoted: add the papers' lines.
        open_end: DiffHarmony's bins: a mask of the whole picture is in none.
    """
    keys = ("psnr", "mse", "fmse")
    lines = []
    for part in parts_of(systems):
        bins: dict[str, list[Score]] = {name: [] for name in BINS}
        for one in part.scores:
            if not (open_end and one.ratio >= 1):
                bins[bin_name(one.ratio)].append(one)
        cells = (t for group in bins.values() for t in (part.count(group), *_cells(keys, average(group))))
        lines.append(Line(part.label, tuple(cells)))
    if with_quoted and is_iharmony4(systems):
        for table, source in (
            (quoted.IHARMONY4_BINS, "PHNet, table 5"),
            (quoted.DIFFHARMONY_BINS, "DiffHarmony, table 4"),
        ):
            for name, values in table.items():
                full = (
                    ("", *(cell(k, v) for k, v in zip(keys, (None,) * (3 - len(b)) + b, strict=True))) for b in values
                )
                lines.append(Line(name, tuple(text for part in full for text in part), source))
    titles = ("pictures", *(TITLES[key] for key in keys))
    groups = ("", *(name for name in BINS for _ in titles))
    return Table("By foreground ratio", ("", *titles * len(BINS)), tuple(lines), groups=groups)


def ffhqh(systems: Sequence[System], with_quoted: bool) -> Table:
    """PHNet's table 3."""
    keys = ("psnr", "mse", "fpsnr", "fmse")
    lines = [Line(part.label, _cells(keys, average(part.scores))) for part in parts_of(systems)]
    if with_quoted and is_ffhqh(systems):
        lines += [Line(name, tuple(map(cell, keys, v)), "PHNet, table 3") for name, v in quoted.FFHQH.items()]
    return Table("Portraits (FFHQH's columns)", ("", *(TITLES[key] for key in keys)), tuple(lines))


def by_resolution(systems: Sequence[System], with_quoted: bool) -> Table:
    """PHNet's table 2 and DiffHarmony's: a line for each size of the network, with and without its refiner."""
    keys = ("psnr", "mse", "fmse")
    lines = []
    for one in systems:
        about = one.measured.about
        size = "the picture's" if about.inference is None else "x".join(map(str, about.inference))
        words = {None: "-", True: "yes", False: "no"}[about.refined]
        lines.append(Line(one.label, (size, words, *_cells(keys, average(r.after for r in one.rows)))))
    models = {one.measured.about.model for one in systems}
    if with_quoted and is_iharmony4(systems) and "diffharmony" in models:
        for side, refined, values in quoted.DIFFHARMONY_ABLATION:
            cells = (f"{side}x{side}", "yes" if refined else "no", *map(cell, keys, values))
            lines.append(Line(quoted.DIFFHARMONY, cells, "DiffHarmony, table 2"))
    if with_quoted and (is_iharmony4(systems) or is_ffhqh(systems)) and "phnet" in models:
        data = "iHarmony4" if is_iharmony4(systems) else "FFHQH"
        for side, by_data in quoted.PHNET_RESOLUTIONS.items():
            cells = (f"{side}x{side}", "-", *map(cell, keys, (*by_data[data], None)))
            lines.append(Line(quoted.PHNET, cells, "PHNet, table 2"))
    head = ("", "network's size", "refined", *(TITLES[key] for key in keys))
    return Table("By resolution and refiner", head, tuple(lines))


def by_setup(systems: Sequence[System], with_quoted: bool) -> Table:
    """PHNet's table 1: PN blocks in which stages of the decoder, with and without PFE."""
    lines = [
        Line(one.label, (one.measured.about.setup, *_cells(("psnr", "mse"), average(r.after for r in one.rows))))
        for one in systems
    ]
    if with_quoted and is_iharmony4(systems):
        for setup, values in quoted.PHNET_SETUPS.items():
            lines.append(Line(quoted.PHNET, (setup, *map(cell, ("psnr", "mse"), values)), "PHNet, table 1"))
    return Table("By setup", ("", "setup", TITLES["psnr"], TITLES["mse"]), tuple(lines))


def randomness(systems: Sequence[System], with_quoted: bool) -> Table:
    """DiffHarmony's table 3: mean and sample standard deviation of the averages of each seed."""
    keys = ("psnr", "mse", "fmse")
    lines = []
    for one in systems:
        seeds = one.measured.run.passes
        means = [average(row.after for row in one.rows if row.seed == seed) for seed in seeds]
        cells = (spread(key, [mean[key] for mean in means]) for key in keys)
        lines.append(Line(one.label, (" ".join(map(str, seeds)), *cells)))
    if with_quoted and is_iharmony4(systems):
        cells = (f"{mean:.2f} ± {deviation:.2f}" for mean, deviation in quoted.DIFFHARMONY_RANDOMNESS)
        lines.append(Line(quoted.DIFFHARMONY, ("not printed", *cells), "DiffHarmony, table 3"))
    note = "Mean ± sample standard deviation of each seed's average over all pictures."
    return Table("Over seeds", ("", "seeds", *(TITLES[key] for key in keys)), tuple(lines), note)


def spread(key: str, values: Sequence[float]) -> str:
    """Mean ± sample standard deviation; of one value only itself."""
    if len(values) == 1:
        return cell(key, values[0])
    return f"{cell(key, float(np.mean(values)))} ± {cell(key, float(np.std(values, ddof=1)))}"


def side_by_side(systems: Sequence[System]) -> Table:
    """Every system against the first, picture by picture: fp32 against fp16, bf16 and int8, for example.

    Only those that were compared at the first one's size: a figure of 256 px says nothing about one of 512.
    """
    first = systems[0]
    lines = []
    for one in (other for other in systems if other.measured.about.size == first.measured.about.size):
        gains = [a.after.psnr - b.after.psnr for a, b in zip(one.rows, first.rows, strict=False)]
        changes = [a.after.fmse - b.after.fmse for a, b in zip(one.rows, first.rows, strict=False)]
        about = one.measured.about
        figures = (
            ("-", "-", "-")
            if one is first
            else (
                f"{float(np.mean(gains)):+.3f}",
                f"{min(gains):+.3f}",
                f"{float(np.mean(changes)):+.3f}",
            )
        )
        lines.append(Line(one.label, (about.precision or "-", about.backend or "-", *figures)))
    head = ("", "precision", "backend", "PSNR, mean difference", "PSNR, worst picture", "fMSE, mean difference")
    return Table(
        "Engines side by side", head, tuple(lines), f"Differences from {first.label}, in dB and levels squared."
    )


def speed(rows: Iterable[tuple[str, float]], with_quoted: bool = True) -> Table:
    """Frames per second, from runs of `harmonyrt bench`: (what, FPS), with what PHNet's section 5.2 states."""
    lines = [Line(what, (f"{fps:.2f}",)) for what, fps in rows]
    if with_quoted:
        printed = ((f"PHNet, 39.9 M parameters, {where}", fps) for where, fps in quoted.PHNET_FPS)
        lines += [Line(what, (f"{fps:.2f}",), "PHNet, section 5.2") for what, fps in printed]
    note = "Quoted speeds are of other machines: no ratio can be made of them."
    return Table("Speed", ("", "FPS"), tuple(lines), note if with_quoted else "")


def all_tables(systems: Sequence[System], with_quoted: bool, speeds: Sequence[tuple[str, float]] = ()) -> list[Table]:
    """Every table that these runs can fill, in the papers' order.

    Args:
        systems: what was measured, on the same pictures under the same protocol.
        with_quoted: add the papers' lines where the data calls itself what the papers measured.
        speeds: what and FPS of `harmonyrt bench`.
    """
    diffusion = any(one.measured.about.model == "diffharmony" for one in systems)
    tables = [overview(systems)]
    if len(subsets_of(systems)) > 1:
        tables.append(by_subset_transposed(systems, with_quoted) if diffusion else by_subset(systems, with_quoted))
    tables.append(by_bin(systems, with_quoted, systems[0].measured.run.protocol.startswith("diffharmony")))
    if is_ffhqh(systems):
        tables.append(ffhqh(systems, with_quoted))
    if len({one.measured.about.setup for one in systems}) > 1:
        tables.append(by_setup(systems, with_quoted))
    if diffusion or len({one.measured.about.inference for one in systems}) > 1:
        tables.append(by_resolution(systems, with_quoted))
    compared = side_by_side(systems)
    if len(compared.lines) > 1:
        tables.append(compared)
    if any(one.measured.run.seeds for one in systems):
        tables.append(randomness(systems, with_quoted))
    tables.append(conventions(systems))
    if speeds:
        tables.append(speed(speeds, with_quoted))
    return tables
