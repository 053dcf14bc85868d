"""The two moments at which no other thread may be inside an engine library: a fork, and Python's end.

- A child that is forked while another thread compiles or runs an engine inherits the library's locks as that thread
  held them, and waits for ever when it opens a bundle itself (seen with OpenVINO 2026.4 in `compile_model`).
- When Python ends, it ends the threads that are still there (daemons) as they come back from native code, by unwinding
  their stacks through C++ that does not allow it: the process aborts (until Python 3.14, which leaves them waiting).

So a fork waits until the other threads have come out, and keeps them from going in until it is done; so does Python's
end, which never lets them in again. Both wait for so long only, and then go on as they would without this.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

from harmonyrt.common import HarmonyError

_BEFORE_FORK, _BEFORE_END = 60.0, 30.0  # seconds of patience; a step of an engine on a CPU is shorter
_PAUSE = 0.002
_ADVICE = "make the last calls, and close, before the program ends"

_inside: dict[int, int] = {}  # how deep each thread is in; Python's own lock makes each change of it whole
_alone: int | None = None  # the thread that has the libraries for itself
_ending = False
_before: list[Callable[[], None]] = []


def call_before_fork(work: Callable[[], None]) -> None:
    """Have something done before each fork, in its thread, when the others are out of the libraries."""
    _before.append(work)


@contextlib.contextmanager
def inside() -> Iterator[None]:
    """Around a call into an engine library. Waits while another thread forks; when Python ends, for good."""
    here = threading.get_ident()
    try:
        while True:
            _inside[here] = _inside.get(here, 0) + 1
            if _alone in (None, here) or _inside[here] > 1:
                break
            _leave(here)
            time.sleep(_PAUSE)
        yield
    finally:
        _leave(here)


def is_ending_here() -> bool:
    """Whether Python ends and this thread ends it: other threads that call an engine never come back."""
    return _ending and _alone == threading.get_ident()


def check_not_ending_here() -> None:
    """Refuse to wait for threads that never come back.

    Raises:
        HarmonyError: Python is ending, and this thread ends it.
    """
    if is_ending_here():
        raise HarmonyError(f"Python is ending, and another thread holds the engine: {_ADVICE}")


def check_not_finalizing() -> None:
    """Refuse work once Python takes its modules apart, after all that was registered with `atexit`.

    Raises:
        HarmonyError: it does.
    """
    if sys.is_finalizing():
        raise HarmonyError(f"Python is ending, and its modules are gone: {_ADVICE}")


def _leave(here: int) -> None:
    depth = _inside.get(here, 0)
    if depth > 1:
        _inside[here] = depth - 1
    else:
        _inside.pop(here, None)


def _keep_out(patience: float) -> None:
    """Have the libraries for this thread alone, as soon as the others have come out of them."""
    global _alone
    here, last = threading.get_ident(), time.monotonic() + patience
    while _alone not in (None, here) and time.monotonic() < last:
        time.sleep(_PAUSE)
    _alone = here
    while any(thread != here for thread in list(_inside)) and time.monotonic() < last:
        time.sleep(_PAUSE)


def _before_fork() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        _keep_out(_BEFORE_FORK)
    for work in _before:
        work()


def _after_fork_in_parent() -> None:
    global _alone
    if not _ending:
        _alone = None


def _after_fork_in_child() -> None:
    global _alone
    _inside.clear()
    _alone = None


def _at_end() -> None:
    global _ending
    _ending = True
    with contextlib.suppress(KeyboardInterrupt):
        _keep_out(_BEFORE_END)


atexit.register(_at_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
