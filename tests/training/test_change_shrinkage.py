"""Weights with another change_shrinkage: the same tensors, a network that changes less where it changes little."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from harmonyrt.models import PHNet, PHNetConfig, load_phnet
from harmonyrt.models.meaning import without_carrier
from harmonyrt.training.change_shrinkage import main
from harmonyrt.training.shipping import ship

SMALL = PHNetConfig(enc_sizes=(3, 8, 8, 16, 16, 32, 32), grid_count=(2, 2, 1), output="residual", patch_shrinkage=0.01)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    return ship(PHNet(SMALL).state_dict(), SMALL, tmp_path / "weights.safetensors")


def test_the_share_changes_and_nothing_else(weights, tmp_path):
    out = tmp_path / "out.safetensors"
    assert main([str(weights), "--share", "0.2", "-o", str(out)]) == 0
    before, after = load_phnet(weights), load_phnet(out)
    assert after.config == replace(SMALL, change_shrinkage=0.2)
    weights_before, weights_after = (without_carrier(network.state_dict()) for network in (before, after))
    assert weights_before.keys() == weights_after.keys()
    for name, value in weights_before.items():
        assert torch.equal(value, weights_after[name]), name
    assert main([str(out), "--share", "0", "-o", str(out)]) == 0
    assert load_phnet(out).config == SMALL


@pytest.mark.parametrize("share", ["-0.1", "1.5", "nan"])
def test_what_is_no_share_is_one_sentence(weights, tmp_path, capsys, share):
    assert main([str(weights), "--share", share, "-o", str(tmp_path / "out.safetensors")]) == 2
    assert "share from 0 to 1" in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


def test_weights_that_predict_a_picture_are_refused(tmp_path, capsys):
    sigmoid = replace(SMALL, output="sigmoid")
    path = ship(PHNet(sigmoid).state_dict(), sigmoid, tmp_path / "sigmoid.safetensors")
    assert main([str(path), "--share", "0.2", "-o", str(tmp_path / "out.safetensors")]) == 2
    assert "output residual" in capsys.readouterr().err
