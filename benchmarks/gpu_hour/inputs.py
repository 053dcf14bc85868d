"""What the result of a part depends on, as one hash: parts whose inputs stayed the same are not done again."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from pathlib import Path
from typing import Any

from harmonyrt.benchmarks import gpu_machine
from harmonyrt.benchmarks.gpu_hour.hour import ROOT
from harmonyrt.benchmarks.gpu_hour.parts import Part
from harmonyrt.benchmarks.gpu_hour.records import SCHEMA

_ROOMS = ("benchmarks", "calibration", "cli", "common", "evaluation", "export", "models", "runtime", "weights")
_SUFFIXES = (".py", ".cu", ".cuh", ".h", ".hpp", ".cpp", ".safetensors", ".png", ".npz", ".json")
_LEFT_OUT = ("results", "__pycache__", "build")
_STEADY = ("name", "driver_version", "compute_cap", "memory.total", "power.limit")


def source_digest(rooms: tuple[str, ...]) -> str:
    """SHA-256 over the names and contents of the code, weights and data of some rooms."""
    digest = hashlib.sha256()
    for room in rooms:
        for folder, folders, names in os.walk(ROOT / room):
            folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
            for name in sorted(names):
                if name.endswith(_SUFFIXES):
                    path = Path(folder) / name
                    digest.update(f"{path.relative_to(ROOT)}\0".encode())
                    digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def inputs_of(part: Part, machine: dict[str, Any], dry: bool, options: dict[str, Any], sources: dict[str, str]) -> dict:
    """What a part's result depends on.

    Args:
        part: the part.
        machine: what :func:`harmonyrt.benchmarks.gpu_suite.machine` found.
        dry: whether stand-ins are used.
        options: of the run.
        sources: digests of the code by ``"product"`` and ``"tests"``.
    """
    gpu = machine["card"]
    return {
        "schema": SCHEMA,
        "part": part.name,
        "dry": dry,
        "seconds": part.seconds,
        "options": options,
        "source": sources["product"],
        "tests": sources["tests"] if part.with_tests else None,
        "gpu": None if gpu is None else {key: gpu[key] for key in _STEADY if key in gpu},
        "python": platform.python_version(),
        "versions": gpu_machine.versions(),
        "tools": {tool: shutil.which(tool) for tool in part.tools},
    }


def sources() -> dict[str, str]:
    """Digests of the code that parts depend on."""
    return {"product": source_digest(_ROOMS), "tests": source_digest(("tests",))}


def digest_of(inputs: dict[str, Any]) -> str:
    """The hash of a part's inputs."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
