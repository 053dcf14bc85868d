"""Which machine this is, as measurements name it, and how many cores this process may use."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_name() -> str:
    """CPU model and granted cores, for example ``"AMD EPYC 9R14, 2 cores"``: equal names mean comparable timings."""
    return f"{_cpu_model()}, {cores()} cores"


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown CPU"
