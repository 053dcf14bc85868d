"""The ONNX target: the typed graph itself, as one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harmonyrt.export.targets import BuildOptions, BuiltEngine

if TYPE_CHECKING:
    import onnx

FILE = "model.onnx"


def build(model: onnx.ModelProto, folder: Path, precision: str, options: BuildOptions) -> list[BuiltEngine]:
    """Write `model.onnx`; see :data:`harmonyrt.export.targets.Builder`."""
    import onnx

    onnx.save(model, folder / FILE)
    return [engine((FILE,), model, precision)]


def engine(files: tuple[str, ...], model: onnx.ModelProto, precision: str) -> BuiltEngine:
    """Files that hold this graph, as an engine."""
    from harmonyrt.export.precision import precision_counts

    # On a CPU, ONNX Runtime computes FP16 graphs in FP32: measured there, the gate would see no rounding at all.
    return BuiltEngine(files, precision_counts(model), runs_here=precision != "fp16")
