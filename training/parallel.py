"""Gradients of one batch on several CPU threads or processes, each with a part of the batch and a replica.

PyTorch's own threads synchronise after every operation. If other programs use the machine too, each waits for a
descheduled thread: two threads of a busy two-core machine then trained at a third of one thread's pace
(0.3 steps/s against 1.1). Replicas synchronise once per step. A compiled network holds Python's global lock, so its
replicas are processes: two threads then trained at 1.5 times one thread's pace, two processes at 2.0 times.
"""

from __future__ import annotations

import copy
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Protocol

import torch
from torch import Tensor, nn

from harmonyrt.common import HarmonyError
from harmonyrt.common.signals import children_spared

LossOf = Callable[[nn.Module, tuple[Tensor, ...]], Tensor]
Part = tuple[tuple[Tensor, ...], float]
"""Some samples of a batch, and their share of it."""


class Backward(Protocol):
    """Something that computes the gradients of a batch's mean loss."""

    def backward(self, loss_of: LossOf, batch: tuple[Tensor, ...]) -> float: ...

    def close(self) -> None: ...


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
        # A small batch leaves some networks idle.
        jobs = list(zip(self.networks, _parts(batch, len(self.networks)), strict=False))

        def work(job: tuple[nn.Module, Part]) -> float:
            network, (part, share) = job
            return _part_backward(network, loss_of, part, share)

        if self.pool is None:
            return work(jobs[0])
        losses = list(self.pool.map(work, jobs))
        own, *others = ([p.grad for p in net.parameters() if p.grad is not None] for net, _ in jobs)
        for other in others:
            torch._foreach_add_(own, other)
        return sum(losses)

    def close(self) -> None:
        if self.pool is not None:
            self.pool.shutdown()


class CompiledProcesses:
    """A network, compiled, and processes whose networks are compiled as well and use its parameters' memory.

    BatchNorm statistics are kept as :class:`Replicas` keeps them.
    """

    def __init__(self, network: nn.Module, count: int) -> None:
        self.network = network
        for parameter in network.parameters():
            parameter.data.share_memory_()
        spawn = torch.multiprocessing.get_context("spawn")
        self.helpers: list[tuple[BaseProcess, Connection, list[Tensor]]] = []
        for _ in range(count - 1):
            gradients = [torch.zeros_like(p.data).share_memory_() for p in network.parameters()]
            here, there = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(there, network, gradients), daemon=True)
            with children_spared():
                process.start()
            there.close()
            self.helpers.append((process, here, gradients))
        self.threads_before = torch.get_num_threads()
        if count > 1:
            torch.set_num_threads(1)  # here as in the helpers; the compiled code keeps what it finds
        network.compile(dynamic=False)

    def backward(self, loss_of: LossOf, batch: tuple[Tensor, ...]) -> float:
        """As :meth:`Replicas.backward`; `loss_of` must be picklable."""
        own, *others = _parts(batch, 1 + len(self.helpers))
        used = list(zip(self.helpers, others, strict=False))
        try:
            for (_, pipe, _), (part, share) in used:
                pipe.send((loss_of, [tensor.numpy() for tensor in part], share))
            loss = _part_backward(self.network, loss_of, *own)
            for (_, pipe, gradients), _ in used:
                loss += pipe.recv()
                for parameter, gradient in zip(self.network.parameters(), gradients, strict=True):
                    if parameter.grad is not None:
                        parameter.grad += gradient
        except (EOFError, ConnectionError):
            raise HarmonyError(
                "a process of this training run has died; run the same command again to continue"
            ) from None
        return loss

    def close(self) -> None:
        for process, pipe, _ in self.helpers:
            pipe.close()
            process.join()
        torch.set_num_threads(self.threads_before)
        self.network._compiled_call_impl = None


def _parts(batch: tuple[Tensor, ...], count: int) -> list[Part]:
    """A batch in at most `count` parts, none of them empty."""
    parts = zip(*(tensor.tensor_split(count) for tensor in batch), strict=True)
    return [(part, len(part[0]) / len(batch[0])) for part in parts if len(part[0])]


def _part_backward(network: nn.Module, loss_of: LossOf, part: tuple[Tensor, ...], share: float) -> float:
    """Replace a network's gradients by those of a part's share of the mean loss, which is returned."""
    for parameter in network.parameters():
        parameter.grad = None
    loss = loss_of(network, part) * share
    loss.backward()
    return loss.item()


def _serve(pipe: Connection, network: nn.Module, gradients: list[Tensor]) -> None:
    """A helper process: gradients of the parts that come, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training process decides when to end
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
    for buffer in network.buffers():
        buffer.data = buffer.data.clone()
    network.compile(dynamic=False)
    while True:
        try:
            loss_of, arrays, share = pipe.recv()
        except EOFError:
            return
        part = tuple(torch.from_numpy(array) for array in arrays)
        loss = _part_backward(network, loss_of, part, share)
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            if parameter.grad is not None:
                gradient.copy_(parameter.grad)
        pipe.send(loss)
