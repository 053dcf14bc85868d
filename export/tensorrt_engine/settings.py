"""How TensorRT's builder is told to build: limits, compatibility, dynamic sizes, timing cache, progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from harmonyrt.common import HarmonyError
from harmonyrt.export.targets import BuildOptions, Progress
from harmonyrt.runtime.backends.tensorrt.versions import DISPLAY_NAME, Capability, named, parse_version
from harmonyrt.runtime.compiled_cache import NONE, CompiledCache


@dataclass(frozen=True)
class Profile:
    """A range of shapes that an engine is optimised for: (smallest, typical, largest) batch and side."""

    batch: tuple[int, int, int]
    side: tuple[int, int, int]


PROFILES = (Profile((1, 1, 1), (64, 512, 2048)), Profile((2, 4, 16), (64, 256, 512)))
"""What dynamic engines take: one picture up to 2048 x 2048, or up to 16 up to 512 x 512. The runtime chooses."""


def configure(trt: ModuleType, builder: Any, network: Any, precision: str, options: BuildOptions) -> Any:
    """Builder settings for one engine.

    TF32 is always off: it would put products of ten bits into FP32 graphs and into the FP32 islands of the others.

    Raises:
        HarmonyError: an option that this flavour or release does not have.
    """
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.version_compatible:
        _refuse_for_rtx(options, "version-compatible engines: every release needs its own")
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.lean_runtime is not None:
        config.set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
    if options.hardware_compatible:
        _refuse_for_rtx(options, "hardware-compatible mode: name several compute capabilities instead")
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options.strip_weights:
        _strip_weights(trt, config, options)
    if options.weight_streaming:
        _allow_weight_streaming(trt, config, options)
    if options.target == "tensorrt":
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # engine_counts reads the layers' types
        if parse_version(trt.__version__)[0] < 10:
            _weak_typing(trt, config, precision)
    _add_profiles(builder, network, config)
    return config


def _refuse_for_rtx(options: BuildOptions, lacking: str) -> None:
    if options.target == "tensorrt-rtx":
        raise HarmonyError(f"TensorRT for RTX has no {lacking}; leave the option out for target tensorrt-rtx")


def _allow_weight_streaming(trt: ModuleType, config: Any, options: BuildOptions) -> None:
    """The flag alone changes nothing: an engine streams only when it is given a budget (`weight_streaming`)."""
    if options.target == "tensorrt" and parse_version(trt.__version__) < (10, 1):
        raise HarmonyError(
            f"weight streaming needs TensorRT 10.1, found {trt.__version__}: leave --weight-streaming out, or install"
            " a newer one"
        )
    config.set_flag(trt.BuilderFlag.WEIGHT_STREAMING)


def _strip_weights(trt: ModuleType, config: Any, options: BuildOptions) -> None:
    """Leave the weights out, for exactly the same ones to be put in: no slower, and nothing else can be meant."""
    leave = "leave --strip-weights out"
    if options.target == "tensorrt-rtx":
        raise HarmonyError(f"plans without weights are for target tensorrt; {leave} for tensorrt-rtx")
    if parse_version(trt.__version__) < (10, 0):
        raise HarmonyError(f"plans without weights need TensorRT 10.0, found {trt.__version__}: {leave}")
    for name, given in (
        ("--version-compatible", options.version_compatible),
        ("--weight-streaming", options.weight_streaming),
    ):
        if given:
            raise HarmonyError(f"--strip-weights does not go with {name}; leave one of them out")
    config.set_flag(trt.BuilderFlag.STRIP_PLAN)
    config.set_flag(trt.BuilderFlag.REFIT_IDENTICAL)


def _weak_typing(trt: ModuleType, config: Any, precision: str) -> None:
    """8.6: allow the lower type, and hold the builder to the types that the layers were given."""
    flags = {"fp32": (), "fp16": ("FP16",), "int8": ("INT8",)}[precision]
    for name in (*flags, "OBEY_PRECISION_CONSTRAINTS"):
        config.set_flag(getattr(trt.BuilderFlag, name))
    sharing = getattr(getattr(trt, "PreviewFeature", None), "PROFILE_SHARING_0806", None)
    if sharing is not None:  # so that several sessions can use one profile, as later releases always allow
        config.set_preview_feature(sharing, True)


def set_capabilities(trt: ModuleType, config: Any, capabilities: tuple[Capability, ...]) -> None:
    """TensorRT for RTX: which GPUs one engine is for."""
    config.num_compute_capabilities = len(capabilities)
    for i, capability in enumerate(capabilities):
        member = getattr(trt.ComputeCapability, f"SM{capability[0]}{capability[1]}")
        if not config.set_compute_capability(member, i):
            raise HarmonyError(
                f"{DISPLAY_NAME['tensorrt-rtx']} {trt.__version__} refused compute capability {named(capability)};"
                " leave it out"
            )


def known_capabilities(trt: ModuleType) -> tuple[Capability, ...]:
    """GPUs that the installed TensorRT for RTX can build for, lowest first."""
    names = (name[2:] for name in dir(trt.ComputeCapability) if name.startswith("SM") and name[2:].isdigit())
    return tuple(sorted((int(name[:-1]), int(name[-1])) for name in names))


def _add_profiles(builder: Any, network: Any, config: Any) -> None:
    """Static networks need no profile; dynamic ones get :data:`PROFILES`."""
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    if all(size >= 0 for tensor in inputs for size in tensor.shape):
        return
    for profile in PROFILES:
        shapes = builder.create_optimization_profile()
        for tensor in inputs:
            shapes.set_shape(tensor.name, *(_filled(tuple(tensor.shape), profile, i) for i in range(3)))
        config.add_optimization_profile(shapes)


def _filled(shape: tuple[int, ...], profile: Profile, which: int) -> tuple[int, ...]:
    free = (profile.batch[which], 0, profile.side[which], profile.side[which])  # N, C, H, W
    return tuple(size if size >= 0 else free[axis] for axis, size in enumerate(shape))


# --- timing cache (TensorRT only: with TensorRT for RTX it has no effect, and forbids building without a GPU)


@dataclass(frozen=True)
class TimingCache:
    """What earlier builds measured of kernels; it holds for one release and one kind of GPU."""

    cache: CompiledCache
    key: dict[str, object]

    @classmethod
    def choose(cls, options: BuildOptions, version: str, capability: Capability) -> TimingCache:
        """Next to the bundles, in the folder that the build was given; nowhere where it was given none."""
        gpu = f"sm{capability[0]}{capability[1]}"
        folder = NONE if options.cache is None else str(options.cache)
        return cls(CompiledCache.at(folder), {"kind": "tensorrt-timing", "library": version, "card": gpu})

    def load(self, config: Any) -> None:
        """Use it; a cache that TensorRT does not take is measured again."""
        if self.cache.folder is None:
            return
        kept = self.cache.read(self.key)
        blob = b"" if kept is None else kept.tobytes()
        timings = config.create_timing_cache(blob) or config.create_timing_cache(b"")
        if timings is not None:
            config.set_timing_cache(timings, ignore_mismatch=False)

    def save(self, config: Any) -> None:
        """Keep what this build measured."""
        timings = None if self.cache.folder is None else config.get_timing_cache()
        if timings is not None:
            blob = bytes(timings.serialize())
            self.cache.write(self.key, lambda file: file.write(blob))


# --- progress


def watch(trt: ModuleType, config: Any, doing: str, progress: Progress, stop: Callable[[], bool]) -> Any:
    """Report the builder's progress where it tells any (from 10.0), and let it `stop`; keep what is returned until the
    build ends."""
    if not hasattr(trt, "IProgressMonitor"):
        progress(doing, None)
        return None
    shares = Shares()

    class Monitor(trt.IProgressMonitor):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            shares.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress(doing, shares.step(phase_name, step))
            return not stop()

        def phase_finish(self, phase_name: str) -> None:
            progress(doing, shares.finish(phase_name))

    config.progress_monitor = monitor = Monitor()
    return monitor


class Shares:
    """Nested phases of unequal length as one share from 0 to 1 that never falls."""

    def __init__(self) -> None:
        self._phases: dict[str, tuple[str | None, int, int]] = {}  # parent, steps, steps done
        self._share = 0.0

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase begins."""
        self._phases[phase] = (parent, max(steps, 1), 0)

    def step(self, phase: str, step: int) -> float:
        """Step number `step` (from 0) of a phase is done."""
        if phase in self._phases:
            parent, steps, _ = self._phases[phase]
            self._phases[phase] = (parent, steps, min(step + 1, steps))
        return self._now()

    def finish(self, phase: str) -> float:
        """A phase ends, perhaps early."""
        self._phases.pop(phase, None)
        if not self._phases:
            self._share = 1.0
        return self._now()

    def _now(self) -> float:
        root = next((name for name, (parent, _, _) in self._phases.items() if parent is None), None)
        if root is not None:
            self._share = max(self._share, min(self._done(root), 1.0))
        return self._share

    def _done(self, phase: str) -> float:
        _, steps, done = self._phases[phase]
        children = [name for name, (parent, _, _) in self._phases.items() if parent == phase]
        inner = sum(self._done(child) for child in children) / len(children) if children and done < steps else 0.0
        return (done + inner) / steps
