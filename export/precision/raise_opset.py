"""BF16 convolutions exist since operator set 22; exporters write older ones."""

from __future__ import annotations

import onnx
import onnx.version_converter

BF16_OPSET = 22


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the default operator set."""
    return max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def raise_opset(model: onnx.ModelProto, least: int) -> onnx.ModelProto:
    """Bring a model to an operator set of at least `least`; one that is there already is returned as it is."""
    if opset_of(model) >= least:
        return model
    return onnx.version_converter.convert_version(model, least)
