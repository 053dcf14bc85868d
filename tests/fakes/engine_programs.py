"""Programs that open a bundle in their own process, to see how it forks and ends."""

import subprocess
import sys

_BEGINNING = """
import atexit, multiprocessing, os, signal, sys, threading, time, warnings
import numpy as np
warnings.simplefilter("ignore")  # Python's own, about forks of processes with threads
from harmonyrt.runtime import Harmonizer, HarmonyError
bundle, backend = sys.argv[1:3]
composite = np.random.default_rng(0).integers(0, 256, (1500, 1400, 3), dtype=np.uint8)  # large enough for our own pool
mask = np.zeros((1500, 1400), np.uint8)
mask[300:900, 300:900] = 255

def opened():
    return Harmonizer.open(bundle, backend=backend, threads=2, cache="")
"""


def run_program(script, code, bundle, backend, timeout):
    """Write `code` to `script`, after imports, a picture and `opened()`; what it printed, and how it ended."""
    script.write_text(_BEGINNING + code)
    command = [sys.executable, str(script), str(bundle), backend]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)
