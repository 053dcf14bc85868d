"""Which backend runs a bundle: as asked, or by a documented order; never silently another.

The order of ``backend="auto"``:

1. what `build --tune` measured fastest on this machine with this many threads, if the bundle says so;
2. ``tensorrt``, where the bundle has a TensorRT engine and the machine a GPU for it;
3. ``onnxruntime`` on ``cuda``, where its CUDA provider is installed;
4. ``openvino`` on the CPU;
5. ``onnxruntime`` on the CPU.

Where a target has an engine for the native kernels (:mod:`harmonyrt.runtime.native`) it goes first on a CPU, and the
plain one that stands by it runs where the kernels are missing; a warning says so.

Where a bundle has engines of several precisions for 4 or 5, they come in the order of their speed on this CPU as it was
measured (:mod:`harmonyrt.runtime.cpu_speed`: once for each CPU and version of OpenVINO, and only where a bundle has
something else than FP32); FP32 comes first where nothing was measured. What is slower than FP32 here says so.

``device="cpu"`` leaves out 2 and 3, ``device="cuda"`` leaves out 4 and 5. Whatever is passed over is reported with
its reason.
"""

from __future__ import annotations

import importlib
import logging
import math
import re
from dataclasses import dataclass, replace
from types import ModuleType

from harmonyrt.common import HarmonyError, OutOfMemory
from harmonyrt.runtime.backends import Session, SessionOptions, failures
from harmonyrt.runtime.bundle import Bundle
from harmonyrt.runtime.cpu_speed import PRECISIONS, WORTHWHILE, CpuSpeed, kept, measured_once
from harmonyrt.runtime.machine import cores, machine_name, may_have_gpu
from harmonyrt.runtime.manifest import TARGETS, EngineSpec, Manifest, Measurement

BACKENDS = ("tensorrt", "onnxruntime", "openvino")
# Which targets a backend opens, the one it prefers first.
OPENS = {"tensorrt": ("tensorrt", "tensorrt-rtx"), "onnxruntime": ("onnx",), "openvino": ("openvino", "onnx")}
AUTO_ORDER = (("tensorrt", "cuda"), ("onnxruntime", "cuda"), ("openvino", "cpu"), ("onnxruntime", "cpu"))

log = logging.getLogger("harmonyrt.runtime")


@dataclass(frozen=True)
class Choice:
    """One engine of a bundle with the backend that runs it."""

    backend: str
    engine: EngineSpec
    options: SessionOptions

    @property
    def label(self) -> str:
        """For example ``"onnxruntime (onnx fp32, cpu)"``."""
        return f"{self.backend} ({self.engine.label}, {self.options.device or 'its device'})"


@dataclass(frozen=True)
class Selected:
    """What was opened, and what was passed over: pairs of label and reason."""

    choice: Choice
    session: Session
    why: str
    skipped: tuple[tuple[str, str], ...]


def open_best(bundle: Bundle, backend: str, target: str | None, options: SessionOptions) -> Selected:
    """Open the session that was asked for, or with ``"auto"`` the first of the order that this machine can run.

    Args:
        bundle: an open bundle.
        backend: ``"auto"`` or one of :data:`BACKENDS`.
        target: only engines of this target, for a bundle that has several for one backend; None for any.
        options: threads, device (None: any), cache.

    Raises:
        HarmonyError: an unknown name, or nothing that was asked for can run here; every reason is in the sentence.
    """
    if backend != "auto" and backend not in BACKENDS:
        raise HarmonyError(f"backend {backend!r} is not known; give auto or one of {', '.join(BACKENDS)}")
    device = options.device
    if device is not None and (not isinstance(device, str) or re.fullmatch(r"cpu|cuda(:\d+)?", device) is None):
        raise HarmonyError(f"device {device!r} is not known; give cpu, cuda or cuda:N, or none for any")
    if target is not None and target not in TARGETS:
        raise HarmonyError(f"target {target!r} is not known; give one of {', '.join(TARGETS)}")
    speed = _speed(bundle.manifest, target, options) if backend == "auto" else None
    choices, why = _choices(bundle.manifest, backend, target, options, speed)
    skipped: list[tuple[str, str]] = []
    without_kernels: dict[tuple[str, str], str] = {}
    no_memory = False
    for choice in choices:
        try:
            reason, session = _try(bundle, choice)
        except OutOfMemory as error:
            reason, session, no_memory = str(error), None, True
        if session is not None:
            for label, cause in skipped:
                expected = may_have_gpu() or not label.endswith(", cuda)")
                log.log(logging.INFO if expected else logging.DEBUG, "skipped %s: %s", label, cause)
            if (cause := without_kernels.get((choice.backend, choice.engine.target))) is not None:
                log.warning("%s: %s runs, slower than with native kernels: %s", bundle.path, choice.label, cause)
            if (slow := _slower_than_fp32(choice, speed)) is not None:
                why = f"{why}; {slow}"
                log.warning("%s: %s", bundle.path, slow)
            log.info("opened %s with %s: %s", bundle.path, choice.label, why)
            return Selected(choice, session, why, tuple(skipped))
        skipped.append((choice.label, reason))
        if choice.engine.is_native:
            without_kernels[choice.backend, choice.engine.target] = reason
    if not skipped:
        found = ", ".join(f"{engine.target} {engine.precision}" for engine in bundle.manifest.engines)
        asked = f"backend {backend}" + (f", target {target}" if target else "")
        raise HarmonyError(
            f"{bundle.path} has no engine for {asked}: found {found or 'none'};"
            f" build one with --targets {target or (OPENS[backend][0] if backend in OPENS else 'onnx')}"
        )
    reasons = "; ".join(f"{label}: {reason}" for label, reason in skipped)
    kind = OutOfMemory if no_memory else HarmonyError
    raise kind(f"{bundle.path} cannot run as asked (backend {backend}, device {options.device}): {reasons}")


def _try(bundle: Bundle, choice: Choice) -> tuple[str, Session | None]:
    """A session, or why there is none.

    Raises:
        OutOfMemory: the engine was tried and memory ran out; another backend of the order may need less.
    """
    module = backend_module(choice.backend)
    reason = module.why_not(choice.engine, choice.options)
    if reason is not None:
        return reason, None
    path = bundle.verified_file(choice.engine)  # a tampered file is an error, not a reason to take another engine
    try:
        failures.check_room(path, sum(file.bytes for file in choice.engine.files))
        return "", module.open_session(path, choice.engine, bundle.manifest, choice.options)
    except OutOfMemory:
        raise
    except MemoryError as error:
        raise failures.no_memory(f"{path} cannot be opened ({error or 'MemoryError'})") from None
    except HarmonyError as error:
        return str(error), None


def backend_module(name: str) -> ModuleType:
    """The module of a backend, imported when it is first asked for."""
    try:
        return importlib.import_module(f"harmonyrt.runtime.backends.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"harmonyrt.runtime.backends.{name}":
            raise
        raise HarmonyError(f"this installation has no {name} backend; install the full harmonyrt") from None


def _speed(manifest: Manifest, target: str | None, options: SessionOptions) -> CpuSpeed | None:
    """What was measured of this CPU, or is now; None where it decides nothing."""
    engines = [e for e in manifest.engines if target in (None, e.target) and e.target in OPENS["openvino"]]
    if options.device not in (None, "cpu") or all(engine.precision == "fp32" for engine in engines):
        return None
    if options.device is None and may_have_gpu():  # most likely the CPU will not run it: not worth the wait
        return kept(options.cache)
    return measured_once(options.cache)


def _expected(precision: str, speed: CpuSpeed | None) -> float:
    """What the precisions of one target are sorted by."""
    if speed is None:
        return PRECISIONS.index(precision)
    return speed.best(precision) or math.inf


def _slower_than_fp32(choice: Choice, speed: CpuSpeed | None) -> str | None:
    precision = choice.engine.precision
    times = speed.against_fp32(precision) if speed is not None and choice.options.device == "cpu" else None
    if times is None or times <= 1 / WORTHWHILE:
        return None
    return f"measured on this CPU, {precision} takes {times:.2f} times the time of fp32: an fp32 bundle is faster here"


def _choices(
    manifest: Manifest, backend: str, target: str | None, options: SessionOptions, speed: CpuSpeed | None
) -> tuple[list[Choice], str]:
    plain_first = sorted(manifest.engines, key=lambda engine: engine.is_native)
    engines = {e.target: e for e in reversed(plain_first) if target in (None, e.target)}

    def ways(name: str, device: str | None) -> list[Choice]:
        return [Choice(name, engines[t], replace(options, device=device)) for t in OPENS[name] if t in engines]

    def by_speed(way: Choice) -> list[EngineSpec]:
        """The engines of its target, the fastest precision first, and of one precision the native one."""
        same = [engine for engine in manifest.engines if engine.target == way.engine.target]
        return sorted(same, key=lambda engine: (_expected(engine.precision, speed), not engine.is_native))

    if backend == "tensorrt":
        return ways(backend, options.device), "asked for"
    if backend != "auto":
        # A backend asked for by name gets its own engines only: OpenVINO reads ONNX when the bundle has no IR.
        first = ways(backend, options.device)[:1]
        on_cpu = (options.device or "cpu") == "cpu"
        same = [e for way in first for e in by_speed(way) if e.precision == way.engine.precision] if on_cpu else []
        return [replace(first[0], engine=e) for e in same] or first, "asked for"
    choices = []
    for name, kind in AUTO_ORDER:
        asked = options.device
        if asked is not None and asked.split(":")[0] != kind:
            continue
        # The TensorRT and CUDA rows find their GPU themselves; the CPU rows are told to stay there.
        found = ways(name, asked or (None if name == "tensorrt" else kind))[: None if name == "tensorrt" else 1]
        choices += [replace(way, engine=e) for way in found for e in by_speed(way)] if kind == "cpu" else found
    measured = _fastest(manifest, options)
    if measured is None:
        several = len({c.engine.precision for c in choices if c.options.device == "cpu"}) > 1
        by_rates = f"; {speed.sentence()}, as measured on this CPU" if several and speed is not None else ""
        return choices, _untuned(manifest) + by_rates
    first = [c for c in choices if (c.backend, c.engine.target) == (measured.backend, measured.target)]
    count = f"{measured.threads} thread{'s' if measured.threads != 1 else ''}"
    why = f"measured fastest here: {measured.milliseconds:.1f} ms with {count}"
    return first + [c for c in choices if c not in first], why if first else "the documented order"


def _fastest(manifest: Manifest, options: SessionOptions) -> Measurement | None:
    here, threads = machine_name(), options.threads or cores()
    usable = [m for m in manifest.measurements if m.machine == here and m.threads == threads]
    return min(usable, key=lambda m: m.milliseconds, default=None)


def _untuned(manifest: Manifest) -> str:
    elsewhere = {m.machine for m in manifest.measurements} - {machine_name()}
    if elsewhere:
        return f"the documented order (the bundle was tuned on {', '.join(sorted(elsewhere))}, not here)"
    return "the documented order"
