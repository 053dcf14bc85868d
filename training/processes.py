"""Several processes that train one network together, as ``torchrun`` starts them: each computes a part of every batch.

The batch is the one that a single process would have, so the number of processes changes the speed and not the run.
The processes make batches in turn, and the one that made a step's gives each of the others its part.
The default group carries gradients (nccl between GPUs, gloo between CPUs); a second one, always gloo, carries what the
processes agree on.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from harmonyrt.common import HarmonyError
from harmonyrt.training import losses
from harmonyrt.training.joint_statistics import AllParts, SharedBatchNorm2d

PATIENCE = timedelta(hours=2)
"""How long a process waits for the others: the first one validates and writes while they wait."""
Batch = tuple[Tensor, ...]
"""The first axis of the tensors is the sample."""
LossOf = Callable[[nn.Module, tuple[Tensor, ...]], Tensor]


@dataclass(frozen=True)
class Processes:
    """Who takes part.

    Attributes:
        rank: number of this process; 0 is the one that validates, writes and speaks.
        count: of all processes.
        local_rank: number of this process on its machine, which is the number of its GPU.
        control: the group for agreements; None for a single process.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    control: Any = None

    @property
    def first(self) -> bool:
        return self.rank == 0

    def device(self, asked: str) -> str:
        """The device of this process: ``cuda`` is the GPU with its number.

        Raises:
            HarmonyError: one GPU for all, or fewer GPUs than processes.
        """
        if self.count == 1 or not asked.startswith("cuda"):
            return asked
        if asked != "cuda":
            raise HarmonyError(
                f"device {asked} was asked for, and {self.count} processes need a GPU each; give device cuda"
            )
        if self.local_rank >= torch.cuda.device_count():
            raise HarmonyError(
                f"process {self.local_rank} of this machine has no GPU: PyTorch finds {torch.cuda.device_count()};"
                " start as many processes as there are GPUs"
            )
        return f"cuda:{self.local_rank}"

    def parts(self, batch: Batch) -> list[Batch]:
        """Each process's samples of a batch, nearly as many for all.

        Raises:
            HarmonyError: there are fewer samples than processes.
        """
        if len(batch[0]) < self.count:
            raise HarmonyError(
                f"a batch of {len(batch[0])} cannot be divided among {self.count} processes; give a larger batch, or"
                " start fewer processes"
            )
        return list(zip(*(tensor.tensor_split(self.count) for tensor in batch), strict=True))

    def first_turn(self, step: int) -> int:
        """The first step from `step` on whose batch is this process's to make; it is each :attr:`count`-th of them."""
        return step + (self.rank - step) % self.count

    def parts_in_turn(self, made: Iterator[Batch], step: int) -> Iterator[Batch]:
        """This process's part of every step's batch; a single process has all of it.

        Args:
            made: batches of the steps that are this process's turn (:meth:`first_turn`).
            step: the first.

        Raises:
            HarmonyError: in every process what went wrong in the one whose turn it was.
        """
        if self.count == 1:
            yield from made
            return
        for number in itertools.count(step):
            parts: list[Any] = []
            if number % self.count == self.rank:
                try:
                    parts = [tuple(tensor.numpy() for tensor in part) for part in self.parts(next(made))]
                except HarmonyError as error:
                    parts = [error] * self.count
            mine: list[Any] = [None]
            dist.scatter_object_list(mine, parts or None, src=number % self.count, group=self.control)
            if isinstance(mine[0], HarmonyError):
                raise mine[0]
            yield tuple(torch.from_numpy(array) for array in mine[0])

    def sums(self, *values: float) -> list[float]:
        """The sums of every process's numbers, the same in all of them."""
        if self.count == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(shared, group=self.control)
        return shared.tolist()

    def batch(self) -> losses.BatchStatistics:
        """What a loss's means and maxima over the batch are taken over: all processes' parts."""
        return losses.WHOLE if self.count == 1 else AllParts()

    def wait(self) -> None:
        """Until all processes are here."""
        self.sums(0.0)


@contextlib.contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the other processes that torchrun started; a process that it did not start is alone.

    Args:
        device: ``cpu``, or one whose name begins with ``cuda``.

    Raises:
        HarmonyError: the environment names processes that do not answer.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 and not dist.is_initialized():
        yield Processes()
        return
    ours = not dist.is_initialized()
    if ours:
        try:
            dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
        except (RuntimeError, ValueError) as error:
            raise HarmonyError(
                f"this process is told that it is one of {count} and cannot join them ({error}); start all of them with"
                " torchrun, or unset WORLD_SIZE"
            ) from None
    try:
        control = dist.new_group(backend="gloo", timeout=PATIENCE)
        local = int(os.environ.get("LOCAL_RANK", "0"))
        processes = Processes(dist.get_rank(), dist.get_world_size(), local, control)
        if device == "cuda" and processes.local_rank < torch.cuda.device_count():
            torch.cuda.set_device(processes.local_rank)
        yield processes
    finally:
        if ours:
            dist.destroy_process_group()


class JointBackward:
    """Gradients of a batch's mean loss, each process with its part of the batch, in `accumulate` pieces.

    Args:
        network: the same in every process; the first one's weights are taken.
        processes: who takes part.
        accumulate: pieces that the part is computed in, one after another, to need less memory.
        partly_used: some parameters that could be trained take no part in the loss.
    """

    def __init__(
        self, network: nn.Module, processes: Processes, accumulate: int = 1, partly_used: bool = False
    ) -> None:
        self.network, self.processes, self.accumulate = network, processes, accumulate
        self.loss: nn.Module = _Loss(network)
        if processes.count > 1:
            device = next(network.parameters()).device
            self.loss = DistributedDataParallel(
                self.loss,
                device_ids=[device] if device.type == "cuda" else None,
                broadcast_buffers=False,  # they are computed from the whole batch (SharedBatchNorm2d)
                find_unused_parameters=partly_used,
            )

    def backward(self, loss_of: LossOf, batch: tuple[Tensor, ...]) -> float:
        """Put the gradients of the mean loss of the whole batch into the network's parameters; return that loss.

        Args:
            loss_of: mean loss of a network on a part of the batch.
            batch: this process's part of it.
        """
        for parameter in self.network.parameters():
            parameter.grad = None
        samples = self.processes.sums(len(batch[0]))[0]
        pieces = [
            piece for piece in zip(*(t.tensor_split(self.accumulate) for t in batch), strict=True) if len(piece[0])
        ]
        total = 0.0
        for number, piece in enumerate(pieces, 1):
            weight = len(piece[0]) / samples
            with self._apart(number < len(pieces)):
                loss = self.loss(loss_of, piece) * weight
                (loss * self.processes.count).backward()  # DistributedDataParallel divides by it
            total += loss.item()
        return self.processes.sums(total)[0]

    def _apart(self, apart: bool) -> contextlib.AbstractContextManager:
        if apart and isinstance(self.loss, DistributedDataParallel):
            return self.loss.no_sync()
        return contextlib.nullcontext()

    def close(self) -> None:
        """Nothing is left open."""


class _Loss(nn.Module):
    """The loss as a module, so that DistributedDataParallel sees whatever the loss does with the network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, loss_of: LossOf, part: tuple[Tensor, ...]) -> Tensor:
        return loss_of(self.network, part)


def share_batch_norms(network: nn.Module, processes: Processes) -> None:
    """Let BatchNorm measure the whole batch and not a process's part of it, in place."""
    if processes.count == 1:
        return
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            network.set_submodule(name, SharedBatchNorm2d(module))
