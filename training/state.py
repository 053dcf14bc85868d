"""What a run needs to resume after it was killed, and the averaged weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import written_whole

CHECKPOINT = "checkpoint.pt"
Network = TypeVar("Network", bound=nn.Module)


class Average(Generic[Network]):
    """Exponential moving average of a network, buffers included; the first steps count for more (decay grows in)."""

    def __init__(self, network: Network, decay: float) -> None:
        self.network: Network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        own, new = list(self.network.state_dict().values()), list(network.state_dict().values())
        floats = [(a, b) for a, b in zip(own, new, strict=True) if a.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], 1 - decay)
        for a, b in zip(own, new, strict=True):
            if not a.is_floating_point():
                a.copy_(b)


def save_checkpoint(
    folder: Path,
    network: nn.Module,
    average: Average,
    optimizer: torch.optim.Optimizer,
    also: dict[str, Tensor] | None = None,
    **progress: float | int | str,
) -> None:
    """Write ``checkpoint.pt`` in one rename: a kill leaves the old one or the new one.

    Args:
        folder: the run's folder.
        network: what is trained.
        average: its averaged weights.
        optimizer: its state.
        also: further tensors of the file, which only its readers need.
        progress: numbers and words that :func:`load_checkpoint` returns; `description` must be among them.
    """
    content = {
        "network": network.state_dict(),
        "average": average.network.state_dict(),
        "updates": average.updates,
        "optimizer": optimizer.state_dict(),
        "progress": progress,
        **(also or {}),
    }
    with written_whole(folder / CHECKPOINT) as scratch:
        torch.save(content, scratch)


def load_checkpoint(
    folder: Path, network: nn.Module, average: Average, optimizer: torch.optim.Optimizer, description: str
) -> dict[str, float | int | str] | None:
    """Restore a run in place.

    Args:
        folder: the run's folder.
        network: receives what was saved.
        average: likewise.
        optimizer: likewise.
        description: of the network and optimizer; must equal the saved one.

    Returns:
        The progress given to :func:`save_checkpoint`; None when there is no checkpoint.

    Raises:
        HarmonyError: the checkpoint is damaged or of another network.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        progress = content["progress"]
    except Exception as error:  # torch.load raises many types for damaged files
        raise HarmonyError(f"{path} cannot be resumed ({error}); delete it or choose another run folder") from None
    if progress["description"] != description:
        raise HarmonyError(
            f"{path} is of another run: it trained {progress['description']}, asked for is {description};"
            " choose another run folder"
        )
    network.load_state_dict(content["network"])
    average.network.load_state_dict(content["average"])
    average.updates = content["updates"]
    optimizer.load_state_dict(content["optimizer"])
    return progress
