"""Clocks and governor of the processor, where the system lets a program read them."""

from __future__ import annotations

import contextlib
from pathlib import Path

_CPU = Path("/sys/devices/system/cpu/cpu0/cpufreq")


def clocks() -> dict[str, str | float | None]:
    """Governor and highest clock of the first core, and its clock now, in MHz; None for what cannot be read."""
    governor = _read(_CPU / "scaling_governor")
    highest = _read(_CPU / "cpuinfo_max_freq")
    now = None
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "cpu MHz":
                now = round(float(value))
                break
    return {"governor": governor, "max_mhz": None if highest is None else int(highest) / 1000, "mhz": now}


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
