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


@pytest.mark.parametrize(("chosen", "sentence"), [((0,), "two files or more, found 1"), ((0, 2), "is another network")])
def test_what_has_no_mean_is_one_sentence(runs, tmp_path, capsys, chosen, sentence):
    assert main([*(str(runs[n]) for n in chosen), "-o", str(tmp_path / "mean.safetensors")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "mean.safetensors").exists()
