"""Running what a build made: an engine with its backend, or an FP32 ONNX file with ONNX Runtime."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from harmonyrt.export.build.gate import Run
from harmonyrt.runtime.backends import SessionOptions
from harmonyrt.runtime.backends.tensorrt import versions as tensorrt_versions
from harmonyrt.runtime.compiled_cache import NONE
from harmonyrt.runtime.manifest import EngineSpec, Manifest


def open_engine(
    path: Path,
    engine: EngineSpec,
    manifest: Manifest,
    threads: int | None,
    device: str | None = None,
    provider: str | None = None,
) -> tuple[Run | None, str]:
    """Open an engine with its backend, without a cache: a proof trusts no file that others may have written.

    Args:
        path: its first file.
        engine: what the manifest says of it.
        manifest: of its bundle.
        threads: CPU threads; None for all.
        device: as :meth:`harmonyrt.runtime.Harmonizer.open` takes it.
        provider: likewise; only ONNX Runtime has several.

    Returns:
        How to run it, and what runs it; or None, and why this machine cannot.
    """
    backend = importlib.import_module(f"harmonyrt.runtime.backends.{engine.backend}")
    options = SessionOptions(threads=threads, device=device, cache=NONE, provider=provider)
    if provider is not None and engine.backend != "onnxruntime":
        return None, f"provider {provider} is ONNX Runtime's"
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


def run_file(path: Path, threads: int | None) -> tuple[Run, str]:
    """Run the FP32 simulation of a typed graph, of any size.

    Args:
        path: ONNX file.
        threads: CPU threads; None for all.

    Returns:
        How to run it, and what runs it.
    """
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads or 0
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))

    return run, f"its typed ONNX simulated by onnxruntime {onnxruntime.__version__}, CPU"
