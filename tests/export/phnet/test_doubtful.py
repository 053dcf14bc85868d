"""Networks that pass every gate and harmonize nothing are named."""

from __future__ import annotations

import pytest
import torch

from harmonyrt.export.phnet.session import doubtful, references

SIZE = (64, 64)


def warmer(image, mask):
    return (image + mask * torch.tensor([0.1, 0.0, -0.1]).view(1, 3, 1, 1)).clamp(0, 1)


def unchanged(image, mask):
    return image.clone()


def a_change_for_a_picture(image, mask):
    """What a network answers that predicts a change, where it is taken for one that predicts a picture."""
    return torch.sigmoid(0.1 * (0.5 - image))


def flat(image, mask):
    return torch.zeros_like(image)


def test_a_network_that_harmonizes_is_not_doubted():
    assert doubtful(references(warmer, SIZE)) is None


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (unchanged, "leaves all 12 composites of the gate as they are"),
        (a_change_for_a_picture, "turns the gate's composites into something else"),
        (flat, "turns the gate's composites into something else"),
    ],
)
def test_a_network_that_does_not_is_doubted(network, words):
    assert words in (doubtful(references(network, SIZE)) or "")
