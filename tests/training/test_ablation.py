"""Setups that differ in their network alone, trained alike, in one table."""

from __future__ import annotations

import dataclasses
import json

import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.models import load_phnet
from harmonyrt.training import ablation
from harmonyrt.training.train import train

PAPERS = {"D6 + PFE": (5,), "D5-6 + PFE": (4, 5), "D4-6 + PFE": (3, 4, 5), "D3-6 + PFE": (2, 3, 4, 5)}


def test_the_papers_ablation_is_table_1_and_the_released_and_residual_networks(tmp_path):
    asked = ablation.read_ablation("paper-ablation")
    for row, grids in PAPERS.items():
        config = asked.setups[row]
        assert (config.variant, config.grid_count, config.extractor, config.output) == ("paper", grids, True, "sigmoid")
    without = asked.setups["D4-6 without PFE"]
    assert dataclasses.replace(without, extractor=True) == asked.setups["D4-6 + PFE"]
    assert not without.extractor
    assert asked.setups["released"].variant == asked.setups["residual"].variant == "released"
    assert dataclasses.replace(asked.setups["residual"], output="sigmoid") == asked.setups["released"]
    assert len(asked.setups) == 7
    runs = ablation.configs(asked, tmp_path, tmp_path / "out").values()
    assert len({run.out for run in runs}) == 7

    def without_its_own(run):
        stages = tuple(dataclasses.replace(stage, extractor=True) for stage in run.stages)
        return dataclasses.replace(run, network=asked.setups["released"], out=tmp_path, stages=stages)

    first, *others = map(without_its_own, runs)
    assert others == [first] * 6


def test_an_unknown_ablation_is_named_with_the_known_ones():
    with pytest.raises(HarmonyError, match="paper-ablation"):
        ablation.read_ablation("shipped")


def test_it_trains_scores_and_draws(small_data, tmp_path, monkeypatch, capsys):
    asked = ablation.read_ablation("paper-ablation")
    rows = ("D4-6 without PFE", "D6 + PFE", "residual")
    narrow = {row: dataclasses.replace(asked.setups[row], enc_sizes=(3, 4, 4, 8, 8, 8, 8)) for row in rows}
    asked = dataclasses.replace(asked, setups=narrow)
    stage = ablation.presets.stage_of({"size": 32, "batch": 2})
    changes = {"stages": (stage,), "steps": 2, "workers": 0, "threads": 1, "validate_steps": 1}
    out = tmp_path / "out"
    table, last = ablation.run_ablation(asked, ablation.configs(asked, small_data, out, **changes), out, train)
    assert last.finished
    assert json.loads((out / "table.json").read_text()) == json.loads(json.dumps(table))
    assert [row["setup"] for row in table["rows"]] == list(rows)
    assert table["budget"]["steps"] == 2
    assert (table["size"], table["rows"][0]["psnr"] > 0) == (32, True)
    assert [line.split("|")[1].strip() for line in (out / "table.md").read_text().splitlines()[2:]] == [
        "composite, unchanged",
        *rows,
    ]
    curves = (out / "curves.svg").read_text()
    assert curves.startswith("<?xml")
    folders = [out / folder for folder in table["setups"].values()]
    assert [load_phnet(folder / "weights.safetensors").config for folder in folders] == list(narrow.values())
    before = (out / "table.md").read_text()
    assert ablation.main([str(out), "--data", str(small_data)]) == 0  # at the size of the training
    assert capsys.readouterr().out == before
    assert ablation.main([str(tmp_path), "--data", str(small_data)]) == 2
