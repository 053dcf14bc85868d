"""Which TensorRT runs on which GPU: one table, read by the exporter, the runtime and `harmonyrt doctor`.

Nothing here imports TensorRT or CUDA. A *capability* is a GPU's compute capability, for example ``(8, 9)``.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import sys
from dataclasses import dataclass
from types import ModuleType

from harmonyrt.common import HarmonyError
from harmonyrt.common.telemetry import import_quietly

Capability = tuple[int, int]

DISPLAY_NAME = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT for RTX"}
V100: Capability = (7, 0)


@dataclass(frozen=True)
class Series:
    """Consecutive releases that support the same GPUs.

    Attributes:
        target: ``"tensorrt"`` or ``"tensorrt-rtx"``.
        first: first release of the series, as a prefix of its version number.
        last: last release, as a prefix; None for a series that goes on.
        lowest: lowest compute capability.
        only: every capability that it takes, where that is no plain range.
        bf16_from: lowest capability with BF16; None where the series has no BF16.
        cuda: CUDA major versions that it comes built for.
        install: what to give to pip.
        source: where the numbers are from.
    """

    target: str
    first: tuple[int, ...]
    last: tuple[int, ...] | None
    lowest: Capability
    only: tuple[Capability, ...] = ()
    bf16_from: Capability | None = (8, 0)
    cuda: tuple[int, ...] = (12,)
    install: str = ""
    source: str = ""

    def takes(self, capability: Capability) -> bool:
        """Whether it runs on GPUs of a compute capability."""
        return capability in self.only if self.only else capability >= self.lowest

    def __contains__(self, version: tuple[int, ...]) -> bool:
        return version[: len(self.first)] >= self.first and (
            self.last is None or version[: len(self.last)] <= self.last
        )


_DOCS = "docs.nvidia.com/deeplearning"
SERIES = (
    Series(
        "tensorrt", (8, 6), (8, 6), (7, 0), bf16_from=None, cuda=(11, 12),
        install="'tensorrt==8.6.0' 'nvidia-cudnn-cu12<9'",
        source=f"{_DOCS}/tensorrt/archives/tensorrt-861/support-matrix",
    ),
    Series(
        "tensorrt", (10, 0), (10, 4), (7, 0), cuda=(11, 12), install="'tensorrt-cu12==10.4.0'",
        source=f"{_DOCS}/tensorrt/archives/tensorrt-1010/support-matrix (SM 7.0 or higher)",
    ),
    Series(
        "tensorrt", (10, 5), (10, 99), (7, 5), cuda=(12, 13), install="'tensorrt>=10.5,<11'",
        source=f"{_DOCS}/tensorrt/latest/getting-started/release-notes-10/10.5.0.html (Volta support removed)",
    ),
    Series(
        "tensorrt", (11,), None, (7, 5), cuda=(12, 13), install="'tensorrt>=11'",
        source=f"{_DOCS}/tensorrt/11.0.0/getting-started/release-notes-11/11.0.0.html",
    ),
    Series(
        "tensorrt-rtx", (1,), None, (7, 5), only=((7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1)), cuda=(12, 13),
        install="'harmonyrt[tensorrt-rtx]'",
        source=f"{_DOCS}/tensorrt-rtx/latest/getting-started/support-matrix-1/1.5.html, and the ComputeCapability"
        " enumeration of 1.7.1 for 8.0 and 12.1",
    ),
)  # fmt: skip

DRIVER_OF_CUDA = {11: "450", 12: "525", 13: "580"}
"""Oldest Linux driver of each CUDA major version (docs.nvidia.com/deploy/cuda-compatibility, minor version
compatibility)."""

_MODULES = {"tensorrt": ("tensorrt",), "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings")}
_LEAN_MODULES = ("tensorrt_lean", "tensorrt_lean_bindings")
_DISTRIBUTIONS = {
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu11"),
    "tensorrt-rtx": ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu12-bindings", "tensorrt-rtx"),
}


def check_installed(target: str, version_compatible: bool = False) -> None:
    """Look for the package without loading its libraries.

    Args:
        target: ``"tensorrt"`` or ``"tensorrt-rtx"``.
        version_compatible: the lean runtime's package serves too: see :func:`load_to_run`.

    Raises:
        HarmonyError: not installed.
    """
    if not any(map(_is_there, (*_MODULES[target], *(_LEAN_MODULES if version_compatible else ())))):
        raise _missing(target)


def _is_there(module: str) -> bool:
    return module in sys.modules or importlib.util.find_spec(module) is not None


def _missing(target: str) -> HarmonyError:
    return HarmonyError(
        f"{DISPLAY_NAME[target]} needs the package {_MODULES[target][0]}, which is not installed:"
        f" run pip install 'harmonyrt[{target}]'"
    )


def load(target: str) -> ModuleType:
    """Import the package that builds and runs `target`: `tensorrt`, or `tensorrt_rtx` under any of its names.

    Raises:
        HarmonyError: not installed, or its libraries do not load.
    """
    for name in _MODULES[target]:
        try:
            if name == "tensorrt_rtx_bindings":
                _load_rtx_libraries()
            return import_quietly(name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] not in _MODULES[target]:
                raise
        except (ImportError, OSError) as error:
            raise HarmonyError(
                f"{DISPLAY_NAME[target]} is installed and does not load ({error}): run"
                f" pip install --force-reinstall 'harmonyrt[{target}]'"
            ) from None
    raise _missing(target)


def load_to_run(target: str, version_compatible: bool) -> ModuleType:
    """Import what opens plans: the package of :func:`load`; for version-compatible plans, where it is missing, that of
    the lean runtime, which is much smaller and opens the plans of its own release.

    Raises:
        HarmonyError: not installed, or its libraries do not load.
    """
    if version_compatible and not any(map(_is_there, _MODULES[target])):
        for name in filter(_is_there, _LEAN_MODULES):
            try:
                return import_quietly(name)
            except (ImportError, OSError) as error:
                raise HarmonyError(
                    f"TensorRT's lean runtime is installed and does not load ({error}): install its packages again"
                ) from None
    return load(target)


def is_lean(trt: ModuleType) -> bool:
    """Whether a module is that of the lean runtime."""
    return getattr(trt, "__name__", "").startswith("tensorrt_lean")


def _load_rtx_libraries() -> None:
    """The wheel of TensorRT for RTX brings its libraries in a separate package, whose import loads them."""
    try:
        importlib.import_module("tensorrt_rtx_libs")
    except ModuleNotFoundError as error:
        if error.name != "tensorrt_rtx_libs":
            raise  # a system-wide installation has them on the loader's path


def installed(target: str) -> str | None:
    """Version of the installed package, found without importing it; None where there is none."""
    for name in _DISTRIBUTIONS[target]:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def cuda_major(target: str) -> int | None:
    """CUDA major version that the installed package was built for, where its name tells it."""
    prefix = "tensorrt-rtx-cu" if target == "tensorrt-rtx" else "tensorrt-cu"
    for major in sorted(DRIVER_OF_CUDA, reverse=True):
        for suffix in ("", "-libs", "-bindings"):
            try:
                importlib.metadata.version(f"{prefix}{major}{suffix}")
            except importlib.metadata.PackageNotFoundError:
                continue
            return major
    return None


def parse_version(text: str) -> tuple[int, ...]:
    """``"10.4.0.26"`` -> ``(10, 4, 0, 26)``; what follows the numbers is dropped."""
    return tuple(int(number) for number in re.findall(r"\d+", re.split(r"[^\d.]", text)[0]))


def series_of(target: str, version: str) -> Series | None:
    """The series that a release belongs to; None for one that the table does not know."""
    return next((s for s in SERIES if s.target == target and parse_version(version) in s), None)


def named(capability: Capability) -> str:
    """``(8, 9)`` -> ``"8.9"``."""
    return f"{capability[0]}.{capability[1]}"


def parse_capability(text: str) -> Capability:
    """``"8.9"`` -> ``(8, 9)``.

    Raises:
        HarmonyError: any other text.
    """
    match = re.fullmatch(r"\s*(?:sm_?)?(\d+)\.?(\d)\s*", text, re.IGNORECASE)
    if match is None:
        raise HarmonyError(f"compute capability {text!r} is not of the form 8.9; give one like 7.5, 8.6 or 12.0")
    return int(match[1]), int(match[2])


def admits(need: str, capability: Capability) -> bool:
    """Whether a manifest's `compute_capability` ("8.9", "8.6, 8.9", "8.0+") covers a GPU."""
    for part in need.split(","):
        wanted = parse_capability(part.strip().rstrip("+"))
        if capability == wanted or (part.strip().endswith("+") and capability >= wanted):
            return True
    return False


def version_fits(need: str, found: str, compatible: bool = False) -> bool:
    """Whether a runtime of version `found` opens a plan of version `need`; `compatible` plans open in later ones.

    Versions are compared as far as both are given (``__version__`` has three numbers or four).
    """
    needed, having = parse_version(need), parse_version(found)
    length = min(len(needed), len(having))
    return having[:length] >= needed[:length] if compatible else having[:length] == needed[:length]


def why_unsupported(target: str, version: str, capability: Capability) -> str | None:
    """Why a release does not support a GPU, with what to install instead; None when it does or is unknown."""
    series = series_of(target, version)
    if series is None or series.takes(capability):
        return None
    return (
        f"{DISPLAY_NAME[target]} {version} does not run on compute capability {named(capability)}: {advice(capability)}"
    )


def advice(capability: Capability) -> str:
    """What to install for a GPU, newest series first, as the end of a sentence."""
    fitting = [s for s in reversed(SERIES) if s.target == "tensorrt" and s.takes(capability)]
    if not fitting:
        return "no TensorRT that this program knows takes it; use ONNX Runtime"
    if capability < (7, 5):
        return (
            f"install the last series that takes it, pip install {fitting[0].install} with CUDA 12"
            " (see docs/v100.md), or use ONNX Runtime's CUDA provider"
        )
    return f"pip install {fitting[0].install}"
