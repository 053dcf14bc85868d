"""NVIDIA's run-time compiler (NVRTC): the kernels as machine code of one kind of GPU.

Called through ctypes: cuda-python loads one version per process, while GPUs older than compute capability 7.5 need
NVRTC 12 and newer drivers bring CUDA 13, so both may be installed. Source: docs.nvidia.com/cuda/nvrtc.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from harmonyrt.common import HarmonyError, WorkFailed

MAIN = "harmonize.cu"
HEADERS = ("structures.cuh", "common.cuh", "fit.cu", "maps.cu", "apply.cu")
OPTIONS = ("--std=c++17",)
ARCHITECTURES = ((7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0))
"""Compute capabilities that the tests compile for; others work where NVRTC knows them."""

_NAMES = {"win32": "nvrtc64_{0}0_0.dll"}.get(sys.platform, "libnvrtc.so.{0}")
_MAJORS = (13, 12)


@dataclass(frozen=True)
class Compiled:
    """What NVRTC made of the kernels.

    Attributes:
        cubin: machine code.
        ptx: what it was made from, as text.
        log: NVRTC's warnings; empty for sources as they are released.
    """

    cubin: bytes
    ptx: str
    log: str


_OLD_GPU = "Architectures prior to"
"""What NVRTC 12.9 says of compute capability 7.0, for which it is there."""


def source_files() -> dict[str, bytes]:
    """The kernels' sources by name; the first is what is compiled, the others are what it includes."""
    folder = Path(__file__).parent
    return {name: (folder / name).read_bytes() for name in (MAIN, *HEADERS)}


def sources_sha256() -> str:
    """Of all sources."""
    digest = hashlib.sha256()
    for name, text in source_files().items():
        digest.update(f"{name} {len(text)}\n".encode() + text)
    return digest.hexdigest()


class Nvrtc:
    """One NVRTC library.

    Attributes:
        version: (major, minor).
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        self.version = (major.value, minor.value)

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._library, name)(*arguments)
        if code != 0:
            text = self._library.nvrtcGetErrorString(code).decode()
            raise WorkFailed(f"NVRTC's {name} failed: {text}; install it again, or use harmonize() with host arrays")

    @functools.cached_property
    def capabilities(self) -> tuple[tuple[int, int], ...]:
        """Compute capabilities that it compiles for, lowest first."""
        count = ctypes.c_int()
        self._call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
        found = (ctypes.c_int * count.value)()
        self._call("nvrtcGetSupportedArchs", found)
        return tuple((number // 10, number % 10) for number in found)

    def compile(self, capability: tuple[int, int]) -> Compiled:
        """Compile the kernels for one kind of GPU; takes about a second.

        Args:
            capability: of the GPU, for example ``(8, 9)``.

        Raises:
            WorkFailed: it does not know the GPU, or does not take the source.
        """
        files = source_files()
        texts = {name.encode(): text for name, text in files.items() if name != MAIN}
        count, program = len(texts), ctypes.c_void_p()
        strings = ctypes.c_char_p * count
        self._call(
            "nvrtcCreateProgram", ctypes.byref(program), ctypes.c_char_p(files[MAIN]), MAIN.encode(), count,
            strings(*texts.values()), strings(*texts),
        )  # fmt: skip
        try:
            options = [text.encode() for text in (f"--gpu-architecture=sm_{capability[0]}{capability[1]}", *OPTIONS)]
            code = self._library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
            lines = self._text(program, "ProgramLog").decode(errors="replace").splitlines()
            log = "\n".join(line for line in lines if line.strip("\0 ") and _OLD_GPU not in line)
            if code != 0:
                first = log.splitlines()[0] if log else self._library.nvrtcGetErrorString(code).decode()
                name = f"compute capability {capability[0]}.{capability[1]}"
                raise WorkFailed(
                    f"NVRTC {self.version[0]}.{self.version[1]} cannot compile the kernels for {name}: {first};"
                    " install another version of it, or use harmonize() with host arrays"
                )
            return Compiled(self._text(program, "CUBIN", False), self._text(program, "PTX").decode(), log)
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _text(self, program: ctypes.c_void_p, what: str, is_text: bool = True) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(max(size.value, 1))
        self._call(f"nvrtcGet{what}", program, buffer)
        return buffer.raw[: size.value - 1] if is_text else buffer.raw[: size.value]


@functools.cache
def installed() -> tuple[Nvrtc, ...]:
    """Every NVRTC that is installed, the newest major version first: as packages of pip, or on the loader's path."""
    found: dict[int, Nvrtc] = {}
    for major in _MAJORS:
        name = _NAMES.format(major)
        for path in (*_in_packages(name), name):
            try:
                nvrtc = Nvrtc(ctypes.CDLL(str(path)))
            except (OSError, AttributeError, WorkFailed):
                continue
            found.setdefault(nvrtc.version[0], nvrtc)
            break
    return tuple(found.values())


def _in_packages(name: str) -> list[Path]:
    spec = importlib.util.find_spec("nvidia")
    folders = (spec.submodule_search_locations or []) if spec is not None else []
    return [
        path for folder in folders for where in ("lib", "bin") for path in Path(folder).glob(f"*/{where}/**/{name}")
    ]


def fitting(capability: tuple[int, int], driver: int) -> Nvrtc:
    """The newest NVRTC whose code a GPU and its driver take.

    Args:
        capability: of the GPU.
        driver: newest CUDA major version that the driver knows.

    Raises:
        HarmonyError: none is installed, or none that fits.
    """
    every = installed()
    for nvrtc in every:
        if nvrtc.version[0] <= driver and capability in nvrtc.capabilities:
            return nvrtc
    found = " and ".join(f"{major}.{minor}" for major, minor in (one.version for one in every)) or "none"
    extra = "kernels-cu12" if driver < 13 or capability < (7, 5) else "kernels"
    raise HarmonyError(
        f"the kernels that work on the GPU need NVRTC for compute capability {capability[0]}.{capability[1]} and a"
        f" driver for CUDA {driver}, found {found}: run pip install 'harmonyrt[{extra}]',"
        " or use harmonize() with host arrays"
    )
