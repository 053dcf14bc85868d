"""Signals wait for native code that cannot be left by an exception."""

import subprocess
import sys

import pytest

SCRIPT = """
import signal, sys
from harmonyrt.common.signals import held_signals

signal.signal(signal.SIGINT, {handler})
try:
    with held_signals() as came:
        print(came())
        signal.raise_signal(signal.SIGINT)
        print(came())
    print("after")
except KeyboardInterrupt:
    print("interrupted", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        ("signal.default_int_handler", ["False", "True", "interrupted", "True"]),
        ("signal.SIG_IGN", ["False", "False", "after"]),  # as a shell starts programs in the background
    ],
)
def test_a_signal_is_delivered_at_the_end(handler, said):
    program = [sys.executable, "-c", SCRIPT.format(handler=handler)]
    assert subprocess.run(program, capture_output=True, text=True, check=True).stdout.split() == said
