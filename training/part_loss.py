"""The loss of a training step: what is computed of a network on a part of a batch, and in which precision."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harmonyrt.models import PHNet
from harmonyrt.training import losses
from harmonyrt.training.losses import LOSSES
from harmonyrt.training.scene_loss import head_loss, scene_loss


@dataclass(frozen=True)
class PartLoss:
    """Mean loss of a network on a part of a batch (``loading.Tensors``), under autocast where `mixed`.

    `head_alone` leaves out all of a PHNet but its colour head; `batch` is what terms of a whole batch are taken over.
    """

    loss: str
    kind: str
    mixed: bool
    head_alone: bool = False
    batch: losses.BatchStatistics = losses.WHOLE

    def __call__(self, network: nn.Module, part: tuple[Tensor, ...]) -> Tensor:
        composite, mask, real, *rest = part
        with torch.autocast(self.kind, torch.bfloat16, enabled=self.mixed):
            if self.head_alone:
                assert isinstance(network, PHNet)
                return head_loss(network, part)
            output = network(composite, mask)
        if self.loss == "scene":
            return scene_loss(output.float(), composite, real, mask, rest[0])
        return LOSSES[self.loss](output.float(), composite, real, mask, self.batch)
