"""Winograd's convolution F(2x2, 3x3): less gain than F(4x4, 3x3), and less rounding."""

from __future__ import annotations

import onnx_ir as ir

from harmonyrt.export.rewrites.winograd_tiles import rewrite_convolutions


def apply(model: ir.Model) -> int:
    """Conv of stride 1 becomes transforms and one batched MatMul, in tiles of 2 x 2 outputs."""
    return rewrite_convolutions(model.graph, tile=2)
