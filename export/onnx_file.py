"""Graphs as ONNX files, and the ONNX target: the typed graph itself.

A protobuf message ends at 2 GB and the full-size UNet has 3.3 GB: its weights go into a data file. Weights are read
from PyTorch's memory one after another while they are written, and rounded then where the graph has them in low
precision.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from harmonyrt.common import HarmonyError
from harmonyrt.export.precision import precision_counts
from harmonyrt.export.targets import BuildOptions, BuiltEngine
from harmonyrt.runtime import native

FILE = "model.onnx"
INLINE_LIMIT = 1_800_000_000
"""Bytes of weights above which an ONNX file has a data file."""
HANDED_INLINE_LIMIT = 200_000_000
"""The same for files that only a builder reads: a message would hold the weights twice more."""
KEPT_INSIDE = 4096
"""Bytes; smaller constants stay in the graph, where shape inference may need them."""
ALIGNMENT = 4096


def build(model: ir.Model, folder: Path, precision: str, options: BuildOptions) -> list[BuiltEngine]:
    """Write `model.onnx`; see :data:`harmonyrt.export.targets.Builder`."""
    needs = native_needs(model, "onnxruntime", precision)
    # On a CPU, ONNX Runtime computes FP16 graphs in FP32: measured there, the gate would see no rounding at all.
    return [BuiltEngine(save(model, folder / FILE), precision_counts(model), needs, precision != "fp16")]


def native_needs(model: ir.Model, backend: str, precision: str = "fp32") -> dict[str, str]:
    """What an engine of this graph needs of :mod:`harmonyrt.runtime.native`.

    Raises:
        HarmonyError: this machine has no kernels for the backend, so that the engine could not be proven.
    """
    from harmonyrt.export.rewrites.native import DOMAIN

    if DOMAIN not in model.opset_imports:
        return {}
    needed = native.NEEDED[precision]
    reason = native.why_not(needed, backend, precision)
    if reason is not None:
        raise HarmonyError(f"the engine cannot be built: {reason}")
    return {native.NEED: needed}


def weight_bytes(model: ir.Model) -> int:
    """What the constants of a graph take when they are written."""
    return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)


def save(model: ir.Model, path: Path, inline_limit: int | None = None) -> tuple[str, ...]:
    """Write an ONNX file.

    Args:
        model: the graph.
        path: of the file; the data file, where one is needed, is named like it with ``.data`` behind.
        inline_limit: bytes of weights above which a data file is written; None: :data:`INLINE_LIMIT`.

    Returns:
        Names of the files, the ONNX file first.
    """
    if weight_bytes(model) <= (INLINE_LIMIT if inline_limit is None else inline_limit):
        ir.save(model, path)
        return (path.name,)
    data = f"{path.name}.data"
    ir.save(model, path, external_data=data, size_threshold_bytes=KEPT_INSIDE, alignment=ALIGNMENT, align_threshold=0)
    return (path.name, data)


@contextlib.contextmanager
def handed_over(model: ir.Model, folder: Path) -> Iterator[Path]:
    """The path of an ONNX file for a builder to read, in a scratch folder inside `folder`."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".graph-") as scratch:
        path = Path(scratch) / FILE
        save(model, path, HANDED_INLINE_LIMIT)
        yield path
