"""BatchNorm's statistics, measured again before a stage that keeps them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

BATCHES = 24


def batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """The network's BatchNorm modules, in order."""
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


@torch.no_grad()
def settle_norms(
    network: nn.Module, averaged: nn.Module, inputs: Iterable[tuple[Tensor, ...]], autocast: torch.autocast
) -> None:
    """Measure the statistics of the network as it is, and give them to its averaged weights too.

    Args:
        network: in training mode.
        averaged: of the same structure.
        inputs: what the network is called with, one batch after another.
        autocast: as in training.
    """
    norms = batch_norms(network)
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    for batch in inputs:
        with autocast:
            network(*batch)
    for norm, other in zip(norms, batch_norms(averaged), strict=True):
        norm.momentum = 0.1
        other.load_state_dict({**other.state_dict(), **dict(norm.named_buffers())})
