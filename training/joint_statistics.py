"""Statistics of a batch that several processes hold parts of: BatchNorm's, and those of a loss."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from harmonyrt.training import losses


class SharedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm over the parts of a batch in all processes; PyTorch's own (SyncBatchNorm) needs GPUs.

    Only batches that gradients are computed for are shared; others are each process's own.

    Args:
        norm: takes over its parameters and statistics.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            setattr(self, name, buffer)
        self.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            values = x.float()
            count = torch.full((1,), float(values.numel() // values.shape[1]), device=x.device)
            sums = _Sum.apply(torch.cat([count, values.sum((0, 2, 3))]))
            count, mean = sums[:1].detach(), sums[1:] / sums[:1].detach()
            centred = values - mean[:, None, None]
            variance = _Sum.apply((centred * centred).sum((0, 2, 3))) / count
            self._keep(mean.detach(), variance.detach() * count / (count - 1))
            scale = self.weight * torch.rsqrt(variance + self.eps)
            return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


class AllParts(losses.BatchStatistics):
    def mean(self, values: Tensor) -> Tensor:
        count = torch.full((1,), float(values.numel()), device=values.device)
        return _Sum.apply(values.sum().reshape(1))[0] / _Sum.apply(count)[0]

    def largest(self, values: Tensor) -> Tensor:
        most = values.detach().amax()
        dist.all_reduce(most, dist.ReduceOp.MAX)
        return most


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total
