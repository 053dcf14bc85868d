"""Gradients of one batch on several CPU threads or processes, each with a part of the batch and a replica.

PyTorch's own threads meet after every operation. Where other programs use the machine too, each meeting waits for a
thread that was put aside: two threads of a busy two-core machine then trained at a third of one thread's pace
(0.3 steps/s against 1.1). Replicas meet once per step. A compiled network's code keeps Python's lock, so its replicas
are processes: two threads then trained at 1.5 times one thread's pace, two processes at 2.0 times.
"""

from __future__ import annotations

import copy
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Protocol

import torch
from torch import Tensor, nn

from harmonyrt.common import HarmonyError

LossOf = Callable[[nn.Module, tuple[Tensor, ...]], Tensor]


class Backward(Protocol):
    """What puts the gradients of a batch's mean loss into a network's parameters."""

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


class CompiledProcesses:
    """A network, compiled, and processes whose networks are compiled as well and use its parameters' memory.

    BatchNorm statistics are kept as :class:`Replicas` keeps them.
    """

    def __init__(self, network: nn.Module, count: int) -> None:
        self.network = network
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        for parameter in network.parameters():
            parameter.data.share_memory_()
        spawn = torch.multiprocessing.get_context("spawn")
        self.helpers: list[tuple[torch.multiprocessing.Process, Connection, list[Tensor]]] = []
        for _ in range(count - 1):
            gradients = [torch.zeros_like(p.data).share_memory_() for p in self.parameters]
            here, there = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(there, network, gradients), daemon=True)
            process.start()
            there.close()
            self.helpers.append((process, here, gradients))
        self.threads_before = torch.get_num_threads()
        if count > 1:
            torch.set_num_threads(1)  # here as in the helpers; the compiled code keeps what it finds
        network.compile(dynamic=False)

    def backward(self, loss_of: LossOf, batch: tuple[Tensor, ...]) -> float:
        """As :meth:`Replicas.backward`; `loss_of` must be picklable."""
        total = len(batch[0])
        parts = list(zip(*(tensor.tensor_split(1 + len(self.helpers)) for tensor in batch), strict=True))
        used = [(helper, part) for helper, part in zip(self.helpers, parts[1:], strict=True) if len(part[0])]
        try:
            for (_, pipe, _), part in used:
                pipe.send((loss_of, [tensor.numpy() for tensor in part], len(part[0]) / total))
            loss = _part_backward(self.network, self.parameters, loss_of, parts[0], len(parts[0][0]) / total)
            for (_, pipe, gradients), _ in used:
                loss += pipe.recv()
                torch._foreach_add_([p.grad for p in self.parameters], gradients)
        except (EOFError, ConnectionError):
            raise HarmonyError("a process of this training run has died; run it again and it goes on") from None
        return loss

    def close(self) -> None:
        for process, pipe, _ in self.helpers:
            pipe.close()
            process.join()
        torch.set_num_threads(self.threads_before)
        self.network._compiled_call_impl = None


def _part_backward(
    network: nn.Module, parameters: list[nn.Parameter], loss_of: LossOf, part: tuple[Tensor, ...], share: float
) -> float:
    for parameter in parameters:
        parameter.grad = None
    loss = loss_of(network, part) * share
    loss.backward()
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    return loss.item()


def _serve(pipe: Connection, network: nn.Module, gradients: list[Tensor]) -> None:
    """A helper process: gradients of the parts that come, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training process decides when to end
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
    for buffer in network.buffers():
        buffer.data = buffer.data.clone()
    network.compile(dynamic=False)
    parameters = [p for p in network.parameters() if p.requires_grad]
    while True:
        try:
            loss_of, arrays, share = pipe.recv()
        except EOFError:
            return
        part = tuple(torch.from_numpy(array) for array in arrays)
        loss = _part_backward(network, parameters, loss_of, part, share)
        torch._foreach_copy_(gradients, [p.grad for p in parameters])
        pipe.send(loss)
