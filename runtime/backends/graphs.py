"""Recording CUDA graphs: what is put on a stream is kept instead of run, and launched as one piece later.

Rules: CUDA programming guide, "Stream capture"; for TensorRT its developer guide, "CUDA Graphs" (an engine runs plainly
before it is recorded; not every engine can be).
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.backends import cuda
from harmonyrt.runtime.caller import warn

Result = TypeVar("Result")


def record(device: cuda.Cuda, stream: Any, work: Callable[[], Result]) -> tuple[Any, Result]:
    """Record what `work` puts on a stream, and on streams that it orders behind that one and back.

    Nothing of it runs now. `work` may neither wait for the GPU nor ask it for memory, and may copy only between
    places of the GPU; otherwise CUDA refuses the recording. Whatever goes wrong, the stream can be used again.

    Args:
        device: CUDA.
        stream: any but the default one, which cannot be recorded.
        work: called once.

    Returns:
        The graph, which the caller destroys, and what `work` returned.

    Raises:
        WorkFailed: CUDA refused something.
    """
    with _no_collection():
        device.begin_capture(stream)
        try:
            result = work()
            return device.end_capture(stream), result
        except BaseException:
            device.abandon_capture(stream)
            raise


def record_if_possible(
    device: cuda.Cuda, stream: Any, work: Callable[[], Result], what: str
) -> tuple[Any, Result] | None:
    """:func:`record`, or None where CUDA or TensorRT refuses; do the work plainly then, and do not try it again.

    Args:
        device: CUDA.
        stream: any but the default one.
        work: called once.
        what: subject of the warning's sentence, for example ``"the loop"``.

    Warns:
        HarmonyWarning: it was refused, and why.
    """
    try:
        return record(device, stream, work)
    except HarmonyError as error:
        message = f"{what} cannot be recorded as one CUDA graph and runs without, a little slower: {error}"
        warn(message)
        return None


_collecting = threading.Lock()
_recordings = 0
_was_enabled = True


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Python's cyclic collector could free device memory of somebody else in between, which breaks the recording.

    Several threads may record at once: the last one switches it on again.
    """
    global _recordings, _was_enabled
    with _collecting:
        if _recordings == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _recordings += 1
    try:
        yield
    finally:
        with _collecting:
            _recordings -= 1
            if _recordings == 0 and _was_enabled:
                gc.enable()
