"""Typed ONNX -> engines of TensorRT (8.6, 10, 11) and of TensorRT for RTX (1.x).

TensorRT builds on the GPU that the engine is for. TensorRT for RTX builds anywhere, also without a GPU, for any of
its compute capabilities; one engine serves several of them, because the weights are most of it and the kernels are
compiled on the user's GPU. Turing (7.5) gets a separate engine: NVIDIA's support matrix advises it, and its graph
differs (see :mod:`harmonyrt.export.tensorrt_engine.lacking`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.files import written_whole
from harmonyrt.common.signals import held_signals
from harmonyrt.export.targets import BuildOptions, BuiltEngine
from harmonyrt.export.tensorrt_engine import network as networks
from harmonyrt.export.tensorrt_engine import settings
from harmonyrt.export.tensorrt_engine.opset import lower_opset
from harmonyrt.export.tensorrt_engine.tactics import TacticsFile
from harmonyrt.runtime.backends import cuda
from harmonyrt.runtime.backends.tensorrt import lean, refit
from harmonyrt.runtime.backends.tensorrt import versions as tensorrt_versions
from harmonyrt.runtime.backends.tensorrt.log import Log, open_log
from harmonyrt.runtime.backends.tensorrt.plan import check_header
from harmonyrt.runtime.backends.tensorrt.versions import DISPLAY_NAME, DRIVER_OF_CUDA, Capability, named

if TYPE_CHECKING:
    import onnx_ir as ir

TURING: Capability = (7, 5)


@dataclass(frozen=True)
class _Job:
    """One engine to build: its file, the GPUs that it is for, and the GPU at hand if it is one of them."""

    file: str
    capabilities: tuple[Capability, ...]
    runs_here: bool


def build(model: ir.Model, folder: Path, precision: str, options: BuildOptions) -> list[BuiltEngine]:
    """Build every engine of one target from one typed graph.

    Args:
        model: typed graph (fp16, bf16), plain graph (fp32), or graph with Q/DQ (int8).
        folder: of the bundle; engines are written whole or not at all.
        precision: that the graph has.
        options: GPUs, limits and who watches.

    Returns:
        TensorRT: one engine for the GPU at hand. TensorRT for RTX: one for 8.0 to 12.1, one for Turing.

    Raises:
        HarmonyError: package or GPU missing, or an option that this release or GPU does not support.
        WorkFailed: the graph cannot be parsed or built, or the engine does not compute in `precision`.
    """
    trt = tensorrt_versions.load(options.target)
    networks.check_readable(precision, options.target, trt.__version__)
    jobs_of = _rtx_jobs if options.target == "tensorrt-rtx" else _local_jobs
    return [_build_one(trt, model, folder, precision, options, job) for job in jobs_of(trt, precision, options)]


def _rtx_jobs(trt: ModuleType, precision: str, options: BuildOptions) -> list[_Job]:
    known = settings.known_capabilities(trt)
    asked = tuple(tensorrt_versions.parse_capability(text) for text in options.compute_capabilities)
    unknown = [named(c) for c in asked if c not in known]
    if unknown:
        raise HarmonyError(
            f"TensorRT for RTX {trt.__version__} builds for compute capabilities {', '.join(map(named, known))}, not"
            f" for {', '.join(unknown)}; choose among those, or target tensorrt on that GPU"
        )
    chosen = tuple(sorted(asked or known))
    if precision == "bf16" and TURING in chosen:
        if asked == (TURING,):
            raise HarmonyError("compute capability 7.5 has no BF16: build fp16 for it")
        options.progress("compute capability 7.5 has no BF16: left out", None)
        chosen = tuple(c for c in chosen if c != TURING)
    here = _local_capabilities()
    groups = [tuple(c for c in chosen if c != TURING), tuple(c for c in chosen if c == TURING)]
    return [
        _Job(f"tensorrt-rtx-{'-'.join(f'sm{a}{b}' for a, b in group)}.engine", group, bool(set(here) & set(group)))
        for group in groups
        if group
    ]


def _local_capabilities() -> list[Capability]:
    """GPUs of this machine; none where CUDA cannot be asked."""
    try:
        device = cuda.open_cuda()
        return [device.capability(i) for i in range(device.device_count())]
    except HarmonyError:
        return []


def _local_jobs(trt: ModuleType, precision: str, options: BuildOptions) -> list[_Job]:
    here = _local_capabilities()
    if not here:
        raise HarmonyError(
            "TensorRT builds on the NVIDIA GPU that the engine is for, and none is usable here (cuda-python and a"
            " driver are needed): run this on that machine, or build target tensorrt-rtx, which needs no GPU"
        )
    capability = here[0]
    asked = tuple(tensorrt_versions.parse_capability(text) for text in options.compute_capabilities)
    if asked and asked != (capability,):
        raise HarmonyError(
            f"TensorRT builds for the GPU at hand, compute capability {named(capability)}, and"
            f" {', '.join(map(named, asked))} was asked for: leave it out, or build there"
        )
    refusal = tensorrt_versions.why_unsupported("tensorrt", trt.__version__, capability)
    if refusal:
        raise HarmonyError(refusal)
    if precision == "bf16" and capability < (8, 0):
        raise HarmonyError(f"BF16 needs compute capability 8.0, this GPU has {named(capability)}: build fp16")
    if options.hardware_compatible and capability < (8, 0):
        raise HarmonyError(
            f"hardware-compatible plans begin at compute capability 8.0, this GPU has {named(capability)}: leave"
            " --hardware-compatible out"
        )
    major, minor, *_ = tensorrt_versions.parse_version(trt.__version__)
    return [_Job(f"tensorrt-{major}.{minor}-sm{capability[0]}{capability[1]}.engine", (capability,), True)]


def _build_one(
    trt: ModuleType, model: ir.Model, folder: Path, precision: str, options: BuildOptions, job: _Job
) -> BuiltEngine:
    from harmonyrt.export.onnx_file import handed_over, save

    target, version = options.target, trt.__version__
    weakly_typed = not networks.strongly_typed(target, version)
    if weakly_typed:
        model = lower_opset(model)
    rewrites: tuple[str, ...] = ()
    if target == "tensorrt-rtx":
        model, rewrites = _for_rtx(model, precision, job)
    log = open_log(trt)
    with warnings.catch_warnings(), handed_over(model, folder) as path:
        warnings.simplefilter("ignore", DeprecationWarning)  # of flags that a later release ignores
        builder = _open_builder(trt, target, log)
        if options.threads is not None:
            builder.max_threads = options.threads
        network = networks.create_network(trt, builder)
        parser = networks.parse(trt, target, network, model, path, log)
        if weakly_typed and precision != "int8":  # Q/DQ says where INT8 is
            networks.constrain_precisions(trt, network, model)
        networks.check_network(network, precision, weakly_typed)
        plan = _serialized(trt, builder, network, precision, options, job, log)
    counts = networks.network_counts(network, weakly_typed)
    del parser  # it had to live until here
    with written_whole(folder / job.file) as scratch:
        scratch.write_bytes(plan)
        if target == "tensorrt-rtx":
            check_header(scratch, version, job.capabilities)
    files: tuple[str, ...] = (job.file,)
    if options.strip_weights:
        files += save(model, folder / f"{Path(job.file).stem}-weights.onnx")
    if job.runs_here:
        try:
            _check_here(trt, folder, files, precision, options, log)
        except HarmonyError:
            for name in files:
                (folder / name).unlink()
            raise
    needs = _needs(target, version, job.capabilities, options)
    return BuiltEngine(files, counts, needs, job.runs_here, rewrites)


def _for_rtx(model: ir.Model, precision: str, job: _Job) -> tuple[ir.Model, tuple[str, ...]]:
    """The same function without what its compiler cannot do, and the names of the rewrites that were needed."""
    from harmonyrt.export.tensorrt_engine import lacking

    needed = {}
    if job.capabilities == (TURING,):
        needed["fp32-products-as-sums"] = lacking.without_fp32_products
    if precision == "bf16":
        needed["bf16-transposed-as-phases"] = lacking.without_bf16_transposed
    rewritten = model.clone()
    for rewrite in needed.values():
        rewrite(rewritten)
    return rewritten, tuple(needed)


def _open_builder(trt: ModuleType, target: str, log: Log) -> Any:
    if target == "tensorrt" and hasattr(trt, "init_libnvinfer_plugins"):
        trt.init_libnvinfer_plugins(log.logger, "")  # 8.6 keeps InstanceNormalization there
    try:
        return trt.Builder(log.logger)
    except TypeError:  # the binding's way to say that the constructor returned nothing
        raise HarmonyError(
            f"{DISPLAY_NAME[target]} {trt.__version__} cannot start its builder: {log.last_error}; check the driver"
            " with nvidia-smi and harmonyrt doctor"
        ) from None


def _serialized(
    trt: ModuleType, builder: Any, network: Any, precision: str, options: BuildOptions, job: _Job, log: Log
) -> bytes:
    name = DISPLAY_NAME[options.target]
    config = settings.configure(trt, builder, network, precision, options)
    timing = chosen = None
    if options.target == "tensorrt-rtx":
        if options.tactics is not None:
            raise HarmonyError(f"{name} times no kernels; leave --tactics and --record-tactics out for tensorrt-rtx")
        settings.set_capabilities(trt, config, job.capabilities)
    else:
        chosen = TacticsFile.choose(trt, options, job.capabilities[0])
        if chosen is not None:
            chosen.load(trt, config, log)
        else:
            timing = settings.TimingCache.choose(options, trt.__version__, job.capabilities[0])
            timing.load(config)
    with held_signals() as interrupted:
        monitor = settings.watch(trt, config, f"building {job.file}", options.progress, interrupted)
        plan = builder.build_serialized_network(network, config)
        del monitor
    if plan is None:
        why = f"{log.last_error}; try another optimization level or workspace, or another target"
        if chosen is not None and not chosen.records:
            why = chosen.why_failed(log)
        raise WorkFailed(f"{name} {trt.__version__} could not build {job.file}: {why}")
    if timing is not None:
        timing.save(config)
    if chosen is not None:
        chosen.save(config)
    return bytes(plan)


def _check_here(
    trt: ModuleType, folder: Path, files: tuple[str, ...], precision: str, options: BuildOptions, log: Log
) -> None:
    """On the GPU that it is for, an engine must open, and its layers must run in what was asked for."""
    path = folder / files[0]
    parent = runtime = trt.Runtime(log.logger)
    if options.lean_runtime is not None:
        runtime = lean.load(parent, options.lean_runtime, log)
    if options.version_compatible:
        runtime.engine_host_code_allowed = True  # the lean runtime in the plan that was just built
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise WorkFailed(f"{path.name} was built and does not open: {log.last_error}; run harmonyrt doctor")
    if options.strip_weights:
        refit.put_weights(trt, engine, folder / files[1], log)
    networks.check_engine(networks.engine_counts(trt, engine), precision)


def _needs(target: str, version: str, capabilities: tuple[Capability, ...], options: BuildOptions) -> dict[str, str]:
    needs = {"version": version, "compute_capability": ", ".join(map(named, capabilities))}
    if options.hardware_compatible:
        needs["compute_capability"] = "8.0+"
    if options.version_compatible:
        needs["version_compatible"] = "true"
    if options.lean_runtime is not None:
        needs |= lean.needs_of(options.lean_runtime)
    if options.strip_weights:
        needs[refit.NEED] = refit.APART
    major = tensorrt_versions.cuda_major(target)
    if major is not None:
        needs |= {"cuda": str(major), "driver": DRIVER_OF_CUDA[major]}
    return needs
