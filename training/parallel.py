"""Gradients of one batch on several CPU threads, each with a part of the batch and a replica of the network.

PyTorch's own threads meet after every operation. Where other programs use the machine too, each meeting waits for a
thread that was put aside: two threads of a busy two-core machine then trained at a third of one thread's pace
(0.3 steps/s against 1.1). Replicas meet once per step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

LossOf = Callable[[nn.Module, tuple[Tensor, ...]], Tensor]


class Replicas:
    """A network and copies that share its weights; the network itself keeps BatchNorm statistics, from its part."""

    def __init__(self, network: nn.Module, count: int) -> None:
        self.networks = [network]
        for _ in range(count - 1):
            replica = copy.deepcopy(network)
            for own, shared in zip(replica.parameters(), network.parameters(), strict=True):
                own.data = shared.data
                own.grad = None
            self.networks.append(replica)
        self.pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) if count > 1 else None

    def backward(self, loss_of: LossOf, batch: tuple[Tensor, ...]) -> float:
        """Put the gradients of the batch's mean loss into the network's parameters.

        Args:
            loss_of: mean loss of a network on a part of the batch.
            batch: tensors whose first axis is the sample.

        Returns:
            The mean loss.
        """
        total = len(batch[0])
        parts = list(zip(*(tensor.tensor_split(len(self.networks)) for tensor in batch), strict=True))
        jobs = [(net, part) for net, part in zip(self.networks, parts, strict=True) if len(part[0])]

        def work(network: nn.Module, part: tuple[Tensor, ...]) -> float:
            for parameter in network.parameters():
                parameter.grad = None
            loss = loss_of(network, part) * (len(part[0]) / total)
            loss.backward()
            return loss.item()

        if self.pool is None:
            return work(*jobs[0])
        losses = list(self.pool.map(work, *zip(*jobs, strict=True)))
        own, *others = ([p.grad for p in net.parameters() if p.grad is not None] for net, _ in jobs)
        for other in others:
            torch._foreach_add_(own, other)
        return sum(losses)

    def close(self) -> None:
        if self.pool is not None:
            self.pool.shutdown()
