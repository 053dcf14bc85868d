"""Which machine this is, as measurements name it, and how many cores this process may use."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path


def cores() -> int:
    """CPU cores that this process may use, whole ones, at least 1."""
    return max(1, int(cores_granted()))


def cores_granted() -> float:
    """CPU cores that this process gets: its affinity, or a container's quota (cgroup 2) where that is less."""
    granted = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
        granted = min(granted, round(int(quota) / int(period), 2))
    return granted


def machine_name() -> str:
    """CPU model and granted cores, for example ``"AMD EPYC 9R14, 2 cores"``: equal names mean comparable timings."""
    return f"{cpu_model_and_flags()[0]}, {cores()} cores"


def cpu_model_and_flags() -> tuple[str, frozenset[str]]:
    """The processor's name, and its features as Linux names them (empty elsewhere)."""
    model, flags = platform.processor() or platform.machine() or "unknown CPU", frozenset[str]()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = " ".join(value.split())
            elif key.strip() in ("flags", "Features"):
                flags = frozenset(value.split())
                break
    return model, flags


def may_have_card() -> bool:
    """Whether an NVIDIA card could be there: True where it cannot be told without asking the driver."""
    if platform.system() != "Linux":
        return True
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()
