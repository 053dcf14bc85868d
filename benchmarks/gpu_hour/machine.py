"""What is here, as `harmonyrt doctor` and `nvidia-smi` tell it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from typing import Any

from harmonyrt.benchmarks.gpu_hour.hour import Hour, NotHere
from harmonyrt.common import WorkFailed
from harmonyrt.common.programs import module_command
from harmonyrt.runtime.machine_report import machine

_PROGRAMS = ("nvidia-smi", "nvcc", "trtexec", "compute-sanitizer", "nsys", "ncu")


def run(hour: Hour) -> None:
    """Machine, GPU, abilities, and which of NVIDIA's programs are here."""
    hour.step("machine", lambda: dataclasses.asdict(machine()))
    hour.step("nvidia-smi", lambda: _nvidia_smi(hour))
    hour.step("harmonyrt doctor", lambda: _doctor(hour))
    hour.step("programs", lambda: {name: shutil.which(name) or "not there" for name in _PROGRAMS})


def _nvidia_smi(hour: Hour) -> dict[str, Any]:
    if shutil.which("nvidia-smi") is None:
        raise NotHere("there is no nvidia-smi on the path: install NVIDIA's driver")
    ended = hour.command("nvidia-smi", ["nvidia-smi", "-q"], most=20)
    if ended.code != 0:
        raise WorkFailed(f"nvidia-smi failed: {ended.last_words}; check the driver")
    return {"log": "logs/doctor-nvidia-smi.log"}


def _doctor(hour: Hour) -> dict[str, Any]:
    """What can be done here, and what to install for the rest."""
    ended = hour.command("doctor", [*module_command("harmonyrt.cli"), "doctor", "--json"], most=40)
    if ended.code != 0:
        raise WorkFailed(f"harmonyrt doctor failed: {ended.last_words}")
    found = json.loads(ended.out)["abilities"]
    return {one["what"]: ("yes" if one["able"] else "no: " + one["why"]) for one in found}
