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

    from harmonyrt.export.precision import census

    onnx.save(model, folder / FILE)
    # On a CPU, ONNX Runtime computes FP16 graphs in FP32: measured there, the gate would see no rounding at all.
    return [BuiltEngine((FILE,), census(model), runs_here=precision != "fp16")]
