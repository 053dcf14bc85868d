"""Which machine this is, as measurements name it, and how many cores this process may use."""

from __future__ import annotations

import contextlib
import math
import os
import platform
from pathlib import Path, PurePosixPath


def cores() -> int:
    """CPU cores that this process may use: what it is granted, a fraction counting as a whole one."""
    return max(1, math.ceil(cores_granted()))


def cores_granted() -> float:
    """CPU cores that this process gets: its affinity, or its control groups' quota where that is less."""
    granted = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quota = cores_by_quota()
    return granted if quota is None else min(granted, quota)


def cores_by_quota(root: Path = Path("/")) -> float | None:
    """The least CPU quota of this process's control group and of those around it, in cores; None without one.

    Both versions of control groups are read: `cpu.max` of version 2, `cpu.cfs_quota_us` of version 1.

    Args:
        root: used in place of ``/`` (tests).
    """
    quotas = []
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines():
            number, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if number == "0" and not controllers:
                mounts = ["sys/fs/cgroup", "sys/fs/cgroup/unified"]
            elif "cpu" in controllers.split(","):
                mounts = [f"sys/fs/cgroup/{controllers}", "sys/fs/cgroup/cpu"]
            else:
                continue
            # A container sees its own group as the mount's root, and may see the host's path to it.
            group = PurePosixPath(path.lstrip("/"))
            for mount in mounts:
                quotas += [_quota(root / mount / folder) for folder in (group, *group.parents)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota(group: Path) -> float | None:
    """The quota of one control group, in cores."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = " ".join((group / name).read_text(encoding="utf-8") for name in names).split()
            if int(quota) > 0:  # "max" and -1 mean that there is none
                return round(int(quota) / int(period), 2)
    return None


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


def may_have_gpu() -> bool:
    """Whether an NVIDIA GPU may be present: True where only the driver could tell."""
    if platform.system() != "Linux":
        return True
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()
