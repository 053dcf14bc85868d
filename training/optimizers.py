"""Optimizers by name: PyTorch's AdamW, Lion, Muon, and AdamW with 8-bit state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from harmonyrt.common.errors import require

OptimizerName = Literal["adamw", "lion", "muon", "adamw-8bit"]

BETAS = (0.9, 0.99)
LARGE = 16_000
AS_ADAM = 0.2
"""Root mean square of AdamW's updates, in rates."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients that make small singular values grow fastest (Jordan et al. 2024)."""


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


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal for large convolutions, Adam for everything else.

    Every direction of a layer's update has about the same length (Jordan et al. 2024), scaled to the root mean square
    of AdamW's updates, so that rates and decay of AdamW serve (arXiv 2502.16982, section 2.2). PyTorch's own takes
    matrices only; here a convolution's weight is one, of its first dimension by all others.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = BETAS,
        weight_decay: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "betas": betas, "weight_decay": weight_decay, "eps": eps}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    make = self._orthogonal_step if is_large_convolution(parameter) else self._adam_step
                    parameter.add_(make(parameter, group), alpha=-group["lr"])

    def _orthogonal_step(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        state, gradient, share = self.state[parameter], cast(Tensor, parameter.grad), group["momentum"]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"].lerp_(gradient, 1 - share)
        update = orthogonal(gradient.lerp(momentum, share).flatten(1))
        return update.view_as(parameter) * (AS_ADAM * max(update.shape) ** 0.5)

    def _adam_step(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        state, gradient, (beta1, beta2) = self.state[parameter], cast(Tensor, parameter.grad), group["betas"]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        step = float(state["step"])
        mean = state["mean"].lerp_(gradient, 1 - beta1) / (1 - beta1**step)
        square = state["square"].lerp_(gradient.square(), 1 - beta2) / (1 - beta2**step)
        return mean / (square.sqrt() + group["eps"])


def is_large_convolution(parameter: Tensor) -> bool:
    """Whether Muon takes a parameter for a matrix; small ones do not pay for their products."""
    return parameter.ndim == 4 and parameter.numel() > LARGE


def orthogonal(matrix: Tensor, rounds: int = 5) -> Tensor:
    """The nearest (half-)orthogonal matrix, about: its singular values end between 0.7 and 1.2.

    Newton-Schulz rounds of degree five. They run on the smaller Gram matrix alone, which costs a fraction for wide
    matrices, in FP32 and with a ridge: a negative eigenvalue that rounding makes would grow twelvefold in each round.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (wide.norm() + 1e-12)
    eye = torch.eye(len(wide), dtype=wide.dtype, device=wide.device)
    gram = wide @ wide.T
    scale = gram.norm().clamp_min(1e-20)
    gram, product = gram / scale + 1e-6 * eye, eye
    for _ in range(rounds):
        polynomial = NEWTON_SCHULZ[0] * eye + NEWTON_SCHULZ[1] * gram + NEWTON_SCHULZ[2] * (gram @ gram)
        product = polynomial @ product
        gram = polynomial @ gram @ polynomial
    found = ((product / scale.sqrt()).bfloat16() @ wide.bfloat16()).to(matrix.dtype)
    return found if matrix.shape[0] <= matrix.shape[1] else found.T


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
    if name == "muon":
        return Muon(groups, lr=lr)
    if name == "adamw-8bit":
        bitsandbytes: Any = require("bitsandbytes", "train-8bit", "the optimizer adamw-8bit")
        return bitsandbytes.optim.AdamW8bit(groups, lr=lr, betas=BETAS)
    return torch.optim.AdamW(groups, lr=lr, betas=BETAS, fused=True)
