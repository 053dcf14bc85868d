"""CUDA without a GPU: as strict as the real ones where it matters, and as late as they may be.

Device memory is memory of the host at its own addresses. Work that is put on a stream runs when somebody waits for
it, and only what that waits for runs with it: where order between streams is missing, or memory of the host is used
again too early, results are wrong. Recording follows the rules of CUDA's programming guide: not the default stream; no
waiting, no memory and no copies of pageable memory; streams join by an event of the recording and must be joined back.
"""

from __future__ import annotations

import ctypes
import heapq
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from fakes.kernels import HostKernels
from harmonyrt.common import WorkFailed


@dataclass(eq=False)
class Work:
    """Something on a stream, and what it comes after."""

    action: Callable[[], None] | None
    after: tuple[Work, ...]
    done: bool = False


@dataclass(eq=False)
class Capture:
    """A recording in progress, with the last work of each stream that is part of it."""

    origin: int
    thread: int = field(default_factory=threading.get_ident)
    tails: dict[int, tuple[Work, ...]] = field(default_factory=dict)
    works: list[Work] = field(default_factory=list)
    broken: str = ""
    ended: bool = False


class SimulatedCuda:
    """A fake `cuda.Cuda`. Notes copies ("up", "down", "on the GPU"), launches, waits and so on in `log`."""

    def __init__(self, capability=(8, 9), count=1, driver=13) -> None:
        self.blocks: dict[int, ctypes.Array] = {}
        self.log: list[tuple] = []
        self.graphs: dict[int, list[Work]] = {}
        self.modules: dict[int, bytes] = {}
        self._pinned: set[int] = set()
        self._tails: dict[int, tuple[Work, ...]] = {}
        self._captures: dict[int, Capture] = {}
        self._streams: set[int] = set()
        self._events: dict[int, tuple[tuple[Work, ...], Capture | None]] = {}
        self._capability, self._count, self._driver = capability, count, driver
        self._next = 100
        self.free_bytes = 8 << 30

    def count_of(self, name: str) -> int:
        """How often something was done."""
        return sum(entry[0] == name for entry in self.log)

    def _fail(self, name: str, why: str, *captures: Capture | None) -> None:
        for capture in captures:
            if capture is not None:
                capture.broken = capture.broken or why
        raise WorkFailed(f"CUDA's {name} failed: {why}; free the GPU or its memory and try again")

    # --- what is there

    def device_count(self):
        return self._count

    def why_no_device(self):
        return "none found"

    def driver(self):
        return self._driver

    def capability(self, device):
        return self._capability

    def name(self, device):
        return "Fake RTX"

    def set_device(self, device):
        pass

    # --- memory

    def unsafe(self, name: str) -> None:
        """What the guide calls unsafe breaks recordings of its thread (thread-local mode)."""
        own = [one for one in set(self._captures.values()) if one.thread == threading.get_ident()]
        if own:
            self._fail(name, "operation not permitted when stream is capturing", *own)

    def allocate(self, size):
        self.unsafe("cudaMalloc")
        block = ctypes.create_string_buffer(size)
        self.blocks[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def memory(self):
        return self.free_bytes, 2 * self.free_bytes

    def allocate_pinned(self, size):
        address = self.allocate(size)
        self._pinned.add(address)
        return address

    def free(self, address):
        self.unsafe("cudaFree")
        self.finish()
        del self.blocks[address]
        self._pinned.discard(address)

    free_pinned = free

    def copy(self, target, source, size, stream):
        on_gpu = [address in self.blocks and address not in self._pinned for address in (target, source)]
        self.log.append(({(1, 0): "up", (0, 1): "down", (1, 1): "on the GPU", (0, 0): "host"}[tuple(on_gpu)],))
        capture = self._captures.get(int(stream))
        if capture is not None and not {target, source} <= set(self.blocks):
            self._fail("cudaMemcpyAsync", "pageable memory in a recording", capture)
        self.enqueue(stream, lambda: ctypes.memmove(target, source, size), target, source)

    # --- streams

    def create_stream(self):
        self._next += 1
        self._streams.add(self._next)
        return self._next

    def destroy_stream(self, stream):
        self.log.append(("destroy_stream", stream))
        self._streams.remove(stream)

    def enqueue(self, stream, action: Callable[[], None] | None, *addresses: int) -> None:
        """Put work on a stream; memory of the GPU at `addresses` must still be there when it runs."""
        used = [address for address in addresses if address in self.blocks]

        def run() -> None:
            assert set(used) <= set(self.blocks), "memory was freed while work was waiting for it"
            if action is not None:
                action()

        self._put(int(stream), run)

    def _put(self, stream: int, action: Callable[[], None] | None, *after: Work) -> None:
        capture = self._captures.get(stream)
        if capture is None:
            self._tails[stream] = (Work(action, (*self._tails.get(stream, ()), *after)),)
            return
        if capture.broken:
            self._fail("cudaLaunchKernel", "operation failed due to a previous error during capture")
        work = Work(action, (*capture.tails[stream], *after))
        capture.works.append(work)
        capture.tails[stream] = (work,)

    def synchronize(self, stream):
        if (capture := self._captures.get(int(stream))) is not None:
            self._fail("cudaStreamSynchronize", "operation not permitted when stream is capturing", capture)
        self.log.append(("synchronize", stream))
        _run(self._tails.get(int(stream), ()))

    def finish(self) -> None:
        """Let everything run that is on a stream."""
        for tail in list(self._tails.values()):
            _run(tail)

    # --- events

    def create_event(self, timing=False):
        self._next += 1
        self._events[self._next] = (), None
        return self._next

    def destroy_event(self, event):
        del self._events[event]

    def record(self, event, stream):
        self.log.append(("record", stream))
        assert event in self._events
        capture = self._captures.get(int(stream))
        if capture is not None and capture.broken:
            self._fail("cudaEventRecord", "operation failed due to a previous error during capture")
        tail = self._tails.get(int(stream), ()) if capture is None else capture.tails[int(stream)]
        self._events[event] = tail, capture

    def milliseconds(self, first, second):
        """CUDA refuses times of events that have not happened."""
        works = [work for event in (first, second) for work in self._events[event][0]]
        if not all(work.done for work in works):
            raise WorkFailed("CUDA's cudaEventElapsedTime failed: device not ready; free the GPU and try again")
        return 1.0

    def wait(self, stream, event):
        self.log.append(("wait", stream))
        stream, (works, capture) = int(stream), self._events[event]
        current = self._captures.get(stream)
        if capture is None and current is not None:
            self._fail("cudaStreamWaitEvent", "dependency created on uncaptured work in another stream", current)
        if capture is not None and (capture.ended or current not in (None, capture)):
            self._fail("cudaStreamWaitEvent", "the event belongs to another recording", current, capture)
        if capture is not None and stream == 0:
            self._fail("cudaStreamWaitEvent", "the legacy stream cannot be captured", capture)
        if capture is not None and current is None:
            self._captures[stream], capture.tails[stream] = capture, works
        else:
            self._put(stream, None, *works)

    # --- graphs

    def begin_capture(self, stream):
        stream = int(stream)
        if stream == 0 or stream in self._captures:
            self._fail("cudaStreamBeginCapture", "operation not permitted on this stream", self._captures.get(stream))
        self._captures[stream] = Capture(stream, tails={stream: ()})

    def is_capturing(self, stream):
        return int(stream) in self._captures

    def end_capture(self, stream):
        capture = self._ended(int(stream))
        if capture is None or capture.broken:
            why = "illegal state" if capture is None else f"invalidated ({capture.broken})"
            raise WorkFailed(f"CUDA's cudaStreamEndCapture failed: {why}; free the GPU or its memory and try again")
        before = _before(capture.tails[int(stream)])
        if any(work not in before for tail in capture.tails.values() for work in tail):
            self._fail("cudaStreamEndCapture", "capturing stream has unjoined work")
        self._next += 1
        self.graphs[self._next] = _latest_first(capture.works)
        self.log.append(("record_graph", len(capture.works)))
        return self._next

    def abandon_capture(self, stream):
        self._ended(int(stream))

    def _ended(self, stream: int) -> Capture | None:
        capture = self._captures.get(stream)
        if capture is None or capture.origin != stream or capture.thread != threading.get_ident():
            return None
        capture.ended = True
        self._captures = {key: one for key, one in self._captures.items() if one is not capture}
        return capture

    def launch(self, graph, stream):
        self.log.append(("launch", stream))
        works = self.graphs[graph]

        def replay() -> None:
            for work in works:
                if work.action is not None:
                    work.action()

        self._put(int(stream), replay)

    def destroy_graph(self, graph):
        self.unsafe("cudaGraphExecDestroy")
        self.log.append(("destroy_graph",))
        del self.graphs[graph]

    # --- kernels: machine code is only looked at, and the host's build of the same source computes

    def load_module(self, code):
        self.unsafe("cuModuleLoadData")
        if not code.startswith(b"\x7fELF"):
            self._fail("cuModuleLoadData", "device kernel image is invalid")
        self._next += 1
        self.modules[self._next] = code
        return self._next

    def unload_module(self, module):
        self.unsafe("cuModuleUnload")
        self.finish()
        del self.modules[module]

    def kernel(self, module, name):
        if name.encode() not in self.modules[module]:
            self._fail("cuModuleGetFunction", "named symbol not found")
        return name

    def launch_kernel(self, kernel, grid, block, arguments, stream):
        copied = [type(argument).from_buffer_copy(argument) for argument in arguments]
        fields = [getattr(one, "value", None) or getattr(one, "data", None) for one in copied]
        self.log.append(("kernel", kernel))
        host = HostKernels.open()
        self.enqueue(
            stream, lambda: host.launch(kernel, grid, block, copied), *[one for one in fields if isinstance(one, int)]
        )


def _run(works: tuple[Work, ...]) -> None:
    stack = list(works)
    while stack:
        work = stack[-1]
        waiting = [] if work.done else [one for one in work.after if not one.done]
        if waiting:
            stack.extend(waiting)
            continue
        stack.pop()
        if not work.done:
            work.done, work.after = True, ()
            if work.action is not None:
                work.action()


def _before(works: tuple[Work, ...]) -> set[Work]:
    found: set[Work] = set()
    stack = list(works)
    while stack:
        work = stack.pop()
        if work not in found:
            found.add(work)
            stack.extend(work.after)
    return found


def _latest_first(works: list[Work]) -> list[Work]:
    """An order that keeps only what was asked for: whatever may run early although it was put last, does."""
    number = {work: k for k, work in enumerate(works)}
    missing = {work: len({one for one in work.after if one in number}) for work in works}
    then: dict[Work, list[Work]] = {work: [] for work in works}
    for work in works:
        for one in set(work.after) & set(number):
            then[one].append(work)
    ready = [-number[work] for work in works if not missing[work]]
    heapq.heapify(ready)
    order = []
    while ready:
        order.append(works[-heapq.heappop(ready)])
        for work in then[order[-1]]:
            missing[work] -= 1
            if not missing[work]:
                heapq.heappush(ready, -number[work])
    return order


def view(address: int, shape: tuple[int, ...], dtype: np.dtype | type = np.float32) -> np.ndarray:
    """Memory as an array."""
    dtype = np.dtype(dtype)
    memory = (ctypes.c_char * (int(np.prod(shape)) * dtype.itemsize)).from_address(address)
    return np.frombuffer(memory, dtype).reshape(shape)
