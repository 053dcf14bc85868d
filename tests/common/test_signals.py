"""Signals wait for native code that cannot be left by an exception."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harmonyrt.common.signals import children_spared

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


STARTED = """
import runpy, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Finder())
sys.argv[1:] = ["--help"]
runpy.run_{how}({program!r}, run_name="__main__")
"""


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
@pytest.mark.parametrize(
    ("how", "program", "module"),
    [
        ("module", "harmonyrt.cli", "harmonyrt.cli.main"),
        ("module", "harmonyrt.training", "harmonyrt.cli.main"),
        ("path", "export/build_engines.py", "harmonyrt.export.build.options"),
    ],
)
def test_ctrl_c_while_a_program_starts_shows_no_stack_trace(how, program, module):
    code = STARTED.format(how=how, program=program, module=module)
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


@pytest.mark.skipif(os.name == "nt", reason="no signal masks on Windows")
def test_children_get_no_ctrl_c_before_they_can_ignore_it():
    asked = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    with children_spared():
        done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    assert done.stdout.split() == ["True"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
