"""Finds the libraries of fused CPU kernels that engines built with ``--rewrites native`` need.

The kernels themselves are C++, in `src`; each inference engine loads them from a library of its own: OpenVINO as an
extension, ONNX Runtime as custom operators. `make native` builds both; the package ``harmonyrt-native`` brings them.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from pathlib import Path

from harmonyrt.runtime.machine import cpu_model_and_flags
from harmonyrt.runtime.native.library_version import version_of

NEED = "native"
"""Key of an engine's `needs`; its value is that of :data:`NEEDED`."""
NEEDED = {"fp32": "1", "bf16": "2", "int8": "2"}
"""By precision: the version of the operators that an engine needs (src/version.cpp). Libraries compute those of their
own version and of versions before it."""
VERSION = "2"
"""The newest; what `make native` builds."""
VARIABLE = "HARMONYRT_NATIVE_LIBRARY"
"""Environment variable: folder of the libraries, or path of one of them, where they are not in their usual place."""
AMX = "HARMONYRT_NATIVE_AMX"
"""Environment variable: 0 keeps the kernels from AMX, for comparisons."""
PACKAGE = "harmonyrt-native"
"""The distribution that brings the libraries; of the same version as `harmonyrt`."""

_NAMES = {
    "openvino": "libharmonyrt_native_openvino.so",
    "onnxruntime": "libharmonyrt_native_onnxruntime.so",
}
_ENGINES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}
_BF16_FLAGS = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_bf16"})
"""As Linux names them; OpenVINO computes BF16 on other CPUs too, but not with these kernels."""
_FOLDER = "harmonyrt_native"
_CHECKOUT = Path(__file__).parents[2] / "build/native"


def library(backend: str = "openvino") -> Path | None:
    """Path of the library for a backend, absolute; None if there is none.

    Args:
        backend: ``"openvino"`` or ``"onnxruntime"``.
    """
    named = os.environ.get(VARIABLE)
    places = (_named(Path(named), backend),) if named else _usual(_NAMES[backend])
    return next((place.absolute() for place in places if place.is_file()), None)


def build_of(backend: str = "openvino") -> str:
    """What tells one build of the kernels from another, for what is measured with them.

    Returns:
        The start of the library's sha256, and whether AMX is switched off; ``"none"`` without a library.
    """
    path = library(backend)
    try:
        found = "" if path is None else hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError:
        found = ""
    without = " without amx" if os.environ.get(AMX) == "0" else ""
    return f"{found}{without}" if found else "none"


def why_not(needed: str | None, backend: str = "openvino", precision: str = "fp32") -> str | None:
    """Why an engine cannot have its kernels here, with what to do; None when it can, or needs none.

    Args:
        needed: what its manifest says under :data:`NEED`.
        backend: that would run it.
        precision: of the engine.
    """
    if needed is None:
        return None
    if not needed.isdecimal() or int(needed) > int(VERSION):
        return (
            f"it needs native kernels of version {needed}, and this HarmonyRT knows those up to {VERSION}:"
            " install the HarmonyRT that built it, or build the bundle again"
        )
    flags = cpu_model_and_flags()[1]
    if not {"avx2", "fma"} <= flags:
        return "its native kernels need a CPU with AVX2 and FMA: build it without --rewrites native"
    missing = _BF16_FLAGS - flags if precision == "bf16" else None
    if missing:
        return (
            f"its native kernels need a CPU with AVX512-BF16, and this one lacks {', '.join(sorted(missing))}:"
            " use an fp32 engine, or build it without --rewrites native"
        )
    path = library(backend)
    if path is None:
        return f"it needs the native kernels, and {_missing(backend)}, or build it without --rewrites native"
    # Bundles of the time when libraries did not tell their version say 1, whatever they need.
    return _why_not_of_version(path, backend, max(int(needed), int(NEEDED.get(precision, "1"))))


def _why_not_of_version(path: Path, backend: str, needed: int) -> str | None:
    try:
        found = version_of(path, backend)
    except OSError as error:  # of the loader, with the file's name in it
        return (
            f"the native kernels of {path} do not fit this {_ENGINES[backend]} ({error}): install the one that they"
            " were built with, or run make native again"
        )
    if found is None or found >= needed:
        return None
    return f"it needs native kernels of version {needed}, and {path} has version {found}: {_renewal(path)}"


def _renewal(path: Path) -> str:
    installed = _installed()
    if installed is not None and path.parent == installed.absolute():
        return f"run pip install --force-reinstall {PACKAGE}=={_version('harmonyrt')}"
    named = f", or have {VARIABLE} name newer ones" if os.environ.get(VARIABLE) else ""
    return f"run make native{named}"


def _named(given: Path, backend: str) -> Path:
    """What the environment names: a folder of libraries, one of them (the others are next to it), or any file."""
    if given.is_dir():
        return given / _NAMES[backend]
    return given.with_name(_NAMES[backend]) if given.name in _NAMES.values() else given


def _usual(name: str) -> tuple[Path, ...]:
    installed = _installed()
    return (_CHECKOUT / name, *([installed / name] if installed is not None and _mismatch() is None else []))


def _installed() -> Path | None:
    """Folder of the libraries that the package brings."""
    try:
        found = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(found.locate_file(_FOLDER)))


def _mismatch() -> str | None:
    """What is said of a package of another version than ours; None when they are of one version."""
    ours, theirs = (_version(name) for name in ("harmonyrt", PACKAGE))
    if ours == theirs:
        return None
    return f"{PACKAGE} {theirs} is installed next to harmonyrt {ours}: run pip install {PACKAGE}=={ours}"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "of an unknown version"


def _missing(backend: str) -> str:
    """What is wrong, and what to do."""
    named, installed = os.environ.get(VARIABLE), _installed()
    if not named and installed is not None:
        return _mismatch() or f"{PACKAGE} has none for {backend}: install it again"
    place = named and _named(Path(named), backend)
    found = f"{VARIABLE} names {place}, which is no file" if named else "they are not installed"
    return f"{found}: run pip install {PACKAGE}, in a checkout run make native"
