"""How fast this CPU convolves in each precision: measured, not read off its feature flags.

Flags mislead: an Intel CPU with AVX512-BF16 and AVX512-FP16 and without AMX takes 1.33 times the time of FP32 in BF16,
and 1.8 times in FP16 (PHNet 39.9 M, 256 px, one thread). So convolutions are timed
(:mod:`harmonyrt.runtime.cpu_probe`). The result is kept per CPU, version of OpenVINO and build of the kernels
(:mod:`harmonyrt.runtime.compiled_cache`); one that is damaged or of another version is measured again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from dataclasses import asdict, dataclass
from typing import Any

from harmonyrt.common.telemetry import import_quietly
from harmonyrt.runtime import cpu_probe, native, native_calls
from harmonyrt.runtime.compiled_cache import CompiledCache
from harmonyrt.runtime.cpu_probe import GFLOP, NATIVE, PRECISIONS, WINOGRAD
from harmonyrt.runtime.machine import cpu_model_and_flags

log = logging.getLogger("harmonyrt.runtime")

SWITCH = "HARMONYRT_MEASURE"
"""Set to 0, nothing is measured unasked."""

PLAIN_WINS = 0.9
"""The Winograd variant is left out where plain convolutions take less than this share of its time, and native kernels
where OpenVINO's own convolutions do."""
WORTHWHILE = 0.95
"""A precision pays where it takes less than this share of FP32's time; what lies nearer is noise."""

_FORMAT = 1


@dataclass(frozen=True)
class CpuSpeed:
    """What was measured.

    Attributes:
        cpu: the processor's name.
        library: OpenVINO's version.
        milliseconds: of the convolutions, by precision, by ``"<precision> winograd"`` and by ``"<precision> native"``;
            one thread. What OpenVINO does not offer on this CPU is absent, and so are kernels that are not there.
        copy_gb_per_s: read and written by one thread that copies memory, in 10^9 bytes a second.
    """

    cpu: str
    library: str
    milliseconds: dict[str, float]
    copy_gb_per_s: float

    def best(self, precision: str) -> float | None:
        """Milliseconds of the faster of plain and Winograd, without native kernels, which some engines have and some do
        not; None where this CPU does not have the precision."""
        variants = [self.milliseconds.get(name) for name in (precision, f"{precision} {WINOGRAD}")]
        return min((time for time in variants if time is not None), default=None)

    def gflops(self, precision: str) -> float | None:
        """10^9 operations of the plain convolutions a second, on one thread, by the faster variant."""
        taken = self.best(precision)
        return None if taken is None else GFLOP / taken * 1000

    def against_fp32(self, precision: str) -> float | None:
        """Time taken as a multiple of FP32's: below 1 the precision pays."""
        taken, fp32 = self.best(precision), self.best("fp32")
        return None if taken is None or fp32 is None else taken / fp32

    def plain_is_faster(self, precision: str, native: bool = False) -> bool:
        """Whether plain convolutions take clearly less time than Winograd's; False where that was not measured.

        Args:
            precision: of both.
            native: Winograd's by the native kernels; as graph operations where the kernels were not measured.
        """
        names = [f"{precision} {NATIVE}"] if native else []
        winograd = [self.milliseconds.get(name) for name in (*names, f"{precision} {WINOGRAD}")]
        measured = next((time for time in winograd if time is not None), None)
        plain = self.milliseconds.get(precision)
        return measured is not None and plain is not None and plain < PLAIN_WINS * measured

    def native_gain(self, precision: str) -> float | None:
        """How many times as fast the native kernels are as the faster of OpenVINO's own convolutions; None where that
        was not measured."""
        taken, own = self.milliseconds.get(f"{precision} {NATIVE}"), self.best(precision)
        return None if taken is None or own is None else own / taken

    def native_is_slower(self, precision: str, winograd: bool) -> bool:
        """Whether an engine of OpenVINO's own convolutions takes clearly less time than one of native kernels; False
        where that was not measured.

        Args:
            precision: of both.
            winograd: whether OpenVINO's are Winograd's, as graph operations.
        """
        own = self.milliseconds.get(f"{precision} {WINOGRAD}" if winograd else precision)
        taken = self.milliseconds.get(f"{precision} {NATIVE}")
        return own is not None and taken is not None and own < PLAIN_WINS * taken

    def sentence(self) -> str:
        """For people: ``"bf16 takes 1.33 times the time of fp32"`` and so on."""
        found = [(name, self.against_fp32(name)) for name in PRECISIONS[1:]]
        words = [f"{name} {times:.2f}" for name, times in found if times is not None]
        return f"time as a multiple of fp32's: {', '.join(words)}" if words else "only fp32"


def kept(cache: str | None = None) -> CpuSpeed | None:
    """What was measured on this CPU with this OpenVINO before; None where nothing was."""
    openvino = _openvino()
    if openvino is None:
        return None
    content = CompiledCache.at(cache).read(_key(openvino))
    return None if content is None else _parsed(content.tobytes())


def measured(cache: str | None = None, again: bool = False) -> CpuSpeed | None:
    """What was measured before, else (or with `again`) what is measured now, in 5 seconds; None without OpenVINO."""
    found = None if again else kept(cache)
    if found is not None:
        return found
    openvino = _openvino()
    if openvino is None:
        return None
    with native_calls.inside():
        found = _measured_now(openvino)
    content = json.dumps(asdict(found)).encode()
    CompiledCache.at(cache).write(_key(openvino), lambda file: file.write(content))
    return found


def measured_once(cache: str | None = None) -> CpuSpeed | None:
    """For those who open or build: as :func:`measured`, unless it is switched off or could not be kept."""
    found = kept(cache)
    if found is not None or os.environ.get(SWITCH, "1") == "0" or CompiledCache.at(cache).why_not() is not None:
        return found
    try:
        log.info("measuring how fast this CPU is in each precision, once")
        return measured(cache)
    except Exception as error:  # OpenVINO raises RuntimeError and its own types; nothing here may stop the work
        log.warning("this CPU's speed could not be measured: %s", (str(error).strip() or repr(error)).splitlines()[-1])
        return None


def _openvino() -> Any:
    try:
        return import_quietly("openvino")
    except Exception:  # not installed, or broken in one of the many ways in which binary packages break
        return None


def _key(openvino: Any) -> dict[str, object]:
    model, flags = cpu_model_and_flags()
    features = hashlib.sha256(" ".join(sorted(flags)).encode()).hexdigest()[:16]
    version = openvino.__version__
    about = {"kind": "cpu-speed", "format": _FORMAT, "cpu": model, "features": features, "library": version}
    return {**about, "native": native.build_of("openvino")}


def _parsed(content: bytes) -> CpuSpeed | None:
    try:
        found = CpuSpeed(**json.loads(content))
        times = [*found.milliseconds.values(), found.copy_gb_per_s]
        sound = "fp32" in found.milliseconds and all(math.isfinite(time) and time > 0 for time in times)
    except (ValueError, TypeError, AttributeError):
        return None
    return found if sound else None


def _measured_now(openvino: Any) -> CpuSpeed:
    milliseconds, copy_gb_per_s = cpu_probe.measure(openvino)
    return CpuSpeed(cpu_model_and_flags()[0], openvino.__version__, milliseconds, copy_gb_per_s)
