"""`torchrun --nproc-per-node N -m harmonyrt.training OPTIONS`: `harmonyrt train` in several processes.

`train-diffharmony` as the first word trains DiffHarmony instead. This is the command line under a name that torchrun
can start; the room itself knows nothing of the command line, which is imported by name here alone.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import time

from harmonyrt.common.signals import ended_at_once

VERBS = ("train", "train-diffharmony")
HELD_BACK = 3.0
"""Seconds after which a process that is not the first one says why it failed. What fails in all of them is said once:
torchrun ends the others meanwhile."""


def main(arguments: list[str]) -> int:
    """Run the verb; return its exit code."""
    verb, rest = (arguments[0], arguments[1:]) if arguments[:1] and arguments[0] in VERBS else ("train", arguments)
    with ended_at_once():
        run = importlib.import_module("harmonyrt.cli.main").main
    rank = int(os.environ.get("RANK", "0"))
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and any(word.split("=")[0] == "--preset" for word in rest):
        if rank == 0:
            print("error: --preset is for one process; run harmonyrt train with it, without torchrun", file=sys.stderr)
        return 2
    if rank == 0:
        return run([verb, *rest])
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        code = run([verb, *rest])
    if code:
        time.sleep(HELD_BACK)
        print(f"process {rank}: {said.getvalue().strip()}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
