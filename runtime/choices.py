"""Which engines of a bundle are tried, by which backends, and in which order: as asked, or by a documented one.

The order of ``backend="auto"``:

1. what `build --tune` measured fastest on this machine with this many threads, if the bundle says so;
2. ``tensorrt``, where the bundle has a TensorRT engine and the machine a GPU for it;
3. ``onnxruntime`` on ``cuda``, where its CUDA provider is installed;
4. ``openvino`` on the CPU;
5. ``onnxruntime`` on the CPU.

Where a target has an engine for the native kernels (:mod:`harmonyrt.runtime.native`) it goes first on a CPU, and the
plain one that stands by it runs where the kernels are missing; a warning says so. In OpenVINO the plain one goes first
where its convolutions are measured clearly faster, unless the bundle was tuned on this machine.

Where a bundle has engines of several precisions for 4 or 5, they come in the order of their speed on this CPU as it was
measured (:mod:`harmonyrt.runtime.cpu_speed`: once for each CPU and version of OpenVINO, and only where a bundle has
something else than FP32); FP32 comes first where nothing was measured, and on GPUs. What is slower than FP32 says so.

``"auto"`` trades rounding for speed, and no more: what FP32, FP16 and BF16 may lose, the build's gate has proved whole.
INT8 must also stay within 0.2 dB of FP32 against a ground truth, which no build has, so it comes after all of that
order, for a bundle that can run in nothing else here. ``precision="int8"`` asks for it, ``precision="fastest"`` for
whatever is fastest.

``device="cpu"`` leaves out 2 and 3, ``device="cuda"`` leaves out 4 and 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.backends import SessionOptions
from harmonyrt.runtime.cpu_speed import WORTHWHILE, CpuSpeed, kept, measured_once
from harmonyrt.runtime.machine import cores, machine_name, may_have_gpu
from harmonyrt.runtime.manifest import PRECISIONS, EngineSpec, Manifest, Measurement

BACKENDS = ("tensorrt", "onnxruntime", "openvino")
# Which targets a backend opens, the one it prefers first.
OPENS = {"tensorrt": ("tensorrt", "tensorrt-rtx"), "onnxruntime": ("onnx",), "openvino": ("openvino", "onnx")}
AUTO_ORDER = (("tensorrt", "cuda"), ("onnxruntime", "cuda"), ("openvino", "cpu"), ("onnxruntime", "cpu"))
FASTEST = "fastest"
"""Asked for as a precision: any, by speed alone."""
ONLY_ASKED_FOR = ("int8",)
"""Precisions that nothing takes unasked as long as another one can run."""


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


def wanted_engines(manifest: Manifest, target: str | None, precision: str | None) -> list[EngineSpec]:
    """The engines of a target and a precision, in the manifest's order; :data:`FASTEST` and None are any."""
    return [
        engine
        for engine in manifest.engines
        if target in (None, engine.target) and precision in (None, FASTEST, engine.precision)
    ]


def check_precision(precision: str | None) -> None:
    """Refuse what is no precision to ask for; raises HarmonyError."""
    if precision is not None and precision not in (*PRECISIONS, FASTEST):
        raise HarmonyError(f"precision {precision!r} is not known; give one of {', '.join(PRECISIONS)}, or {FASTEST}")


def speed_for(engines: list[EngineSpec], options: SessionOptions) -> CpuSpeed | None:
    """What was measured of this CPU, or is now; None where it decides nothing."""
    on_cpu = [engine.precision for engine in engines if engine.target in OPENS["openvino"]]
    if options.device not in (None, "cpu") or all(precision == "fp32" for precision in on_cpu):
        return None
    if options.device is None and may_have_gpu():  # most likely the CPU will not run it: not worth the wait
        return kept(options.cache)
    return measured_once(options.cache)


def kept_speed_of_kernels(engines: list[EngineSpec], backend: str, options: SessionOptions) -> CpuSpeed | None:
    """What was measured before; a backend that is asked for by name waits for no measurement."""
    may_choose = backend == "openvino" and any(engine.is_native for engine in engines)
    return kept(options.cache) if may_choose and options.device in (None, "cpu") else None


def _expected(precision: str, speed: CpuSpeed | None, backend: str) -> tuple[float, int]:
    """What the precisions of one target are sorted by."""
    exactness = PRECISIONS.index(precision)
    if speed is None:
        return 0.0, exactness
    # ONNX Runtime computes FP16 graphs in FP32 on a CPU, whatever the CPU could do.
    computes = "fp32" if (backend, precision) == ("onnxruntime", "fp16") else precision
    share = 1 if precision == "fp32" else WORTHWHILE  # what is no faster than that stays exact
    return (speed.best(computes) or math.inf) / share, exactness


def slower_than_fp32(choice: Choice, speed: CpuSpeed | None, manifest: Manifest) -> str | None:
    """What to say of a choice that was measured slower than FP32 on this CPU; None for nothing."""
    precision = choice.engine.precision
    times = speed.against_fp32(precision) if speed is not None and choice.options.device == "cpu" else None
    if times is None or times <= 1 / WORTHWHILE:
        return None
    better = "its fp32 engine" if "fp32" in manifest.precisions else "an fp32 bundle"
    return f"measured on this CPU, {precision} takes {times:.2f} times the time of fp32: {better} is faster here"


def choices_for(
    manifest: Manifest,
    engines: list[EngineSpec],
    backend: str,
    options: SessionOptions,
    precision: str | None,
    speed: CpuSpeed | None,
) -> tuple[list[Choice], str]:
    """What to try, in order, and why the first comes first."""
    tuned_here = any(measured.machine == machine_name() for measured in manifest.measurements)

    def plain_first(name: str, precision: str, among: list[EngineSpec]) -> bool:
        """Whether what stands by an engine of native kernels goes before it; `build --tune` has timed both whole."""
        if name != "openvino" or tuned_here or speed is None:
            return False
        plain = [engine for engine in among if engine.precision == precision and not engine.is_native]
        return any(speed.native_is_slower(precision, "winograd" in engine.rewrites) for engine in plain)

    def without_kernels(choices: list[Choice]) -> str:
        first = choices[0] if choices else None
        same = [choice.engine for choice in choices if first is not None and choice.backend == first.backend]
        if first is None or not plain_first(first.backend, first.engine.precision, same):
            return ""
        if not any(engine.is_native and engine.precision == first.engine.precision for engine in same):
            return ""
        return f"; in {first.engine.precision} the native kernels are measured slower on this CPU"

    def ways(name: str, device: str | None, among: list[EngineSpec], cpu: bool, by_speed: bool = True) -> list[Choice]:
        """The engines that a backend opens: of the target that it prefers, TensorRT of each that it has."""

        def place(engine: EngineSpec, same: list[EngineSpec]) -> tuple[float, int, bool]:
            in_order = _expected(engine.precision, speed if cpu and by_speed else None, name)
            return *in_order, engine.is_native != (cpu and not plain_first(name, engine.precision, same))

        found = [[engine for engine in among if engine.target == target] for target in OPENS[name]]
        found = [same for same in found if same][: None if name == "tensorrt" else 1]
        ways_with = replace(options, device=device)
        return [
            Choice(name, engine, ways_with)
            for same in found
            for engine in sorted(same, key=lambda engine: place(engine, same))
        ]

    if backend != "auto":
        # A backend asked for by name gets its own engines only: OpenVINO reads ONNX when the bundle has no IR.
        on_cpu = options.device in (None, "cpu")
        found = ways(backend, options.device, engines, on_cpu, precision == FASTEST)
        if backend == "tensorrt":
            return found, "asked for"
        same = [choice for choice in found if choice.engine.precision == found[0].engine.precision]
        return same if on_cpu else same[:1], "asked for" + without_kernels(same)
    held_back = [engine for engine in engines if precision is None and engine.precision in ONLY_ASKED_FOR]
    groups = [[engine for engine in engines if engine not in held_back], held_back]
    ordered = []
    for among in groups:
        choices = []
        for name, kind in AUTO_ORDER:
            asked = options.device
            if asked is not None and asked.split(":")[0] != kind:
                continue
            # The TensorRT and CUDA rows find their GPU themselves; the CPU rows are told to stay there.
            device = asked or (None if name == "tensorrt" else kind)
            choices += ways(name, device, among, kind == "cpu")
        ordered.append(choices)
    first, last = ordered if ordered[0] else (ordered[1], [])
    first, why = _tuned(manifest, first, options, speed)
    why += without_kernels(first)
    if last:
        words = " and ".join(dict.fromkeys(engine.precision for engine in held_back))
        why += f"; {words} only where it is asked for or nothing else can run"
    return first + last, why


def _tuned(
    manifest: Manifest, choices: list[Choice], options: SessionOptions, speed: CpuSpeed | None
) -> tuple[list[Choice], str]:
    """What `build --tune` measured fastest here comes first; the others in the order that they have."""
    here, threads = machine_name(), options.threads or cores()
    usable = [m for m in manifest.measurements if m.machine == here and m.threads == threads]
    for measured in sorted(usable, key=lambda m: m.milliseconds):
        first = [choice for choice in choices if _is_of(measured, choice)]
        if first:
            count = f"{threads} thread{'s' if threads != 1 else ''}"
            why = f"measured fastest here: {measured.milliseconds:.1f} ms with {count}"
            return first + [choice for choice in choices if choice not in first], why
    several = len({choice.engine.precision for choice in choices if choice.options.device == "cpu"}) > 1
    by_rates = f"; {speed.sentence()}, as measured on this CPU" if several and speed is not None else ""
    return choices, _untuned(manifest) + by_rates


def _is_of(measured: Measurement, choice: Choice) -> bool:
    same = (measured.backend, measured.target) == (choice.backend, choice.engine.target)
    return same and measured.precision in ("", choice.engine.precision)


def _untuned(manifest: Manifest) -> str:
    elsewhere = {m.machine for m in manifest.measurements} - {machine_name()}
    if elsewhere:
        return f"the documented order (the bundle was tuned on {', '.join(sorted(elsewhere))}, not here)"
    return "the documented order"
