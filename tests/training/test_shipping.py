"""The file that ships, and the figures it is judged by."""

from __future__ import annotations

import dataclasses
import json
import warnings

import pytest
import torch
from safetensors import safe_open

from harmonyrt.models import IHARMONY4, PHNet, PHNetConfig, load_phnet
from harmonyrt.training import scoring
from harmonyrt.training.shipping import ship

SMALL = PHNetConfig(enc_sizes=(3, 8, 8, 16, 16, 32, 32), grid_count=(2, 2, 1), output="residual")


def test_weights_are_halved_but_statistics_are_not(tmp_path):
    network = PHNet(SMALL)
    network.decoder[0][1].running_var.fill_(3e5)  # beyond float16
    path = ship(network.state_dict(), SMALL, tmp_path / "w.safetensors", steps=12)
    opened = load_phnet(path)
    assert opened.config == SMALL
    assert (opened.decoder[0][1].running_var == 3e5).all()
    assert torch.equal(opened.encoder[0][0].weight, network.encoder[0][0].weight.half().float())
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"model": "phnet", "configuration": "custom", "output": "residual", "steps": "12"}


def test_the_shipped_configuration_stays_under_21_megabytes(tmp_path):
    config = dataclasses.replace(IHARMONY4, output="residual")
    path = ship(PHNet(config).state_dict(), config, tmp_path / "w.safetensors")
    assert path.stat().st_size < 21_000_000
    assert load_phnet(path).config == config


def test_shrinkages_travel_with_the_weights(tmp_path):
    config = dataclasses.replace(SMALL, patch_shrinkage=0.01, change_shrinkage=0.2)
    assert load_phnet(ship(PHNet(config).state_dict(), config, tmp_path / "w.safetensors")).config == config


@pytest.fixture
def identity():
    return PHNet(SMALL).eval()  # its last layer starts at zero


def test_a_network_that_changes_nothing_scores_as_the_composite(small_data, identity):
    report = scoring.evaluate_split(identity, small_data, "val", size=32)
    assert report["harmonized"] == report["composite"]
    assert report["fmse_ratio"] == 1
    assert report["worse"] == report["psnr_gain"] == 0
    assert report["unchanged"]["harmonized"]["fmse"] == 0
    assert sum(b["pictures"] for b in report["bins"].values()) == report["pictures"]


def test_a_network_that_spoils_pictures_is_found_out(small_data, identity):
    with torch.no_grad():
        identity.decoder[-1][0].bias.fill_(0.3)
    report = scoring.evaluate_split(identity, small_data, "val", size=32)
    assert report["unchanged"]["harmonized"]["psnr"] < 25
    assert report["psnr_gain"] < 0
    assert report["worse"] > 0.3


def test_the_fixed_composites_are_the_same_every_time(small_data):
    first, again = (scoring.fixed_composites(small_data, "test", 32) for _ in range(2))
    assert all(torch.equal(a.composite, b.composite) for a, b in zip(first, again, strict=True))


def test_seeds_draw_other_changes_and_are_scored_together(small_data, identity):
    first, second = (scoring.evaluate_split(identity, small_data, "val", 32, [seed]) for seed in (7, 8))
    both = scoring.evaluate_split(identity, small_data, "val", 32, [7, 8])
    assert first["composite"] != second["composite"]
    assert both["pictures"] == 2 * first["pictures"]
    mean = (first["composite"]["fmse"] + second["composite"]["fmse"]) / 2
    assert both["composite"]["fmse"] == pytest.approx(mean, abs=0.002)


def test_scoring_prints_json(small_data, tmp_path, capsys, identity):
    path = ship(identity.state_dict(), SMALL, tmp_path / "w.safetensors")
    assert scoring.main([str(path), "--data", str(small_data), "--size", "32"]) == 0
    assert json.loads(capsys.readouterr().out)["split"] == "test"
    assert scoring.main([str(path), "--data", str(small_data), "--size", "32", "--seeds", "8", "9"]) == 0
    assert json.loads(capsys.readouterr().out)["seeds"] == [8, 9]
    assert scoring.main([str(tmp_path / "absent.safetensors"), "--data", str(small_data)]) == 2
    assert scoring.main([str(path), "--data", str(small_data), "--size", "32", "--seeds", "8", "-1"]) == 2
    assert "from 0 on, not -1" in capsys.readouterr().err


def test_a_network_without_pfe_is_saved_and_opens_without_a_word(tmp_path):
    config = dataclasses.replace(SMALL, extractor=False)
    path = ship(PHNet(config).state_dict(), config, tmp_path / "w.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_phnet(path).config == config
    assert load_phnet(ship(PHNet(SMALL).state_dict(), config, path)).config == config  # of a stage that trains without
