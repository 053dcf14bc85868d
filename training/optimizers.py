"""Optimizers by name: PyTorch's AdamW, Lion, and AdamW with 8-bit state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn

from harmonyrt.common.errors import require

OptimizerName = Literal["adamw", "lion", "adamw-8bit"]

BETAS = (0.9, 0.99)


class Lion(torch.optim.Optimizer):
    """Steps by the sign of an interpolated momentum, with decoupled weight decay (arXiv 2302.06675, Algorithm 2)."""

    def __init__(
        self, params: Iterable, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"]
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(momentum.lerp(parameter.grad, 1 - beta1).sign_(), alpha=-group["lr"])
                momentum.lerp_(parameter.grad, 1 - beta2)


def build_optimizer(
    network: nn.Module, name: OptimizerName = "adamw", lr: float = 1e-3, weight_decay: float = 0.01
) -> torch.optim.Optimizer:
    """An optimizer of the parameters that require gradients.

    Weight decay reaches convolution and linear weights only: scales, biases and patch scores are free.

    Raises:
        HarmonyError: ``adamw-8bit`` without the package bitsandbytes.
    """
    trained = [p for p in network.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim >= 2 and p.shape[0] > 1]
    free = [p for p in trained if not (p.ndim >= 2 and p.shape[0] > 1)]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    if name == "lion":
        return Lion(groups, lr=lr)
    if name == "adamw-8bit":
        bitsandbytes: Any = require("bitsandbytes", "train-8bit", "the optimizer adamw-8bit")
        return bitsandbytes.optim.AdamW8bit(groups, lr=lr, betas=BETAS)
    return torch.optim.AdamW(groups, lr=lr, betas=BETAS, fused=True)
