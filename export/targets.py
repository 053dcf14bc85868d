"""What engines there are: which combinations of target, precision and size can exist, and who builds each.

The matrix is documented in docs/building.md. A builder receives a graph that is already typed (or quantized) and
writes files; it never chooses a precision.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harmonyrt.common.progress import silent

if TYPE_CHECKING:
    import onnx_ir as ir

Size = tuple[int, int] | None
"""[height, width] of an engine, or None for one that takes any multiple of 8."""

TYPE_OF_PRECISION = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "int8": "int8"}
"""How precision counts name the type of a precision."""

Progress = Callable[[str, float | None], None]
"""Called with what is being done, and the share that is done (0 to 1) where it is known."""


@dataclass(frozen=True)
class BuildOptions:
    """What a target builder may be told besides the graph.

    Attributes:
        target: which target is being built: one module serves both flavours of TensorRT.
        size: [height, width] of a static engine, or None: any multiple of 8, any batch.
        threads: CPU threads for the build; None leaves it to the builder.
        compute_capabilities: TensorRT: GPUs to build for, for example ``("8.6", "8.9")``; empty for the flavour's
            own default (the local GPU, or for TensorRT for RTX every one that it can build for).
        optimization_level: TensorRT's builder optimisation level; None for its default.
        workspace_mib: TensorRT's workspace limit; None for its default.
        version_compatible: TensorRT: plans that newer minor versions can open.
        lean_runtime: TensorRT: library that opens version-compatible plans, which carry no lean runtime then; None:
            each plan carries its own.
        hardware_compatible: TensorRT: plans that later GPUs can open.
        weight_streaming: TensorRT: engines whose weights need not all be on the GPU.
        strip_weights: TensorRT: plans without weights, which an ONNX file of the bundle has.
        tactics: TensorRT: file of the kernels that were chosen; None leaves the choice to timing.
        record_tactics: time what is not in that file, and add it; otherwise that fails the build.
        cache: folder for timing caches that outlive the build; None for none.
        progress: told what is going on.
    """

    target: str
    size: Size
    threads: int | None = None
    compute_capabilities: tuple[str, ...] = ()
    optimization_level: int | None = None
    workspace_mib: int | None = None
    version_compatible: bool = False
    lean_runtime: Path | None = None
    hardware_compatible: bool = False
    weight_streaming: bool = False
    strip_weights: bool = False
    tactics: Path | None = None
    record_tactics: bool = False
    cache: Path | None = None
    progress: Progress = field(default=silent, compare=False)


@dataclass(frozen=True)
class BuiltEngine:
    """An engine that a builder wrote.

    Attributes:
        files: names relative to the bundle's folder; the first is the one that a backend opens.
        counts: how many nodes or layers compute in which type, for example ``{"float16": 40, "float32": 61}``.
        needs: what the machine must have (see :class:`harmonyrt.runtime.manifest.EngineSpec`).
        runs_here: the building machine can run it; otherwise its gate is measured on the typed graph.
        rewrites: what the builder rewrote because the target cannot do it; the same function.
    """

    files: tuple[str, ...]
    counts: dict[str, int]
    needs: dict[str, str] = field(default_factory=dict)
    runs_here: bool = True
    rewrites: tuple[str, ...] = ()


Builder = Callable[["ir.Model", Path, str, BuildOptions], list[BuiltEngine]]
"""(typed graph, folder of the bundle, precision, options) -> the engines that it wrote into the folder.

Raises HarmonyError for a missing package or an impossible option, WorkFailed when a build fails."""

_IMPOSSIBLE = {
    ("onnx", "bf16"): "ONNX Runtime's CPU provider has no BF16 convolution",
    ("openvino", "fp16"): "OpenVINO's CPU plugin would compute it in FP32",
    ("tensorrt-rtx", "int8"): "TensorRT for RTX has no INT8 convolution",
}


def why_not(target: str, precision: str, size: Size) -> str | None:
    """Why a combination cannot exist on any machine; None when it can."""
    return _IMPOSSIBLE.get((target, precision))


def _lazily(module: str) -> Builder:
    def build(model: ir.Model, folder: Path, precision: str, options: BuildOptions) -> list[BuiltEngine]:
        return importlib.import_module(module).build(model, folder, precision, options)

    return build


BUILDERS: dict[str, Builder] = {
    "onnx": _lazily("harmonyrt.export.onnx_file"),
    "openvino": _lazily("harmonyrt.export.to_openvino"),
    "tensorrt": _lazily("harmonyrt.export.tensorrt_engine.build"),
    "tensorrt-rtx": _lazily("harmonyrt.export.tensorrt_engine.build"),
}

PACKAGE_OF_TARGET = {
    "onnx": ("onnxruntime", "build"),
    "openvino": ("openvino", "openvino"),
}
"""The package that builds a target, and the extra that installs it; TensorRT's go by several names: see
`runtime/backends/tensorrt/versions.py`."""
