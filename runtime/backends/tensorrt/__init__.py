"""TensorRT and TensorRT for RTX: runs plans on an NVIDIA GPU.

Here it is decided whether a plan fits the machine, and opened; a session (`session`) runs it.
"""

from __future__ import annotations

import re
from pathlib import Path

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.backends import SessionOptions, cuda
from harmonyrt.runtime.backends.tensorrt import versions as tensorrt_versions
from harmonyrt.runtime.backends.tensorrt.cache import KernelCache
from harmonyrt.runtime.backends.tensorrt.engine import load_plan
from harmonyrt.runtime.backends.tensorrt.plan import read_header
from harmonyrt.runtime.backends.tensorrt.session import TensorRTSession
from harmonyrt.runtime.backends.tensorrt.versions import DISPLAY_NAME, DRIVER_OF_CUDA, named
from harmonyrt.runtime.manifest import EngineSpec, Manifest

NAME = "tensorrt"
TARGETS = ("tensorrt", "tensorrt-rtx")


def why_not(engine: EngineSpec, options: SessionOptions) -> str | None:
    """Why this backend cannot run `engine` here with `options`, with what to do; None when it can."""
    if engine.target not in TARGETS:
        return f"it opens no {engine.target} engines, only {' and '.join(TARGETS)}"
    index = _device_index(options.device)
    if index is None:
        return f"it runs on NVIDIA GPUs, and device {options.device!r} was asked for: give cuda or cuda:N"
    compatible = engine.needs.get("version_compatible") == "true"
    try:
        tensorrt_versions.check_installed(engine.target, compatible)
        device = cuda.open_cuda()
        count = device.device_count()
        if index >= count:
            found = f"{count} GPU{'s' * (count > 1)}" if count else f"no usable NVIDIA GPU ({device.why_no_device()})"
            return f"found {found}, need device cuda:{index}: check nvidia-smi and the driver, or use another engine"
        trt = tensorrt_versions.load_to_run(engine.target, compatible)
    except HarmonyError as error:
        return str(error)
    if compatible and tensorrt_versions.is_lean(trt):
        compatible = False  # each lean runtime opens the plans of its own release
    return _unfit(engine, trt.__version__, compatible, device, index)


def _unfit(engine: EngineSpec, version: str, compatible: bool, device: cuda.Cuda, index: int) -> str | None:
    """Why a plan does not fit version, GPU and driver: found, need, run."""
    needs, name = engine.needs, DISPLAY_NAME[engine.target]
    rebuild = f"run harmonyrt build phnet --targets {engine.target} on this machine"
    wanted = needs.get("version")
    if wanted and not tensorrt_versions.version_fits(wanted, version, compatible):
        at_least = " or newer" if compatible else ""
        return f"found {name} {version}, need {wanted}{at_least}: {rebuild}, or install that version"
    capability = device.capability(index)
    gpu = f"{device.name(index)} with compute capability {named(capability)}"
    admitted = needs.get("compute_capability")
    if admitted and not tensorrt_versions.admits(admitted, capability):
        return f"found {gpu}, need {admitted}: {rebuild}"
    refusal = tensorrt_versions.why_unsupported(engine.target, version, capability)
    if refusal:
        return refusal
    major = int(needs.get("cuda", 0))
    if device.driver() < major:
        driver = needs.get("driver", DRIVER_OF_CUDA.get(major, "a newer one"))
        return f"found a driver for CUDA {device.driver()}, need CUDA {major}: install driver {driver} or newer"
    return None


def open_session(path: Path, engine: EngineSpec, manifest: Manifest, options: SessionOptions) -> TensorRTSession:
    """Load a plan and make a session of it.

    Args:
        path: the verified engine file: plans are code, so only ones whose hash matched may come here.
        engine: what the manifest says of it.
        manifest: the bundle's manifest.
        options: device, and the folder in which TensorRT for RTX keeps the kernels that it compiled.

    Raises:
        HarmonyError: the plan does not fit this machine (found, need, what to run), or does not open.
    """
    reason = why_not(engine, options)
    if reason is not None:
        raise HarmonyError(f"{path} cannot run here: {reason}")
    header = read_header(path)
    wanted = engine.needs.get("version")
    if header is not None and wanted and not tensorrt_versions.version_fits(wanted, header.version):
        raise HarmonyError(f"{path} is of version {header.version}, its manifest says {wanted}; build the bundle again")
    index = _device_index(options.device) or 0
    plan = load_plan(path, engine, index)
    kernels = None
    if engine.target == "tensorrt-rtx":
        version = tensorrt_versions.load(engine.target).__version__
        kernels = KernelCache.choose(options.cache, engine.files[0].sha256, version, plan.device_name)
    return TensorRTSession(plan, kernels)


def _device_index(device: str | None) -> int | None:
    """``"cuda:1"`` -> 1; None for a device that is no NVIDIA GPU."""
    match = re.fullmatch(r"cuda(?::(\d+))?", device or "cuda")
    return int(match[1] or 0) if match else None
