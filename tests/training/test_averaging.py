"""The mean of weights is a network that opens, and whose tensors are the means."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from harmonyrt.models import PHNet, PHNetConfig, load_phnet
from harmonyrt.training.averaging import main
from harmonyrt.training.shipping import ship

SMALL = PHNetConfig(enc_sizes=(3, 8, 8, 16, 16, 32, 32), grid_count=(2, 2, 1), output="residual")


@pytest.fixture
def runs(tmp_path):
    """Files of two networks, and of one with another output."""
    paths = []
    for number, config in enumerate((SMALL, SMALL, replace(SMALL, output="sigmoid"))):
        torch.manual_seed(number)
        paths.append(ship(PHNet(config).state_dict(), config, tmp_path / f"{number}.safetensors"))
    return paths


def test_every_tensor_is_the_mean(runs, tmp_path):
    assert main([str(runs[0]), str(runs[1]), "-o", str(tmp_path / "mean.safetensors")]) == 0
    first, second, mean = (load_phnet(path) for path in (*runs[:2], tmp_path / "mean.safetensors"))
    assert mean.config == SMALL
    for name, value in mean.state_dict().items():
        expected = (first.state_dict()[name].double() + second.state_dict()[name].double()) / 2
        torch.testing.assert_close(value.double(), expected, atol=2e-4, rtol=1e-3)
    assert not torch.equal(mean.encoder[0][0].weight, first.encoder[0][0].weight)


def test_shares_and_shrinkages_that_differ(runs, tmp_path):
    """Networks of different `patch_shrinkage` meet at one that is named, and count by their shares."""
    config = replace(SMALL, patch_shrinkage=0.04)
    other = ship(load_phnet(runs[1]).state_dict(), config, tmp_path / "other.safetensors")
    out = tmp_path / "mean.safetensors"
    assert main([str(runs[0]), str(other), "-o", str(out)]) == 2
    assert (
        main([str(runs[0]), str(other), "-o", str(out), "--shares", "0.75", "0.25", "--patch-shrinkage", "0.02"]) == 0
    )
    first, second, mean = (load_phnet(path) for path in (runs[0], other, out))
    assert mean.config.patch_shrinkage == 0.02
    name = "encoder.0.0.weight"
    expected = 0.75 * first.state_dict()[name].double() + 0.25 * second.state_dict()[name].double()
    torch.testing.assert_close(mean.state_dict()[name].double(), expected, atol=2e-4, rtol=1e-3)
    grids = [network.normalizers[0].grid_weights.double() for network in (first, second, mean)]
    expected = 0.75 * grids[0] * 1.02 + 0.25 * grids[1] * 1.02 / 1.04  # full patches keep what they give
    torch.testing.assert_close(grids[2], expected, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("shares", [["1"], ["0.5", "0.4"], ["1.5", "-0.5"]])
def test_shares_that_do_not_fit_are_one_sentence(runs, tmp_path, capsys, shares):
    assert main([str(runs[0]), str(runs[1]), "-o", str(tmp_path / "mean.safetensors"), "--shares", *shares]) == 2
    assert "give one above 0 for each" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("chosen", "sentence"), [((0,), "two files or more, found 1"), ((0, 2), "is a different network")]
)
def test_what_has_no_mean_is_one_sentence(runs, tmp_path, capsys, chosen, sentence):
    assert main([*(str(runs[n]) for n in chosen), "-o", str(tmp_path / "mean.safetensors")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "mean.safetensors").exists()
