"""Parity: how far an engine is from the PyTorch FP32 module on real composites, and the gates that it has to pass."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.files import sha256_of
from harmonyrt.export.build.composites import Composite, gate_composites
from harmonyrt.runtime.backends import SessionOptions
from harmonyrt.runtime.backends.tensorrt import versions as tensorrt_versions
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.compiled_cache import NONE
from harmonyrt.runtime.decibels import MOST_DB, psnr_db
from harmonyrt.runtime.manifest import EngineSpec, Manifest, Parity

Run = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
"""What :meth:`harmonyrt.runtime.backends.Session.run` does: arrays by input name in, arrays by output name out."""

FP32_MAX_ABS_ERROR = 1e-4
LOWEST_PSNR_DB = {"fp16": 50.0, "bf16": 42.0, "int8": 38.0}
DYNAMIC_GATE_SIZES = ((256, 256), (136, 200))
"""Sizes at which an engine of any size is gated."""


@dataclass(frozen=True)
class Reference:
    """A composite and what the PyTorch FP32 module makes of it, before blending."""

    composite: Composite
    output: np.ndarray


def references(network, size: tuple[int, int] | None) -> list[Reference]:
    """Run the module over the composites that gate an engine of this size (None: of any size).

    Args:
        network: PHNet in eval mode, float32.
        size: [height, width] of the engine.

    Returns:
        One reference per composite.
    """
    import torch

    found = []
    for one in DYNAMIC_GATE_SIZES if size is None else (size,):
        for composite in gate_composites(one):
            with torch.inference_mode():
                output = network(torch.from_numpy(composite.image), torch.from_numpy(composite.mask)).numpy()
            found.append(Reference(composite, output))
    return found


def gate_sentence(precision: str) -> str:
    """The condition that an engine of this precision has to meet."""
    if precision == "fp32":
        return f"max_abs_error <= {FP32_MAX_ABS_ERROR:g}"
    return f"psnr_db >= {LOWEST_PSNR_DB[precision]:g}"


def measure(run: Run, expected: Iterable[Reference], precision: str, measured_on: str) -> Parity:
    """Compare an engine with the module.

    Args:
        run: runs the engine once.
        expected: at least one reference that is not extreme.
        precision: of the engine; decides which gate is noted.
        measured_on: what runs here, for the manifest.

    Returns:
        The worst case over all composites; extreme ones only have to be finite.

    Raises:
        WorkFailed: an output that is not finite, or of another shape.
    """
    cases, error, psnr = 0, 0.0, MOST_DB
    for reference in expected:
        composite = reference.composite
        output = run({"image": composite.image, "mask": composite.mask})["output"]
        if output.shape != reference.output.shape:
            raise WorkFailed(
                f"the engine's output for {composite.name!r} has shape {output.shape}, the module's"
                f" {reference.output.shape}; this is a bug of the build, please report it"
            )
        if not np.isfinite(output).all():
            raise WorkFailed(
                f"the engine's output for {composite.name!r} has {int((~np.isfinite(output)).sum())} values that are"
                f" not finite, on {measured_on}; build another precision"
            )
        cases += 1
        if not composite.extreme:
            error = max(error, float(np.abs(output - reference.output).max()))
            psnr = min(psnr, psnr_db(_blended(output, composite) - _blended(reference.output, composite)))
    return Parity(cases, error, psnr, gate_sentence(precision), measured_on)


def check_gate(parity: Parity, precision: str) -> None:
    """Hold a measured parity against its gate.

    Raises:
        WorkFailed: it does not hold.
    """
    if precision == "fp32":
        passed, found = parity.max_abs_error <= FP32_MAX_ABS_ERROR, f"max_abs_error {parity.max_abs_error:.1e}"
    else:
        passed, found = parity.psnr_db >= LOWEST_PSNR_DB[precision], f"psnr_db {parity.psnr_db:.1f}"
    if not passed:
        raise WorkFailed(
            f"the {precision} engine is outside its gate: found {found} on {parity.measured_on}, need {parity.gate};"
            " it was left out of the bundle: build another precision or with fewer --rewrites"
        )


def _blended(output: np.ndarray, composite: Composite) -> np.ndarray:
    picture = output.astype(np.float64) * composite.mask + composite.image * (1.0 - composite.mask)
    return np.clip(picture, 0, 1)


def open_engine(
    path: Path, engine: EngineSpec, manifest: Manifest, threads: int | None, cache: str = NONE
) -> tuple[Run | None, str]:
    """Open an engine with its backend.

    Args:
        path: its first file.
        engine: what the manifest says of it.
        manifest: of its bundle.
        threads: CPU threads; None for all.
        cache: folder for what the backend keeps; by default none: a proof trusts no user's cache.

    Returns:
        How to run it, and what runs it; or None, and why this machine cannot.
    """
    backend = importlib.import_module(f"harmonyrt.runtime.backends.{engine.backend}")
    options = SessionOptions(threads=threads, cache=cache)
    reason = backend.why_not(engine, options)
    if reason is not None:
        return None, reason
    session = backend.open_session(path, engine, manifest, options)
    if engine.backend == "tensorrt":  # its package goes by several names
        package = tensorrt_versions.load(engine.target)
    else:
        package = importlib.import_module(engine.backend)
    version = getattr(package, "__version__", "").split("-")[0]
    return session.run, f"{engine.backend} {version}, {session.device.upper()}"


def run_onnx(model, threads: int | None) -> tuple[Run, str]:
    """Run a typed graph that no engine here can: as its simulation, by ONNX Runtime on the CPU.

    Args:
        model: onnx.ModelProto of any precision.
        threads: CPU threads; None for all.

    Returns:
        How to run it, and what runs it.
    """
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads or 0
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(_simulation(model), settings, providers=["CPUExecutionProvider"])

    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"output": session.run(["output"], dict(feeds))[0]}

    return run, f"its typed ONNX simulated by onnxruntime {onnxruntime.__version__}, CPU"


def _simulation(model) -> bytes:
    """With norms in steps: the CPU provider's own lose digits of large pictures, which says nothing about a card."""
    import onnx
    import onnx_ir as ir

    from harmonyrt.export.precision import runnable_form
    from harmonyrt.export.rewrites import split_norms

    simulated = ir.from_proto(onnx.shape_inference.infer_shapes(runnable_form(model)))
    split_norms.apply(simulated)
    return ir.to_proto(simulated).SerializeToString()


@dataclass(frozen=True)
class EngineCheck:
    """What `harmonyrt verify` found of one engine: its parity now, or why it could not be measured here.

    Attributes:
        engine: what the manifest says, its parity at build time included.
        parity: measured now; None where this machine cannot run the engine or the gate could not be measured.
        problem: why it failed, as a sentence; None when all is well.
        note: why there is no parity although nothing failed; None otherwise.
    """

    engine: EngineSpec
    parity: Parity | None
    problem: str | None = None
    note: str | None = None


def verify_bundle(path: str | Path, checkpoint: str | Path, threads: int | None = None) -> list[EngineCheck]:
    """Prove a bundle again: every file's hash, then every engine's parity with the module of its checkpoint.

    Args:
        path: folder that `harmonyrt build` wrote.
        checkpoint: the checkpoint that it was built from.
        threads: CPU threads; None for all.

    Returns:
        One result per engine, in the order of the manifest.

    Raises:
        HarmonyError: not a bundle, altered files, or another checkpoint.
    """
    from harmonyrt.models.checkpoints import Meaning, open_phnet

    bundle = open_bundle(path)
    files = [bundle.verified_file(engine) for engine in bundle.manifest.engines]
    need = bundle.manifest.model.checkpoint_sha256
    config = bundle.manifest.model.config
    built = Meaning(*(config.get(field.name) for field in dataclasses.fields(Meaning)))
    network = open_phnet(checkpoint, built).network
    if (found := sha256_of(checkpoint)) != need:
        raise HarmonyError(
            f"{path} was built from another checkpoint: found sha256 {found[:12]}… in {checkpoint}, need {need[:12]}…"
            f" ({bundle.manifest.model.checkpoint}); give that one with --checkpoint"
        )
    expected = references(network, bundle.manifest.size)
    return [
        _check(file, engine, bundle.manifest, expected, threads)
        for file, engine in zip(files, bundle.manifest.engines, strict=True)
    ]


def _check(
    file: Path, engine: EngineSpec, manifest: Manifest, expected: list[Reference], threads: int | None
) -> EngineCheck:
    run, who = open_engine(file, engine, manifest, threads)
    if run is None:
        return EngineCheck(engine, None, note=f"its files are whole; not run: {who}")
    try:
        parity = measure(run, expected, engine.precision, who)
    except WorkFailed as error:
        return EngineCheck(engine, None, problem=str(error))
    try:
        check_gate(parity, engine.precision)
    except WorkFailed as error:
        return EngineCheck(engine, parity, problem=str(error))
    return EngineCheck(engine, parity)
