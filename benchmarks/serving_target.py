"""The server under load: `harmonyrt serve`, one of whose sessions dies on SIGUSR1."""

from __future__ import annotations

import runpy
import signal
import sys
from collections.abc import Sequence
from typing import Any

from harmonyrt.runtime.network import FeedForward, Prepared


def kill_sessions_on_signal() -> None:
    """From the next SIGUSR1 on, the session that runs next fails at this and every later call."""
    due: list[int] = []
    run = FeedForward.run

    def mortal(self: FeedForward, pictures: Sequence[Prepared], options: Any = None) -> Any:
        if due:
            due.pop()
            self.killed = True  # type: ignore[attr-defined]
        if getattr(self, "killed", False):
            raise RuntimeError("this session was killed by the benchmark")
        return run(self, pictures, options)

    FeedForward.run = mortal  # type: ignore[method-assign]
    signal.signal(signal.SIGUSR1, lambda number, frame: due.append(number))


if __name__ == "__main__":
    kill_sessions_on_signal()
    sys.argv[1:1] = ["serve"]
    runpy.run_module("harmonyrt.cli", run_name="__main__")  # as a user starts it
