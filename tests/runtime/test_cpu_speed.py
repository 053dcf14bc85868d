"""Which precision is fast on this CPU: measured, kept, and believed only where it is whole and of this CPU."""

import json
import logging
import time

import pytest

from harmonyrt.runtime import Harmonizer, cpu_speed, native, openvino_core
from harmonyrt.runtime.compiled_cache import CompiledCache
from harmonyrt.runtime.cpu_speed import CpuSpeed

NO_AMX = {"fp32": 20.0, "fp32 winograd": 10.0, "bf16": 14.0, "bf16 winograd": 13.3, "fp16": 18.0, "int8": 4.0}
"""As on an Intel CPU with AVX512-BF16 and AVX512-FP16: the flags promise what the time does not keep."""


def speed(times=None):
    return CpuSpeed("a CPU", "2026.4", times or NO_AMX, 10.0)


@pytest.fixture
def openvino():
    return pytest.importorskip("openvino")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HARMONYRT_MEASURE", "1")


@pytest.fixture
def measurements(monkeypatch):
    """A fake measurement that counts its calls."""
    made = []

    def now(openvino):
        made.append(openvino)
        return CpuSpeed("a CPU", openvino.__version__, NO_AMX, 10.0)

    monkeypatch.setattr(cpu_speed, "_measured_now", now)
    return made


def test_the_faster_form_counts_and_fp32_is_the_measure():
    found = speed()
    assert found.against_fp32("bf16") == pytest.approx(1.33)
    assert found.against_fp32("fp16") == pytest.approx(1.8)
    assert found.against_fp32("int8") == pytest.approx(0.4)
    assert found.sentence() == "time as a multiple of fp32's: bf16 1.33, fp16 1.80, int8 0.40"
    assert found.gflops("int8") == pytest.approx(found.gflops("fp32") * 2.5)
    assert not found.plain_is_faster("bf16")
    assert speed({"fp32": 9.0, "bf16": 1.0, "bf16 winograd": 4.0}).plain_is_faster("bf16")
    none = speed({"fp32": 1.0})
    assert (none.best("bf16"), none.gflops("bf16"), none.against_fp32("bf16")) == (None, None, None)
    assert not none.plain_is_faster("bf16")


def test_native_kernels_are_held_against_the_faster_of_openvino_s_own():
    times = {"fp32": 12.0, "fp32 winograd": 9.0, "fp32 native": 6.0, "bf16": 1.0, "bf16 native": 2.0, "int8": 2.0}
    found = speed(times)
    assert found.native_gain("fp32") == pytest.approx(1.5)
    assert (found.native_gain("bf16"), found.native_gain("int8")) == (0.5, None)
    assert [found.native_is_slower(name, False) for name in ("fp32", "bf16", "int8", "fp16")] == [
        False,
        True,
        False,
        False,
    ]
    assert not speed({"fp32": 9.1, "fp32 native": 10.0}).native_is_slower("fp32", False)  # noise
    of_amx = speed({"fp32": 9.0, "bf16": 1.0, "bf16 winograd": 2.5, "bf16 native": 2.0})
    assert of_amx.native_is_slower("bf16", winograd=False)
    assert not of_amx.native_is_slower("bf16", winograd=True)
    assert found.against_fp32("bf16") == pytest.approx(1 / 9)  # engines without kernels have that


def test_plain_convolutions_are_held_against_the_kernels_where_they_are_asked_about():
    times = {"fp32": 9.0, "bf16": 2.0, "bf16 winograd": 4.0}
    assert speed(times).plain_is_faster("bf16", native=True)  # not measured: as Winograd in graph operations
    for taken, faster in ((1.5, False), (2.1, False), (2.5, True)):
        assert speed({**times, "bf16 native": taken}).plain_is_faster("bf16", native=True) == faster
        assert speed({**times, "bf16 native": taken}).plain_is_faster("bf16")


@pytest.mark.slow
@pytest.mark.alone
def test_this_cpu_is_measured_in_seconds_and_kept(openvino):
    start = time.monotonic()
    found = cpu_speed.measured()
    assert time.monotonic() - start < 60  # 5 on a machine that does nothing else
    offered = openvino_core.core(openvino).get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert ("bf16" in found.milliseconds) == ("BF16" in offered)
    assert ("fp16" in found.milliseconds) == ("FP16" in offered)
    assert {"fp32", "fp32 winograd"} <= set(found.milliseconds)
    assert ("fp32 native" in found.milliseconds) == (native.why_not(native.NEEDED["fp32"]) is None)
    assert all(taken > 0 for taken in found.milliseconds.values())
    assert found.copy_gb_per_s > 0
    assert cpu_speed.kept() == found


def test_it_is_measured_once_for_a_cpu_and_a_version(openvino, measurements, monkeypatch):
    assert cpu_speed.measured_once() == cpu_speed.measured_once()
    assert len(measurements) == 1
    monkeypatch.setattr(openvino, "__version__", "2099.1.0")
    assert cpu_speed.kept() is None
    cpu_speed.measured_once()
    monkeypatch.setattr(cpu_speed, "cpu_model_and_flags", lambda: ("another CPU", frozenset()))
    assert cpu_speed.kept() is None
    cpu_speed.measured_once()
    assert len(measurements) == 3
    cpu_speed.measured(again=True)
    assert len(measurements) == 4


def test_it_is_measured_again_for_other_native_kernels(openvino, measurements, monkeypatch, tmp_path):
    monkeypatch.setenv(native.VARIABLE, str(tmp_path))
    assert cpu_speed.measured_once() == cpu_speed.measured_once()
    kernels = tmp_path / "libharmonyrt_native_openvino.so"
    for count, content in ((2, b"some"), (3, b"others")):
        kernels.write_bytes(content)
        assert cpu_speed.kept() is None
        cpu_speed.measured_once()
        assert len(measurements) == count
    monkeypatch.setenv(native.AMX, "0")
    assert cpu_speed.kept() is None
    monkeypatch.setenv(native.AMX, "1")
    assert cpu_speed.kept() is not None
    kernels.unlink()
    assert cpu_speed.kept() is not None


def test_it_is_not_measured_where_it_is_switched_off_or_cannot_be_kept(openvino, measurements, monkeypatch, tmp_path):
    assert cpu_speed.measured_once(cache="") is None
    (tmp_path / "file").touch()
    assert cpu_speed.measured_once(cache=str(tmp_path / "file")) is None
    monkeypatch.setenv("HARMONYRT_MEASURE", "0")
    assert cpu_speed.measured_once() is None
    assert not measurements


@pytest.mark.parametrize(
    "content",
    [
        b"not json",
        b"[]",
        b'{"cpu": "x"}',
        json.dumps({"cpu": "x", "library": "y", "milliseconds": {"fp32": -1}, "copy_gb_per_s": 1}).encode(),
        json.dumps({"cpu": "x", "library": "y", "milliseconds": {"bf16": 1}, "copy_gb_per_s": 1}).encode(),
        json.dumps({"cpu": "x", "library": "y", "milliseconds": {"fp32": "1"}, "copy_gb_per_s": 1}).encode(),
        json.dumps({"cpu": "x", "library": "y", "milliseconds": {"fp32": float("nan")}, "copy_gb_per_s": 1}).encode(),
    ],
)
def test_what_makes_no_sense_is_measured_anew(openvino, measurements, content):
    key = cpu_speed._key(openvino)
    CompiledCache.at(None).write(key, lambda file: file.write(content))
    assert cpu_speed.kept() is None
    assert cpu_speed.measured_once().milliseconds == NO_AMX
    assert len(measurements) == 1


def test_a_measurement_that_fails_does_not_stop_the_work(openvino, monkeypatch, caplog):
    def broken(openvino):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(cpu_speed, "_measured_now", broken)
    assert cpu_speed.measured_once() is None
    assert "no kernel" in caplog.text


def test_without_openvino_there_is_nothing_to_choose(monkeypatch):
    monkeypatch.setattr(cpu_speed, "_openvino", lambda: None)
    assert cpu_speed.measured_once() is cpu_speed.measured() is cpu_speed.kept() is None


# --- what `auto` makes of it


@pytest.fixture
def several(static_bundle, altered):
    """A bundle with its OpenVINO engine in two precisions, INT8 first."""

    def change(manifest):
        engine = next(e for e in manifest["engines"] if e["target"] == "openvino")
        manifest["engines"] = [{**engine, "precision": "int8"}, engine]

    return altered(static_bundle, change)


@pytest.mark.parametrize(("int8", "first"), [(4.0, "int8"), (30.0, "fp32")])
def test_auto_takes_the_precision_that_was_measured_faster(openvino, several, monkeypatch, int8, first):
    monkeypatch.setattr("harmonyrt.runtime.choices.measured_once", lambda cache: speed({**NO_AMX, "int8": int8}))
    monkeypatch.setattr("harmonyrt.runtime.choices.may_have_gpu", lambda: False)
    info = Harmonizer.open(several, precision="fastest").info
    assert info.precision == first
    assert f"int8 {int8 / 10:.2f}" in info.why


def test_auto_takes_fp32_where_nothing_was_measured(openvino, several, monkeypatch):
    monkeypatch.setenv("HARMONYRT_MEASURE", "0")
    info = Harmonizer.open(several, device="cpu", precision="fastest").info
    assert (info.precision, info.why) == ("fp32", "the documented order")


def test_auto_says_that_the_only_engine_is_slower_than_fp32(openvino, static_bundle, altered, monkeypatch, caplog):
    def change(manifest):
        manifest["engines"] = [{**e, "precision": "int8"} for e in manifest["engines"] if e["target"] == "openvino"]

    monkeypatch.setattr("harmonyrt.runtime.choices.measured_once", lambda cache: speed({**NO_AMX, "int8": 13.3}))
    with caplog.at_level(logging.WARNING, "harmonyrt.runtime"):
        info = Harmonizer.open(altered(static_bundle, change), device="cpu").info
    assert "int8 takes 1.33 times the time of fp32" in info.why
    assert "an fp32 bundle is faster here" in caplog.text


def test_nothing_is_measured_for_fp32_alone_or_for_what_is_asked_for_by_name(
    openvino, static_bundle, several, measurements
):
    Harmonizer.open(static_bundle, device="cpu")
    Harmonizer.open(several, backend="openvino")
    assert not measurements
    Harmonizer.open(several, device="cpu")
    assert len(measurements) == 1


@pytest.mark.parametrize(("int8", "is_native"), [(2.0, True), (1.0, False)])
@pytest.mark.parametrize("backend", ["auto", "openvino"])
def test_of_an_engine_with_and_one_without_kernels_the_one_that_was_measured_faster_is_opened(
    openvino, static_bundle, altered, monkeypatch, int8, is_native, backend
):
    """Here the kernels' engine is the plain one under another name: which one is opened is all that counts."""

    def change(manifest):
        engine = next(e for e in manifest["engines"] if e["target"] == "openvino")
        manifest["engines"] = [{**engine, "precision": "int8", "needs": needs} for needs in ({}, {"native": "1"})]

    found = speed({"fp32": 9.0, "int8": int8, "int8 native": 1.5})
    monkeypatch.setattr("harmonyrt.runtime.choices.measured_once", lambda cache: found)
    monkeypatch.setattr("harmonyrt.runtime.choices.kept", lambda cache: found)
    monkeypatch.setattr(native, "why_not", lambda *about: None)
    monkeypatch.setattr("harmonyrt.runtime.backends.openvino.add_native_kernels", lambda *about: None)
    info = Harmonizer.open(altered(static_bundle, change), device="cpu", backend=backend).info
    assert info.native == is_native
    assert ("in int8 the native kernels are measured slower on this CPU" in info.why) == (not is_native)
