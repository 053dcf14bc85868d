"""Whole pictures on a GPU: kernels, the engine, kernels; recorded as one CUDA graph where the engine allows it."""

from __future__ import annotations

import contextlib
import ctypes
import inspect
import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.runtime import forks
from harmonyrt.runtime.backends import cuda, graphs
from harmonyrt.runtime.backends.device_arrays import DeviceArray
from harmonyrt.runtime.compiled_cache import CompiledCache
from harmonyrt.runtime.kernels import passes
from harmonyrt.runtime.kernels.loaded import LoadedKernels
from harmonyrt.runtime.kernels.structures import (
    FAILURES_OFFSET,
    LONGEST_ENGINE_SIDE,
    STATE_BYTES,
    Frame,
    Packed,
    Plane,
    Scratch,
    Sizes,
)

NOT_RECORDABLE = (
    "this picture cannot be part of your recording: run it once before, with the same arrays, on an engine of TensorRT"
    " with fixed shapes"
)
_GRAPHS_KEPT = 8
_SCRATCH_KEPT = 4
_KEYS_REMEMBERED = 64


class Engine(Protocol):
    """A session on a GPU. TensorRT's also say whether they are `recordable`, and on which `stream` they run."""

    device: str

    @property
    def run_on_device(self) -> Callable[..., Any]:
        """Run once on device arrays; on a stream, where the backend can."""
        ...


@dataclass
class _Held:
    """CUDA objects that must be released."""

    stream: Any
    event: Any
    state: int  # a `State`, for pictures of all sizes
    said: int  # page-locked: a copy of it
    graphs: dict[tuple, Any] = field(default_factory=dict)
    scratch: dict[tuple, Scratch] = field(default_factory=dict)
    memory: dict[tuple, list[int]] = field(default_factory=dict)
    process: int = field(default_factory=os.getpid)


@dataclass(frozen=True)
class Picture:
    """What is done to one picture.

    Attributes:
        composite: in device memory.
        mask: of the same size.
        result: of the composite's format and size; may be the composite.
        size: height and width at which it goes through the network.
        strength: share of the change.
    """

    composite: Frame
    mask: Plane
    result: Frame
    size: tuple[int, int]
    strength: float

    def key(self) -> tuple:
        """All that a recording holds."""
        return (_key(self.composite), self.mask.key(), _key(self.result), self.size, self.strength)


class OnDevice:
    """One engine with the kernels around it, on the engine's GPU; belongs to one thread at a time, as its session does.

    Attributes:
        index: of the GPU.
    """

    def __init__(self, session: Engine, binary_mask: bool, cache: str | None) -> None:
        """Load the kernels, compiling them where no earlier run has.

        Args:
            session: open, with the inputs `image` and `mask` and the output `output`, float32, batch 1.
            binary_mask: as the manifest says.
            cache: folder, as for :meth:`harmonyrt.runtime.compiled_cache.CompiledCache.at`.

        Raises:
            HarmonyError: no NVRTC that fits.
        """
        self.index = int(session.device.partition(":")[2] or 0)
        self._session: Any = session  # TensorRT's has more than an `Engine`
        self._binary = binary_mask
        self._in_order = "stream" in inspect.signature(session.run_on_device).parameters
        self._cuda = cuda.open_cuda()
        self._kernels = LoadedKernels(self._cuda, self.index, CompiledCache.at(cache))
        self._seen_failures = 0
        self._warm: set[tuple] = set()
        self._refused = False
        state, said = self._cuda.allocate(STATE_BYTES), self._cuda.allocate_pinned(STATE_BYTES)
        self._held = _Held(self._cuda.create_stream(), self._cuda.create_event(), state, said)
        self._stream = self._held.stream
        ctypes.memset(said, 0, STATE_BYTES)
        self._cuda.copy(state, said, STATE_BYTES, self._stream)
        forks.keep(self._held)
        weakref.finalize(self, _release, self._cuda, self.index, self._held)

    def run(self, picture: Picture, given: tuple[DeviceArray, ...], stream: int, wait: bool) -> None:
        """Harmonize one picture, ordered on `stream` as if it ran there.

        Args:
            picture: checked.
            given: arrays that the caller gave, whose streams it waits for.
            stream: the caller's; 0 is the default one. One that is being recorded gets the work recorded.
            wait: return when it is done.

        Raises:
            WorkFailed: the network gave values that are not finite, for this picture, or (without `wait`) for an
                earlier one: its result is the composite.
        """
        if max(picture.size) > LONGEST_ENGINE_SIDE:
            raise HarmonyError(f"an engine of {picture.size} is too large for the kernels: use harmonize() on the host")
        self._cuda.set_device(self.index)
        if self.is_recording(stream):
            if picture.key() not in self._warm or not self._recordable:
                raise HarmonyError(NOT_RECORDABLE)
            self._work(picture, stream)
            return
        self._check_failures()
        for first in {stream, *(array.stream for array in given if array.stream is not None)}:
            self._order(first, self._stream)
        try:
            self._launch(picture)
        finally:
            with contextlib.suppress(WorkFailed):  # whatever was put there still uses the caller's memory
                self._order(self._stream, stream)
        if wait:
            self._cuda.synchronize(self._stream)
            self._check_failures()

    def is_recording(self, stream: int) -> bool:
        """Whether the caller records a stream into a CUDA graph."""
        return stream != cuda.LEGACY_STREAM and self._cuda.is_capturing(stream)

    @property
    def _recordable(self) -> bool:
        return self._in_order and not self._refused and bool(getattr(self._session, "recordable", False))

    def _launch(self, picture: Picture) -> None:
        key = picture.key()
        graph = self._held.graphs.get(key)
        if graph is None and key in self._warm and self._recordable:
            what = "the work around the engine"
            made = graphs.record_if_possible(self._cuda, self._stream, lambda: self._work(picture, self._stream), what)
            self._refused = made is None
            if made is not None:
                graph = made[0]
                self._keep(key, graph)
        if graph is not None:
            own = self._session.stream  # where its other runs are: they use the same memory
            self._order(own, self._stream)
            self._cuda.launch(graph, self._stream)
            self._order(self._stream, own)
            return
        self._work(picture, self._stream)
        if len(self._warm) >= _KEYS_REMEMBERED:
            self._warm.clear()
        self._warm.add(key)

    def _keep(self, key: tuple, graph: Any) -> None:
        if len(self._held.graphs) >= _GRAPHS_KEPT:
            self._cuda.synchronize(self._stream)
            self._cuda.destroy_graph(self._held.graphs.pop(next(iter(self._held.graphs))))
        self._held.graphs[key] = graph

    def _work(self, picture: Picture, stream: Any) -> None:
        """Everything for one picture, put on a stream."""
        scratch = self._scratch(picture)
        height, width = picture.size
        passes.fit(self._kernels, picture.composite, picture.mask, self._binary, scratch, stream)
        feeds = {
            "image": self._tensor(scratch.image, (1, 3, height, width)),
            "mask": self._tensor(scratch.mask, (1, 1, height, width)),
        }
        output = {"output": self._tensor(scratch.output, (1, 3, height, width))}
        if self._in_order:
            self._session.run_on_device(feeds, output, int(stream))
        else:  # it knows no streams, and waits
            self._cuda.synchronize(stream)
            self._session.run_on_device(feeds, output)
        passes.apply(self._kernels, picture.composite, picture.mask, picture.result, picture.strength, scratch, stream)
        self._cuda.copy(self._held.said, scratch.state, STATE_BYTES, stream)

    def _tensor(self, address: int, shape: tuple[int, ...]) -> DeviceArray:
        return DeviceArray(address, shape, np.dtype(np.float32), self.index)

    def _scratch(self, picture: Picture) -> Scratch:
        parts = tuple((part.width, part.channels) for part in picture.composite.parts)
        key = (picture.size, parts)
        held = self._held
        if key in held.scratch:
            return held.scratch[key]
        if len(held.scratch) >= _SCRATCH_KEPT:
            self._forget_scratch()
        memory: list[int] = []

        def allocate(size: int) -> int:
            memory.append(self._cuda.allocate(size))
            return memory[-1]

        try:
            scratch = Scratch.make(allocate, Sizes.of(*picture.size), picture.composite, self._held.state)
        except BaseException:
            for address in memory:
                self._cuda.free(address)
            raise
        held.scratch[key], held.memory[key] = scratch, memory
        return scratch

    def _forget_scratch(self) -> None:
        """Sizes keep changing: start again. Recordings hold addresses of what goes."""
        _drop(self._cuda, self._held)
        self._warm.clear()

    def _check_failures(self) -> None:
        count = ctypes.c_int.from_address(self._held.said + FAILURES_OFFSET).value
        if count > self._seen_failures:
            self._seen_failures = count
            raise WorkFailed(
                "the engine gave values that are not finite, and the composite was returned unchanged;"
                " use a bundle of another precision"
            )

    def _order(self, first: Any, then: Any) -> None:
        self._cuda.record(self._held.event, first)
        self._cuda.wait(then, self._held.event)


def _key(frame: Frame) -> tuple:
    if isinstance(frame, Packed):
        return (frame.plane.key(), frame.red)
    return (frame.luma.key(), frame.chroma.key(), bytes(frame.space))


def _drop(device: cuda.Cuda, held: _Held) -> None:
    device.synchronize(held.stream)
    while held.graphs:
        device.destroy_graph(held.graphs.popitem()[1])
    held.scratch.clear()
    while held.memory:
        for address in held.memory.popitem()[1]:
            device.free(address)


def _release(device: cuda.Cuda, index: int, held: _Held) -> None:
    """Give everything back; at the end of a process CUDA may be gone."""
    if os.getpid() != held.process:  # a forked child, which CUDA does not serve
        return
    with contextlib.suppress(WorkFailed):
        device.set_device(index)
        _drop(device, held)
        device.free(held.state)
        device.free_pinned(held.said)
        device.destroy_event(held.event)
        device.destroy_stream(held.stream)
