"""Optimizers by name: AdamW is PyTorch's; Lion, and Muon for convolutions, are written here from their papers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import Tensor, nn

OptimizerName = Literal["adamw", "lion", "muon"]


class Lion(torch.optim.Optimizer):
    """Steps by the sign of an interpolated momentum, with decoupled weight decay (arXiv 2302.06675, Algorithm 2)."""

    def __init__(
        self, params: Iterable, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable | None = None):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(momentum.lerp(parameter.grad, 1 - beta1).sign_(), alpha=-group["lr"])
                momentum.lerp_(parameter.grad, 1 - beta2)


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) for weights with two or more axes, AdamW for the rest.

    The momentum of each convolution, seen as a matrix (outputs, inputs x taps), is replaced by its nearest
    semi-orthogonal matrix, so every direction is learned at the same pace. The update is scaled to have the root mean
    square of an Adam step (0.2, as Liu et al. 2025, arXiv 2502.16982), so a learning rate means the same in both.
    """

    def __init__(self, params: Iterable, lr: float = 1e-3, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "matrix": True}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable | None = None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    update = self._by_matrix(parameter, group) if group["matrix"] else self._by_element(parameter)
                    parameter.add_(update, alpha=-group["lr"])

    def _by_matrix(self, parameter: Tensor, group: dict) -> Tensor:
        momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
        momentum.lerp_(parameter.grad, 1 - group["momentum"])
        ahead = parameter.grad.lerp(momentum, group["momentum"]).flatten(1)
        return (0.2 * max(ahead.shape) ** 0.5 * orthogonal(ahead)).view_as(parameter)

    def _by_element(self, parameter: Tensor, beta1: float = 0.9, beta2: float = 0.99) -> Tensor:
        state = self.state[parameter]
        if not state:
            state.update(step=torch.zeros(()), mean=torch.zeros_like(parameter), square=torch.zeros_like(parameter))
        state["step"] += 1
        state["mean"].lerp_(parameter.grad, 1 - beta1)
        state["square"].lerp_(parameter.grad.square(), 1 - beta2)
        mean = state["mean"] / (1 - beta1 ** state["step"])
        return mean / ((state["square"] / (1 - beta2 ** state["step"])).sqrt() + 1e-8)


def orthogonal(matrix: Tensor, rounds: int = 5) -> Tensor:
    """Approximately U V^T of the SVD of (m,n), by Muon's quintic Newton-Schulz iteration.

    Every step multiplies by a polynomial in X X^T, so the steps are joined in the small square matrices and the long
    side is passed over twice only: a third of the work for a convolution of 512 x 9216.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / (wide.norm() + 1e-12)
    gram = wide @ wide.T
    joined = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    for _ in range(rounds):
        factor = b * gram + c * (gram @ gram)
        factor.diagonal().add_(a)
        joined = factor @ joined
        gram = factor @ gram @ factor
    result = joined @ wide
    return result.T if matrix.shape[0] > matrix.shape[1] else result


def build_optimizer(
    network: nn.Module, name: OptimizerName = "adamw", lr: float = 1e-3, weight_decay: float = 0.01
) -> torch.optim.Optimizer:
    """Weight decay reaches convolution and linear weights only: scales, biases and patch scores are free."""
    decayed = [p for p in network.parameters() if p.ndim >= 2 and p.shape[0] > 1]
    free = [p for p in network.parameters() if not (p.ndim >= 2 and p.shape[0] > 1)]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    if name == "lion":
        return Lion(groups, lr=lr)
    if name == "muon":
        first, last = network.encoder[0][0].weight, network.decoder[-1][0].weight
        edges = [p for p in decayed if p is first or p is last]  # three channels span no space worth balancing
        inner = [p for p in decayed if not (p is first or p is last)]
        groups = [
            {"params": inner, "weight_decay": weight_decay, "matrix": True},
            {"params": free + edges, "weight_decay": 0.0, "matrix": False},
        ]
        return Muon(groups, lr=lr)
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99), fused=True)
