"""The pace of training steps: what is measured is written whole. (Compiling is tested in test_train.)"""

from __future__ import annotations

import json
from functools import partial

import pytest

from harmonyrt.models import PHNetConfig
from harmonyrt.training import pace
from harmonyrt.training.parallel import Replicas

SMALL = PHNetConfig(enc_sizes=(3, 8, 8, 16, 16, 32, 32), grid_count=(2, 2, 1), output="residual")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(pace, "CompiledProcesses", Replicas)
    monkeypatch.setattr(pace, "measure", partial(pace.measure, config=SMALL))


def test_the_ratio_is_of_pairs_and_lies_in_its_range(quick, tmp_path, capsys):
    path = tmp_path / "pace.json"
    arguments = ["--size", "32", "--batch", "2", "--rounds", "3", "--threads", "1", "--json", str(path)]
    assert pace.main(arguments) == 0
    result = json.loads(path.read_text())
    assert result == json.loads(capsys.readouterr().out)
    assert result["low"] <= result["ratio"] <= result["high"]
    assert result["plain"] > 0
    assert (result["size"], result["batch"], result["rounds"], result["threads"]) == (32, 2, 3, 1)


def test_a_folder_that_is_not_there_is_said(quick, tmp_path, capsys):
    arguments = ["--size", "32", "--batch", "1", "--rounds", "1", "--threads", "1"]
    assert pace.main([*arguments, "--json", str(tmp_path / "none" / "pace.json")]) == 2
    assert "none" in capsys.readouterr().err
