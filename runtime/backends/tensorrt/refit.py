"""Plans without weights: the weights come from an ONNX file of the bundle when the plan is opened.

Built with ``--strip-weights`` a plan has kernels and no weights (`STRIP_PLAN`), made for exactly one set of them
(`REFIT_IDENTICAL`: others "yield unpredictable behavior"). So the ONNX file that was built from lies next to it, the
manifest has the hashes of both, and nothing else is ever put in.

API: `Refitter` and `OnnxParserRefitter` of TensorRT 10.0 to 11.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import utf8_name
from harmonyrt.runtime.backends.tensorrt.log import Log

NEED, APART = "weights", "apart"
"""What a manifest says among the needs of such an engine; its second file is the ONNX file."""


def is_stripped(needs: Mapping[str, str]) -> bool:
    """Whether an engine with these needs has its weights in another file."""
    return needs.get(NEED) == APART


def put_weights(trt: ModuleType, engine: Any, weights: Path, log: Log) -> None:
    """Put the weights of an ONNX file into an engine that was just deserialised.

    Args:
        trt: TensorRT's module.
        engine: built without weights, from this graph.
        weights: the ONNX file, verified; its data file lies next to it.
        log: of the runtime that opened the engine.

    Raises:
        HarmonyError: TensorRT does not take the file, or some weights are not in it.
    """
    refitter = trt.Refitter(engine, log.logger)
    reader = trt.OnnxParserRefitter(refitter, log.logger)
    with utf8_name(weights) as name:
        read = reader.refit_from_file(name)
    if not read:
        said = reader.get_error(0).desc() if reader.num_errors else log.last_error
        raise HarmonyError(f"TensorRT cannot take weights from {weights}: {said}; build the bundle again")
    missing = refitter.get_missing_weights()
    if missing:
        raise HarmonyError(
            f"{weights} lacks {len(missing)} weights of its plan, {missing[0]} among them; build the bundle again"
        )
    if not refitter.refit_cuda_engine():
        raise HarmonyError(
            f"TensorRT could not put the weights of {weights} into the plan: {log.last_error}; build the bundle again"
        )
