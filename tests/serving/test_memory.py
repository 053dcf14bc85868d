"""What a server keeps of the memory that it has freed, and what goes back."""

import gc
import subprocess
import sys
import time
import weakref

from harmonyrt.serving.memory import giving_back

_PROGRAM = """
import contextlib, sys, time
from pathlib import Path

from harmonyrt.serving.memory import giving_back, keep_freed_memory

assert keep_freed_memory()

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

with giving_back(0.05) if sys.argv[1] == "back" else contextlib.nullcontext():
    blocks = [bytearray(1 << 20) for _ in range(200)]
    for block in blocks:
        block[:] = b"x" * len(block)
    last = blocks[-1]  # nothing below it can go back by itself
    del blocks, block
    begun = time.process_time()
    full = resident()
    while time.process_time() < 0.5 + begun:  # without work there is nothing to give back
        sum(range(1000))
    end = time.monotonic() + 60
    while sys.argv[1] == "back" and resident() > full - 150 and time.monotonic() < end:
        time.sleep(0.02)
print(resident())
"""


def _resident_megabytes(how: str) -> int:
    command = [sys.executable, "-c", _PROGRAM, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_gaps_between_what_lives_go_back_to_the_system():
    kept, given_back = _resident_megabytes("kept"), _resident_megabytes("back")
    assert kept > given_back + 150


def test_cycles_that_refused_requests_leave_go_too():
    class Held:
        pass

    gc.disable()  # it could come by otherwise
    try:
        with giving_back(0.05):
            held = Held()
            held.itself = held
            gone = weakref.ref(held)
            del held
            end = time.monotonic() + 60
            while gone() is not None:
                assert time.monotonic() < end
    finally:
        gc.enable()
