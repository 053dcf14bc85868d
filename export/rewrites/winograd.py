"""Winograd's convolution F(4x4, 3x3), and F(4x4, 2x2) for recast transposed ones: a quarter of the multiplications."""

from __future__ import annotations

import onnx_ir as ir

from harmonyrt.export.rewrites.winograd_tiles import rewrite_convolutions


def apply(model: ir.Model) -> int:
    """Conv of stride 1 becomes transforms and one batched MatMul, in tiles of 4 x 4 outputs."""
    return rewrite_convolutions(model.graph, tile=4)
