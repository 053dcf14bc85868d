"""The papers' tables from rows made by hand, and what is written of them."""

from __future__ import annotations

import csv
import io
import json

import pytest

from harmonyrt.evaluation import quoted, tables
from harmonyrt.evaluation.measure import Measured
from harmonyrt.evaluation.metrics import Score
from harmonyrt.evaluation.report_files import as_csv, as_json, as_latex, as_markdown
from harmonyrt.evaluation.report_page import page
from harmonyrt.evaluation.report_pictures import Gallery, Series, Shown, histogram, ticks
from harmonyrt.evaluation.runs import About, Row, Run, setup_of
from harmonyrt.evaluation.systems import System, named


def score(ratio: float, mse: float, psnr: float, fmse: float = 9.0) -> Score:
    return Score(ratio, mse, fmse, psnr, 20.0, 0.0, fmse, fmse, psnr, psnr, psnr)


def system(
    label="a", subsets=("one",), psnr=30.0, seeds=(), model="phnet", inference=(256, 256), refined=None, setup=""
):
    """Four pictures for each subset: two small foregrounds, a middle one and a full one."""
    before = [score(ratio, 100.0, 25.0) for ratio in (0.01, 0.02, 0.10, 1.0)]
    rows = [
        Row(f"p{n}", subset, seed, before[n], score(before[n].ratio, 10.0 + n, psnr + n + (seed or 0)))
        for seed in seeds or (None,)
        for subset in subsets
        for n in range(4)
    ]
    run = Run(label, seeds=tuple(seeds), protocol="diffharmony" if model == "diffharmony" else "harmonyrt")
    about = About(model, "fp32", "onnxruntime", inference, 256, refined, setup)
    return System(label, Measured(run, about, tuple(rows)))


def line(table: tables.Table, label: str) -> tuple[str, ...]:
    (found,) = [line.cells for line in table.lines if line.label == label]
    return found


def test_subsets_come_in_the_papers_order_after_all_pictures():
    table = tables.by_subset([system(subsets=("HFlickr", "HCOCO", "other"))], with_quoted=True)
    assert list(dict.fromkeys(table.groups)) == ["", "All", "HCOCO", "HFlickr", "other"]
    assert line(table, "a")[:3] == ("31.50", "11.50", "9.00")
    assert line(table, "composite")[:2] == ("25.00", "100.00")
    assert not any(one.quoted for one in table.lines)


def test_quoted_lines_are_marked_and_only_with_the_papers_data():
    whole = system(subsets=quoted.SUBSETS)
    for make in (tables.by_subset, lambda s, q: tables.by_bin(s, q, False), tables.by_resolution):
        with_lines = [one for one in make([whole], True).lines if one.quoted]
        assert with_lines, make
        assert all("table" in one.quoted for one in with_lines)
        assert not any(one.quoted for one in make([whole], False).lines)
        assert not any(one.quoted for one in make([system(subsets=("HCOCO",))], True).lines)
    table = tables.by_subset([whole], True)
    assert line(table, quoted.PHNET)[:6] == ("38.54", "16.05", "-", "38.70", "14.22", "-")
    assert line(tables.ffhqh([system(subsets=("FFHQH",))], True), quoted.PHNET) == ("35.84", "18.24", "24.44", "34.52")


def test_every_quoted_line_fills_its_columns():
    whole = system(subsets=quoted.SUBSETS, model="diffharmony", seeds=(0, 1), refined=True)
    portraits = system(subsets=("FFHQH",))
    made = tables.all_tables([whole], True, [("x", 2.0)]) + tables.all_tables([portraits], True)
    made.append(tables.by_subset([whole], True))
    for table in made:
        assert all(len(one.cells) == len(table.head) - 1 for one in table.lines), table.title
        assert len(table.flat_head) == len(table.head)


def test_diffharmonys_table_has_methods_as_columns():
    table = tables.by_subset_transposed([system(subsets=quoted.SUBSETS)], True)
    assert table.head[:3] == ("", "composite", "a")
    assert line(table, "HCOCO PSNR")[2] == "33.94"  # the composite that the paper measured
    assert line(table, "Average fMSE")[-1] == "151.42"
    assert len(table.lines) == 15
    assert [table.is_quoted(table.lines[0], n) for n in (1, 2)] == [False, True]
    assert page("x", [system()], [table], [], "").count('<td class="quoted">') == 13 * 15
    assert as_latex([table]).count(r"\textit{") == 13 * 15


def test_bins_are_those_of_each_paper():
    closed, open_end = (tables.by_bin([system()], False, one) for one in (False, True))
    assert [line(closed, "a")[4 * n] for n in range(3)] == ["2", "1", "1"]
    assert [line(open_end, "a")[4 * n] for n in range(3)] == ["2", "1", "0"]
    assert line(open_end, "a")[-1] == "-"


def test_seeds_give_mean_and_sample_deviation():
    table = tables.randomness([system(seeds=(0, 1, 2))], False)
    assert line(table, "a") == ("0 1 2", "32.50 ± 1.00", "11.50 ± 0.00", "9.00 ± 0.00")
    overview = tables.overview([system(seeds=(0, 1, 2))])
    assert line(overview, "a")[0] == "4"


def test_resolutions_and_refiner_stand_in_one_table():
    systems = [
        system(f"{side} {refined}", model="diffharmony", inference=(side, side), refined=refined)
        for side in (512, 1024)
        for refined in (False, True)
    ]
    table = tables.by_resolution(systems, False)
    assert [one.cells[:2] for one in table.lines] == [(f"{s}x{s}", r) for s in (512, 1024) for r in ("no", "yes")]


def test_speeds_stand_next_to_the_printed_ones_if_wanted():
    with_quoted, without = (tables.all_tables([system()], one, [("here", 2.0)])[-1] for one in (True, False))
    assert [one.cells[0] for one in with_quoted.lines] == ["2.00", "1.01", "34.49"]
    assert [one.label for one in without.lines] == ["here"]


def test_setups_are_named_as_the_paper_does():
    assert setup_of({"grid_count": [4, 3, 2, 1]}) == "D4,5,6 + PFE"
    assert setup_of({"grid_count": [10, 5, 1], "extractor": False}) == "D5,6"
    assert setup_of({"grid_count": [2, 3, 4, 5], "variant": "paper"}) == "D3,4,5,6 + PFE"
    assert setup_of({"loop": {}}) == ""
    systems = [system("a", quoted.SUBSETS, setup="D6"), system("b", quoted.SUBSETS, setup="D6 + PFE")]
    table = next(one for one in tables.all_tables(systems, True) if one.title == "By setup")
    assert line(table, "b")[0] == "D6 + PFE"
    assert [one.cells[0] for one in table.lines if one.quoted] == list(quoted.PHNET_SETUPS)


def test_engines_are_compared_picture_by_picture():
    table = tables.side_by_side([system("a"), system("b", psnr=29.5)])
    assert line(table, "b")[2:] == ("-0.500", "-0.500", "+0.000")


def test_runs_get_names_that_tell_them_apart():
    about = About("diffharmony", refined=True), About("diffharmony", refined=False)
    runs = [Measured(Run("x/b"), about[0], ()), Measured(Run("x/b"), about[1], ()), Measured(Run("y/b"), about[0], ())]
    names = [one.label for one in named(runs)]
    assert names[:2] == ["b refined", "b not refined"]
    assert len(set(names)) == 3


class TestFiles:
    @pytest.fixture
    def systems(self):
        return [system("a_b & <c> | d", subsets=quoted.SUBSETS), system("e", subsets=quoted.SUBSETS)]

    @pytest.fixture
    def made(self, systems):
        return tables.all_tables(systems, True)

    def test_json(self, systems, made):
        data = json.loads(as_json(systems, made))
        assert data["harmonized"]["psnr"] == pytest.approx(31.5)
        assert [one["label"] for one in data["systems"]] == ["a_b & <c> | d", "e"]
        assert data["systems"][0]["by_subset"]["HCOCO"]["pictures"] == 4

    def test_pictures_are_counted_once_whatever_the_seeds(self):
        seeded = [system(seeds=(0, 1))]
        data = json.loads(as_json(seeded, tables.all_tables(seeded, False)))
        found = data["systems"][0]
        assert found["harmonized"]["pictures"] == found["composite"]["pictures"] == 4
        assert found["by_subset"]["one"]["pictures"] == 4
        assert found["by_ratio"]["0-5%"]["pictures"] == 2
        assert found["by_seed"]["1"]["psnr"] == pytest.approx(found["by_seed"]["0"]["psnr"] + 1)
        assert {row["pictures"] for row in csv.DictReader(io.StringIO(as_csv(seeded))) if row["group"] == "all"} == {
            "4"
        }

    def test_csv(self, systems):
        rows = list(csv.DictReader(io.StringIO(as_csv(systems))))
        assert len(rows) == 3 * (1 + 4 + 3)
        (all_of_e,) = [row for row in rows if row["system"] == "e" and row["group"] == "all"]
        assert float(all_of_e["psnr"]) == pytest.approx(31.5)
        assert all_of_e["pictures"] == "16"

    def test_markdown(self, made):
        text = as_markdown(made)
        assert r"| a_b & <c> \| d | 16 |" in text
        assert "| DoveNet [quoted: PHNet, table 4] |" in text
        for block in text.split("### ")[1:]:
            widths = {one.replace(r"\|", "").count("|") for one in block.splitlines() if one.startswith("|")}
            assert len(widths) == 1

    def test_latex(self, made):
        text = as_latex(made)
        assert r"a\_b \& <c> | d & 16" in text
        assert r"\textit{DoveNet (quoted: PHNet, table 4)}" in text
        assert text.count(r"\begin{tabular}") == text.count(r"\bottomrule") == len(made)

    def test_page(self, systems, made):
        shown = Shown("one/<c>: 30 dB", (("composite", "data:image/jpeg;base64,AA=="),))
        text = page("<data>", systems, made, [Gallery("a_b & <c>", (("worst", (shown,)),))], "made & now")
        assert "<c>" not in text
        assert "&lt;data&gt;: " not in text
        assert "<h1>&lt;data&gt;</h1>" in text
        assert text.count('<tr class="quoted">') == sum(bool(one.quoted) for table in made for one in table.lines)
        assert 'src="data:image/jpeg;base64,AA=="' in text
        assert "<script" not in text
        assert "Compared at 256x256 pixels." in text
        assert "histogram over 16 pictures" in text


def test_histograms_count_every_picture():
    svg = histogram("t", "dB", [Series("a", [1, 1, 2]), Series("b", [3, 3, 3], 1)], bins=2)
    assert svg.count('class="line') == 2
    assert "3 pictures" in svg
    assert histogram("t", "dB", [Series("a", [5, 5])]).startswith("<svg")  # one value has no range


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 47), (0.001, 0.002), (20, 20.5)])
def test_ticks_are_round_and_inside(low, high):
    found = ticks(low, high)
    assert 3 <= len(found) <= 8
    assert all(low <= tick <= high for tick in found)
