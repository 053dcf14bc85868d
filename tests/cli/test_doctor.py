"""`harmonyrt doctor`: true advice for machines that are not here."""

import json

import pytest

from harmonyrt.cli.abilities import abilities
from harmonyrt.runtime import native
from harmonyrt.runtime.cpu_speed import CpuSpeed
from harmonyrt.runtime.machine_report import PACKAGES, Cpu, Gpu, Machine, machine

CPU_PROVIDER, CUDA_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"


def imagined(gpu=None, capability=None, driver="580.65.06", providers=(CPU_PROVIDER,), **packages):
    gpus = () if gpu is None else (Gpu(gpu, capability, "16384 MiB"),)
    versions = dict.fromkeys(PACKAGES) | {name.replace("_", "-"): version for name, version in packages.items()}
    cpu = Cpu("A CPU", 8, 4.0, ("AVX2", "AVX-512 BF16"))
    return Machine("Linux", "3.11.7", cpu, gpus, driver if gpus else None, versions, providers)


@pytest.fixture
def ability():
    """The one ability whose description holds some words."""

    def find(found, words):
        (only,) = [one for one in abilities(found) if words in one.what]
        return only

    return find


def test_nothing_installed_is_no_crash_and_says_what_to_install(ability):
    found = imagined(providers=())
    assert all(not one.able for one in abilities(found))
    assert ability(found, "ONNX Runtime on the CPU").to_do == "pip install onnxruntime"
    assert ability(found, "build bundles").to_do == "pip install 'harmonyrt[build]'"
    assert ability(found, "OpenVINO").to_do == "pip install 'harmonyrt[openvino]'"


def test_native_kernels_are_said_of_each_engine(ability, monkeypatch, tmp_path):
    monkeypatch.setattr(native, "cpu_model_and_flags", lambda: ("a CPU", frozenset({"avx2", "fma"})))
    monkeypatch.setenv(native.VARIABLE, str(tmp_path))
    monkeypatch.setattr(native, "version_of", lambda path, backend: 2)
    (tmp_path / "libharmonyrt_native_onnxruntime.so").touch()
    one = ability(imagined(onnxruntime="1.31.1", openvino="2026.4.1"), "native kernels")
    assert one.able
    assert one.why.startswith("in onnxruntime; not in openvino: it needs the native kernels, and ")
    assert "pip install harmonyrt-native" in one.why
    assert not ability(imagined(openvino="2026.4.1"), "native kernels").able


def test_what_two_engines_miss_is_said_once(ability, monkeypatch):
    monkeypatch.setattr(native, "why_not", lambda version, backend: "it needs the native kernels")
    one = ability(imagined(onnxruntime="1.31.1", openvino="2026.4.1"), "native kernels")
    assert not one.able
    assert one.why == "not in openvino or onnxruntime: it needs the native kernels"


def test_native_kernels_that_are_too_old_are_said_with_what_to_run(ability, monkeypatch, tmp_path):
    monkeypatch.setattr(native, "cpu_model_and_flags", lambda: ("a CPU", frozenset({"avx2", "fma"})))
    monkeypatch.setenv(native.VARIABLE, str(tmp_path))
    monkeypatch.setattr(native, "version_of", lambda path, backend: 1)
    (tmp_path / "libharmonyrt_native_onnxruntime.so").touch()
    one = ability(imagined(onnxruntime="1.31.1"), "native kernels")
    assert not one.able
    assert "has version 1: run make native" in one.why


def test_a_package_that_does_not_load_is_no_ability(ability):
    one = ability(imagined(providers=(), onnxruntime="1.31.1"), "ONNX Runtime on the CPU")
    assert not one.able
    assert "does not load" in one.why


def test_a_v100_is_led_to_the_last_series_that_takes_it(ability):
    one = ability(imagined("Tesla V100-SXM2-16GB", "7.0"), "run TensorRT engines")
    assert not one.able
    assert "tensorrt-cu12==10.4.0" in one.to_do
    assert "CUDA 12" in one.to_do
    warning = ability(imagined("Tesla V100-SXM2-16GB", "7.0"), "use CUDA 13")
    assert "10.5 and later, 11, and CUDA 13 have dropped it" in warning.why
    assert "8.6" in warning.to_do


@pytest.mark.parametrize(("version", "able"), [("8.6.1", True), ("10.4.0", True), ("10.5.0", False), ("11.4.0", False)])
def test_tensorrt_releases_on_a_v100(ability, version, able):
    one = ability(imagined("Tesla V100", "7.0", tensorrt=version, cuda_python="12.6.0"), "run TensorRT engines")
    assert one.able is able
    assert able or "does not run on compute capability 7.0" in one.why


def test_tensorrt_for_rtx_is_not_for_data_centre_gpus_of_hopper_or_volta(ability):
    for name, capability in (("Tesla V100", "7.0"), ("NVIDIA H200", "9.0")):
        one = ability(imagined(name, capability, tensorrt_rtx="1.7.1", cuda_python="13.0.0"), "run TensorRT for RTX")
        assert not one.able
        assert f"does not run on {name}" in one.why
    one = ability(
        imagined("NVIDIA GeForce RTX 4090", "8.9", tensorrt_rtx="1.7.1", cuda_python="13"), "run TensorRT for RTX"
    )
    assert one.able


def test_a_gpu_without_a_cuda_provider_is_told_the_exact_packages(ability):
    one = ability(imagined("NVIDIA L4", "8.9", onnxruntime="1.31.1"), "ONNX Runtime on a GPU")
    assert one.to_do == "pip uninstall onnxruntime && pip install onnxruntime-gpu"
    assert ability(imagined("NVIDIA L4", "8.9", providers=(CUDA_PROVIDER, CPU_PROVIDER)), "ONNX Runtime on a GPU").able


def test_an_old_driver_is_named(ability, monkeypatch):
    monkeypatch.setattr("harmonyrt.runtime.backends.tensorrt.versions.cuda_major", lambda target: 13)
    found = imagined("NVIDIA L4", "8.9", "535.104.05", tensorrt="11.4.0", cuda_python="13.0.0")
    one = ability(found, "run TensorRT engines")
    assert not one.able
    assert "found 535.104.05" in one.why


def test_a_gpu_of_unknown_capability_is_no_crash(ability):
    assert "unknown" in ability(imagined("Some GPU", "[N/A]"), "run TensorRT engines").why
    assert "unknown" in ability(imagined("Some GPU", None), "run TensorRT engines").why


@pytest.mark.parametrize(
    "script",
    [
        'case "$1" in *compute_cap*) echo "NVIDIA H200, 9.0, 570.10, 143771 MiB";; esac',
        'case "$1" in *compute_cap*) exit 1;; *) echo "NVIDIA H200, 570.10, 143771 MiB";; esac',
        "exit 9",
        "echo nonsense",
    ],
)
def test_whatever_nvidia_smi_says_is_no_crash(tmp_path, monkeypatch, script):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = machine()
    if "H200" in script:
        assert found.cards[0].name == "NVIDIA H200"
        assert found.driver == "570.10"
    else:
        assert found.cards == ()
    abilities(found)


def test_this_machine_in_words_and_in_json(run):
    done = run("doctor")
    assert done.code == 0
    assert "run bundles with ONNX Runtime on the CPU" in done.out
    report = json.loads(run("doctor", "--json").out)
    assert report["machine"]["cpu"]["cores_granted"] > 0
    assert {"what", "able", "why", "to_do"} == set(report["abilities"][0])


def test_what_is_worthwhile_is_measured_and_not_read_off_flags(ability):
    found = imagined(openvino="2026.4.1")  # a CPU with AVX-512 BF16
    assert "bf16" not in ability(found, "OpenVINO").why
    slow = CpuSpeed("A CPU", "2026.4.1", {"fp32": 10.0, "bf16": 13.3, "fp16": 18.0, "int8": 4.0}, 10.0)
    (why,) = [one.why for one in abilities(found, slow) if "OpenVINO" in one.what]
    assert "bf16 is no faster than fp32 here: measured 1.33 times its time" in why
    assert "fp16 is no faster than fp32 here: measured 1.80 times its time" in why
    assert "int8 bundles are worthwhile: measured 2.5 times as fast as fp32" in why
    fast = CpuSpeed("A CPU", "2026.4.1", {"fp32": 10.0, "bf16": 2.0}, 10.0)
    (why,) = [one.why for one in abilities(found, fast) if "OpenVINO" in one.what]
    assert "bf16 bundles are worthwhile: measured 5.0 times as fast" in why


def test_what_the_native_kernels_gain_is_said_where_it_was_measured():
    found = imagined(openvino="2026.4.1")
    times = {"fp32": 12.0, "fp32 winograd": 9.0, "fp32 native": 6.0, "int8": 2.0, "int8 native": 2.5, "bf16": 3.0}
    (why,) = [one.why for one in abilities(found, CpuSpeed("x", "y", times, 9.0)) if "native kernels" in one.what]
    assert "times as fast as OpenVINO's own convolutions, measured: fp32 1.5, int8 0.8" in why
    (why,) = [one.why for one in abilities(found) if "native kernels" in one.what]
    assert "times as fast" not in why


def test_the_speed_of_this_cpu_and_the_cache_in_words_and_in_json(run, monkeypatch, tmp_path):
    pytest.importorskip("openvino")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(
        "harmonyrt.runtime.cpu_speed._measured_now", lambda openvino: CpuSpeed("x", "y", {"fp32": 2.0}, 9.0)
    )
    assert "not measured: harmonyrt doctor --measure" in run("doctor").out
    said = run("doctor", "--measure").out
    assert "GFLOP/s: fp32" in said
    assert f"{tmp_path}/harmonyrt/compiled, holds 0 of at most 4096 MiB" in said
    report = json.loads(run("doctor", "--json").out)
    assert report["cpu_speed"]["milliseconds"] == {"fp32": 2.0}
    assert report["cache"]["limit_bytes"] == 4096 << 20
    monkeypatch.setenv("HARMONYRT_CACHE_MIB", "0")
    assert "not used: switched off" in run("doctor").out
