"""What this machine has: CPU, GPUs, driver and packages. Nothing here fails where something is missing."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass

from harmonyrt.common.telemetry import import_quietly
from harmonyrt.runtime.machine import cores_granted, cpu_model_and_flags

_FEATURES = {  # as /proc/cpuinfo names them on x86 and ARM: as people do
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI (int8)",
    "avx512_vnni": "AVX-512 VNNI (int8)",
    "avx512_bf16": "AVX-512 BF16",
    "avx512_fp16": "AVX-512 FP16",
    "amx_bf16": "AMX BF16",
    "amx_int8": "AMX INT8",
    "asimd": "NEON",
    "asimddp": "dot product (int8)",
    "i8mm": "I8MM (int8)",
    "bf16": "BF16",
    "sve": "SVE",
}
PACKAGES = {  # as people name them: distributions that may bring them, the first found counts
    "harmonyrt": ("harmonyrt",),
    "numpy": ("numpy",),
    "pillow": ("pillow",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu11"),
    "tensorrt-rtx": ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu12-bindings", "tensorrt-rtx"),
    "cuda-python": ("cuda-python", "cuda-bindings"),
    "nvrtc": ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12"),
    "torch": ("torch",),
    "onnx": ("onnx",),
    "onnxscript": ("onnxscript",),
    "safetensors": ("safetensors",),
    "matplotlib": ("matplotlib",),
    "tifffile": ("tifffile",),
    "imagecodecs": ("imagecodecs",),
    "simplejpeg": ("simplejpeg",),
    "av": ("av",),
}
_SECONDS_FOR_NVIDIA_SMI = 15


@dataclass(frozen=True)
class Cpu:
    """The processor: its cores, how many of them this process may use, and the features that inference gains from."""

    model: str
    cores: int
    cores_granted: float
    features: tuple[str, ...]


@dataclass(frozen=True)
class Gpu:
    """A CUDA GPU, as `nvidia-smi` describes it."""

    name: str
    capability: str | None
    memory: str


@dataclass(frozen=True)
class Machine:
    """Everything that decides what can run; versions are None where a package is not installed."""

    system: str
    python: str
    cpu: Cpu
    cards: tuple[Gpu, ...]
    driver: str | None
    packages: dict[str, str | None]
    providers: tuple[str, ...]


def machine() -> Machine:
    """Inspect this machine."""
    gpus, driver = _gpus()
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        cpu=_cpu(),
        cards=gpus,
        driver=driver,
        packages={name: _version(distributions) for name, distributions in PACKAGES.items()},
        providers=_providers(),
    )


def _version(distributions: tuple[str, ...]) -> str | None:
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return None


def _providers() -> tuple[str, ...]:
    try:
        return tuple(import_quietly("onnxruntime").get_available_providers())
    except Exception:  # not installed, or broken in one of the many ways in which binary packages break
        return ()


def _cpu() -> Cpu:
    model, flags = cpu_model_and_flags()
    features = tuple(label for flag, label in _FEATURES.items() if flag in flags)
    return Cpu(model, os.cpu_count() or 1, cores_granted(), features)


def _gpus() -> tuple[tuple[Gpu, ...], str | None]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return (), None
    for fields in ("name,compute_cap,driver_version,memory.total", "name,driver_version,memory.total"):
        rows = _asked(program, fields)
        if rows:
            gpus = tuple(Gpu(row[0], row[1] if len(row) == 4 else None, row[-1]) for row in rows)
            return gpus, rows[0][-2]
    return (), None


def _asked(program: str, fields: str) -> list[list[str]]:
    """Rows of `nvidia-smi`; none when it fails, as old ones do when asked for the compute capability."""
    command = [program, f"--query-gpu={fields}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS_FOR_NVIDIA_SMI)
    except (OSError, subprocess.SubprocessError):
        return []
    if done.returncode != 0:
        return []
    rows = [[part.strip() for part in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
    return [row for row in rows if len(row) == fields.count(",") + 1]
