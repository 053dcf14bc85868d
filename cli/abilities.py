"""What a machine can do, and how to add what it cannot.

The facts about GPUs, drivers and TensorRT releases, with their sources, are the table in
`harmonyrt.runtime.backends.tensorrt.versions`, which the exporter and the runtime read too.
"""

from __future__ import annotations

from dataclasses import dataclass

from harmonyrt.common import HarmonyError
from harmonyrt.runtime import native
from harmonyrt.runtime.backends.tensorrt import versions as trt
from harmonyrt.runtime.cpu_speed import WORTHWHILE, CpuSpeed
from harmonyrt.runtime.machine_report import Machine

_BUILD = ("torch", "onnx", "onnxscript", "safetensors")
_TRAIN = ("torch", "safetensors", "matplotlib")
_DEEP = ("tifffile", "imagecodecs")
_CUDA_PROVIDER = "CUDAExecutionProvider"


@dataclass(frozen=True)
class Ability:
    """Something that people want to do here.

    Attributes:
        what: for example ``"run bundles with OpenVINO on the CPU"``.
        able: whether it can be done.
        why: what it runs with, or what prevents it.
        to_do: what would make it possible or better; empty if there is nothing to do.
    """

    what: str
    able: bool
    why: str = ""
    to_do: str = ""


def abilities(machine: Machine, speed: CpuSpeed | None = None) -> list[Ability]:
    """What `machine` can do; `speed` is what was measured of its CPU."""
    return [
        _onnxruntime(machine),
        _openvino(machine, speed),
        _native(machine, speed),
        _onnxruntime_cuda(machine),
        _tensorrt(machine, "tensorrt"),
        _tensorrt(machine, "tensorrt-rtx"),
        _with_packages(machine, "build bundles from checkpoints (harmonyrt build, verify)", _BUILD, "build"),
        _build_ahead(machine),
        _with_packages(machine, "train and synthesize", _TRAIN, "train"),
        _with_packages(machine, "read 16-bit TIFFs of every kind", _DEEP, "deep"),
        _with_packages(machine, "harmonize clips (harmonyrt video)", ("av",), "video"),
        *_notes_about_gpus(machine),
    ]


def _onnxruntime(machine: Machine) -> Ability:
    what, version = "run bundles with ONNX Runtime on the CPU", machine.packages["onnxruntime"]
    if version is None:
        return Ability(what, False, "onnxruntime is not installed", "pip install onnxruntime")
    if not machine.providers:
        return Ability(what, False, f"onnxruntime {version} does not load", "pip install --force-reinstall onnxruntime")
    return Ability(what, True, f"onnxruntime {version}")


def _openvino(machine: Machine, speed: CpuSpeed | None) -> Ability:
    what, version = "run bundles with OpenVINO on the CPU", machine.packages["openvino"]
    if version is None:
        return Ability(what, False, "openvino is not installed", "pip install 'harmonyrt[openvino]'")
    return Ability(what, True, "; ".join([f"openvino {version}", *_precisions(speed)]))


def _native(machine: Machine, speed: CpuSpeed | None) -> Ability:
    what = "run engines of native kernels (harmonyrt build --rewrites native)"
    reasons = {
        backend: native.why_not(native.VERSION, backend)
        for backend in ("openvino", "onnxruntime")
        if machine.packages[backend] is not None
    }
    if not reasons:
        return Ability(what, False, "neither openvino nor onnxruntime is installed")
    backends: dict[str | None, list[str]] = {}
    for backend, reason in reasons.items():
        backends.setdefault(reason, []).append(backend)
    able = backends.pop(None, [])
    missing = [f"not in {' or '.join(names)}: {reason}" for reason, names in backends.items()]
    gains = [] if speed is None else [(name, speed.native_gain(name)) for name in ("fp32", "bf16", "int8")]
    measured = ", ".join(f"{name} {gain:.1f}" for name, gain in gains if gain is not None)
    found = [f"in {' and '.join(able)}"] if able else []
    found += [f"times as fast as OpenVINO's own convolutions, measured: {measured}"] if measured else []
    return Ability(what, bool(able), "; ".join([*found, *missing]))


def _precisions(speed: CpuSpeed | None) -> list[str]:
    """Which bundles are faster than FP32 ones here, by measurement: feature flags do not tell."""
    if speed is None:
        return []
    words = []
    for precision in ("bf16", "fp16", "int8"):
        times = speed.against_fp32(precision)
        if times is not None and times < WORTHWHILE:
            words.append(f"{precision} bundles are worthwhile: measured {1 / times:.1f} times as fast as fp32")
        elif times is not None and precision != "int8":
            words.append(f"{precision} is no faster than fp32 here: measured {times:.2f} times its time")
    return words


def _onnxruntime_cuda(machine: Machine) -> Ability:
    what = "run bundles with ONNX Runtime on a GPU"
    has_provider = _CUDA_PROVIDER in machine.providers
    install = "pip uninstall onnxruntime && pip install onnxruntime-gpu"
    if not machine.cards:
        return Ability(what, False, "there is no GPU" + (", though the package is there" if has_provider else ""))
    if not has_provider:
        return Ability(what, False, "the installed onnxruntime has no CUDA provider", install)
    return Ability(what, True, f"onnxruntime {machine.packages['onnxruntime']}, {machine.cards[0].name}")


def _tensorrt(machine: Machine, target: str) -> Ability:
    name, version = trt.DISPLAY_NAME[target], machine.packages[target]
    what = f"run {name} engines"
    if not machine.cards:
        return Ability(what, False, "there is no GPU" + (f"; {name} {version} is installed" if version else ""))
    gpu = machine.cards[0]
    capability = _capability(gpu.capability)
    if capability is None:
        return Ability(what, False, f"the compute capability of {gpu.name} is unknown", "update the NVIDIA driver")
    if not any(series.target == target and series.takes(capability) for series in trt.SERIES):
        return Ability(what, False, f"{name} does not run on {gpu.name} (compute capability {gpu.capability})")
    if version is None:
        install = trt.advice(capability) if target == "tensorrt" else "pip install 'harmonyrt[tensorrt-rtx]'"
        return Ability(what, False, f"{name} is not installed", install)
    refused = trt.why_unsupported(target, version, capability)
    if refused is not None:
        return Ability(what, False, refused, trt.advice(capability))
    need = _driver_needed(target)
    if need and machine.driver and trt.parse_version(machine.driver) < trt.parse_version(need):
        why = f"{name} {version} needs driver {need} or newer, found {machine.driver}"
        return Ability(what, False, why, f"update the NVIDIA driver to {need} or newer")
    if machine.packages["cuda-python"] is None:
        return Ability(what, False, "cuda-python is not installed", "pip install 'harmonyrt[cuda]'")
    return Ability(what, True, f"{name} {version} on {gpu.name}")


def _driver_needed(target: str) -> str | None:
    major = trt.cuda_major(target)
    return None if major is None else trt.DRIVER_OF_CUDA.get(major)


def _capability(text: str | None) -> trt.Capability | None:
    try:
        return trt.parse_capability(text or "")
    except HarmonyError:  # nvidia-smi said "[N/A]" or nothing
        return None


def _with_packages(machine: Machine, what: str, names: tuple[str, ...], extra: str) -> Ability:
    missing = [name for name in names if machine.packages.get(name) is None]
    if missing:
        return Ability(what, False, f"{', '.join(missing)} not installed", f"pip install 'harmonyrt[{extra}]'")
    return Ability(what, True, f"{names[0]} {machine.packages[names[0]]}")


def _build_ahead(machine: Machine) -> Ability:
    what = "build TensorRT for RTX engines for other machines, without a GPU"
    version = machine.packages["tensorrt-rtx"]
    if version is None:
        return Ability(what, False, "TensorRT for RTX is not installed", "pip install 'harmonyrt[build,tensorrt-rtx]'")
    return Ability(what, True, f"TensorRT for RTX {version}")


def _notes_about_gpus(machine: Machine) -> list[Ability]:
    """Notes for V100 owners."""
    return [
        Ability(
            f"use CUDA 13 and current TensorRT on {gpu.name}",
            False,
            f"compute capability {gpu.capability}: TensorRT 10.5 and later, 11, and CUDA 13 have dropped it",
            "stay with CUDA 12 and TensorRT 10.4 (pip install 'tensorrt-cu12==10.4.0') or 8.6; see docs/v100.md",
        )
        for gpu in machine.cards
        if _capability(gpu.capability) == trt.V100
    ]
