"""NVIDIA's run-time compiler compiles the kernels for every GPU that we name; no GPU and no CUDA toolkit is needed."""

from __future__ import annotations

import re
import struct

import pytest

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.runtime.kernels import nvrtc
from harmonyrt.runtime.kernels.passes import KERNELS

# Each GPU by the newest NVRTC that knows it, and an old and a newer GPU by the older NVRTC as well.
PAIRS = [(13, c) for c in nvrtc.ARCHITECTURES if c >= (7, 5)] + [(12, (7, 0)), (12, (9, 0))]


def library(major):
    found = [one for one in nvrtc.installed() if one.version[0] == major]
    if not found:
        pytest.skip(f"no NVRTC {major} (pip install 'harmonyrt[kernels{'' if major > 12 else '-cu12'}]')")
    return found[0]


def sections(elf: bytes) -> dict[str, tuple[int, int]]:
    """Name of each section of a 64-bit ELF file, with its offset and size."""
    start, (size, count, names) = struct.unpack_from("<Q", elf, 40)[0], struct.unpack_from("<HHH", elf, 58)
    headers = [struct.unpack_from("<IIQQQQ", elf, start + i * size) for i in range(count)]
    text = headers[names][4]
    return {elf[text + h[0] : elf.index(b"\0", text + h[0])].decode(): (h[4], h[5]) for h in headers}


@pytest.mark.parametrize(("major", "capability"), PAIRS, ids=lambda value: str(value).replace(" ", ""))
def test_every_kernel_compiles_without_a_warning(major, capability):
    compiled = library(major).compile(capability)
    assert compiled.log == ""
    code = sections(compiled.cubin)
    assert {name.removeprefix(".text.") for name in code if name.startswith(".text.")} == set(KERNELS)
    assert all(code[f".text.{name}"][1] > 0 for name in KERNELS)
    assert set(re.findall(r"\.entry (\w+)\(", compiled.ptx)) == set(KERNELS)
    number = 10 * capability[0] + capability[1]
    assert re.search(r"^\.target sm_(\d+)", compiled.ptx, re.MULTILINE)[1] == str(number)
    if major == 12:  # later ones keep it elsewhere
        assert struct.unpack_from("<I", compiled.cubin, 48)[0] & 0xFF == number
    assert ".local" not in compiled.ptx, "an array of a thread went to memory: index it by constants"


def test_a_kernel_that_is_not_launched_does_not_exist():
    found = re.findall(r'extern "C" __global__ void (\w+)\(', b"".join(nvrtc.source_files().values()).decode())
    assert sorted(found) == sorted(KERNELS)


def test_a_gpu_that_nvrtc_does_not_know_is_one_sentence():
    with pytest.raises(
        WorkFailed, match=r"NVRTC 13\.\d+ cannot compile the kernels for compute capability 7\.0: .*; install"
    ):
        library(13).compile((7, 0))


def test_a_mistake_in_the_source_is_one_sentence(monkeypatch):
    files = nvrtc.source_files() | {nvrtc.MAIN: b"__global__ void f() { nothing(); }"}
    monkeypatch.setattr(nvrtc, "source_files", lambda: files)
    with pytest.raises(WorkFailed, match=r'cannot compile.*identifier "nothing" is undefined'):
        library(13).compile((8, 9))


def test_a_warning_is_kept(monkeypatch):
    files = nvrtc.source_files() | {nvrtc.MAIN: b'extern "C" __global__ void f() { int unused; }'}
    monkeypatch.setattr(nvrtc, "source_files", lambda: files)
    assert "never referenced" in library(13).compile((8, 9)).log


@pytest.mark.parametrize(
    ("capability", "driver", "major"),
    [((7, 0), 13, 12), ((7, 0), 12, 12), ((8, 9), 12, 12), ((8, 9), 13, 13), ((12, 0), 14, 13)],
)
def test_the_newest_that_gpu_and_driver_take_is_chosen(capability, driver, major):
    library(12), library(13)
    assert nvrtc.fitting(capability, driver).version[0] == major


@pytest.mark.parametrize(
    ("capability", "driver", "extra"),
    [((7, 0), 13, "kernels-cu12"), ((8, 9), 12, "kernels-cu12"), ((8, 9), 13, "kernels")],
)
def test_none_that_fits_is_found_need_run(monkeypatch, capability, driver, extra):
    monkeypatch.setattr(nvrtc, "installed", lambda: ())
    with pytest.raises(HarmonyError, match=rf"found none: run pip install 'harmonyrt\[{extra}\]'"):
        nvrtc.fitting(capability, driver)


def test_a_library_that_is_none_is_passed_over(monkeypatch):
    nvrtc.installed.cache_clear()
    monkeypatch.setattr(nvrtc, "_in_packages", lambda name: ["/nowhere/libnvrtc.so"])
    monkeypatch.setattr(nvrtc, "_NAMES", "libm.so.6")  # loads, and has nothing of NVRTC
    try:
        assert nvrtc.installed() == ()
    finally:
        nvrtc.installed.cache_clear()
