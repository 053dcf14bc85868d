"""The network that a run starts from: fresh or from weights, and the same weights in other configurations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from harmonyrt.models import PHNet, load_phnet
from harmonyrt.models.phnet import PatchNormalizer
from harmonyrt.training.config import TrainConfig


def starting_network(config: TrainConfig, say: Callable[[str], None]) -> PHNet:
    """A run's network before its first step.

    Args:
        config: `init`, or `network` and `seed`; then what the run adds to it.
        say: is told what the weights lack.

    Raises:
        HarmonyError: `init` cannot be opened.
    """
    torch.manual_seed(config.seed)
    network = load_phnet(config.init) if config.init else PHNet(config.network)
    if not network.config.extractor and any(stage.extractor for stage in config.stages):
        say("the weights to start from have no feature extractor; it starts from random values")
        network = with_extractor(network)
    if config.patch_shrinkage is not None:
        network = with_patch_shrinkage(network, config.patch_shrinkage)
    if config.colour_head:
        network = with_colour_head(network)
    return network


@torch.no_grad()
def with_patch_shrinkage(network: PHNet, share: float) -> PHNet:
    """The same weights in a PHNet with another ``patch_shrinkage``; what patches full of background give stays."""
    if share == network.config.patch_shrinkage:  # the paper's variant has none
        return network
    changed = PHNet(dataclasses.replace(network.config, patch_shrinkage=share))
    changed.load_state_dict(network.state_dict())
    for normalizer in changed.normalizers:
        assert isinstance(normalizer, PatchNormalizer)
        normalizer.grid_weights.mul_((1 + share) / (1 + network.config.patch_shrinkage))
    return changed


def with_extractor(network: PHNet) -> PHNet:
    """The same weights in a PHNet with a fresh feature extractor, as the paper adds it after the first stage."""
    changed = PHNet(dataclasses.replace(network.config, extractor=True))
    changed.load_state_dict(network.state_dict(), strict=False)
    return changed


def with_colour_head(network: PHNet) -> PHNet:
    """The same weights with a colour head that changes nothing yet; a network that has one is returned unchanged."""
    if network.colour_head is not None:
        return network
    joined = PHNet(dataclasses.replace(network.config, colour_head=True))
    joined.load_state_dict(network.state_dict(), strict=False)
    return joined
