"""Winograd convolutions as graph operations: Y = A [ (G g) * (B d) ] (Lavin and Gray, arXiv 1509.09308).

Space-to-depth cuts the picture into tiles without overlap; the overlap comes from their neighbours. All tiles are then
transformed by one matrix product, multiplied with the transformed weights by one batched product, and transformed back
by another. The weights are stored as they were: their transform is a part of the graph that engines fold when they
load it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from harmonyrt.export.rewrites import graph_tools as tools
from harmonyrt.export.rewrites.graph_tools import AT_LOAD, Writer, attribute, constant_input, must, operand

FEWEST_CHANNELS = 128
"""Below it, transforms cost more than they save: with 64, OpenVINO takes 1.3 to 1.5 times the plain convolution."""

_PARTS = {
    "tiles_transformed": "MatMul",
    "product": "MatMul",
    "outputs_transformed": "MatMul",
    "gated_weights": "Mul",
    "weights": "Add",
}

_POINTS = (0, 1, -1, 2, -2)


def is_winograd(node: ir.Node) -> bool:
    """Whether a node is what a rewritten convolution computes for each picture: it takes the convolution's precision.

    The entries of A and B are small integers, exact in BF16; weights are transformed in FP32 and rounded once.
    """
    return _PARTS.get(str(node.name).rpartition("/")[2]) == node.op_type


def transforms(tile: int, kernel: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrices of F(tile, kernel) in one dimension, by Toom and Cook's construction.

    Returns:
        A (tile, n), B (n, n), G (n, kernel), float64, n = tile + kernel - 1.
    """
    n = tile + kernel - 1
    points = np.array(_POINTS[: n - 1], np.float64)
    a, b, g = np.zeros((tile, n)), np.zeros((n, n)), np.zeros((n, kernel))
    for j, point in enumerate(points):
        others = np.delete(points, j)
        a[:, j] = point ** np.arange(tile)
        g[j] = point ** np.arange(kernel) / np.prod(point - others)
        b[j, : n - 1] = np.poly(others)[::-1]
    a[-1, -1] = g[-1, -1] = 1
    b[-1] = np.poly(points)[::-1]
    return a, b, g


def apply(model: ir.Model, tile: int = 4) -> int:
    """Conv of stride 1 becomes transforms and one batched MatMul, in tiles of tile x tile outputs.

    With tiles of 4 a kernel of 3 takes a quarter of the multiplications; with tiles of 2 the gain and the rounding are
    smaller.
    """
    return tools.rewrite_each(model, {"Conv"}, lambda graph, node: _rewrite(graph, _geometry(node, tile)))


@dataclass(frozen=True)
class _Convolution:
    """A convolution that can be rewritten, with its geometry."""

    node: ir.Node
    tile: int
    kernel: int
    inputs: int
    outputs: int
    pads: tuple[int, int]  # top, left
    height: int  # of the output
    width: int
    source_height: int
    source_width: int

    @property
    def rows(self) -> int:
        return -(-self.height // self.tile)

    @property
    def columns(self) -> int:
        return -(-self.width // self.tile)


def _geometry(node: ir.Node, tile: int) -> _Convolution:
    must(attribute(node, "group", 1) == 1 and not tools.strides_or_dilates(node), "it has groups, strides or dilations")
    batch, inputs, height, width = tools.known_shape(operand(node, 0))
    outputs, _, kernel, kernel_width = tools.known_shape(operand(node, 1))
    must(batch == 1 and attribute(node, "auto_pad", "NOTSET") == "NOTSET", "it takes several pictures, or pads itself")
    must(kernel == kernel_width and kernel in (2, 3), "its kernel is neither 2 x 2 nor 3 x 3")
    must(min(inputs, outputs) >= FEWEST_CHANNELS, f"with fewer than {FEWEST_CHANNELS} channels it gains nothing")
    top, left, bottom, right = attribute(node, "pads", [0, 0, 0, 0])
    return _Convolution(
        node, tile, kernel, inputs, outputs, (top, left),
        height + top + bottom - kernel + 1, width + left + right - kernel + 1, height, width,
    )  # fmt: skip


def _rewrite(graph: ir.Graph, conv: _Convolution) -> None:
    write = Writer(graph, conv.node.name)
    bias = constant_input(conv.node, 2) if tools.given(conv.node, 2) else None
    a, b, g = transforms(conv.tile, conv.kernel)
    n, tiles = conv.tile + conv.kernel - 1, conv.rows * conv.columns
    weights = _transformed_weights(write, conv, g)
    pieces = _overlapping_tiles(write, conv)
    to_tiles = write.constant("B", np.kron(b, b)[:, _piece_order(conv.tile, n)])
    transformed = write("tiles_transformed", "MatMul", to_tiles, pieces)
    transformed = write.reshape("by_channel", transformed, n * n, conv.inputs, tiles)
    product = write("product", "MatMul", weights, transformed)
    product = write.reshape("by_tile", product, n * n, conv.outputs * tiles)
    back = write("outputs_transformed", "MatMul", write.constant("A", np.kron(a, a)), product)
    back = write.reshape("phases", back, 1, conv.tile**2 * conv.outputs, conv.rows, conv.columns)
    result = write("tiles_joined", "DepthToSpace", back, blocksize=conv.tile, mode="DCR")
    if (conv.rows * conv.tile, conv.columns * conv.tile) != (conv.height, conv.width):
        bounds = (("starts", [0, 0]), ("ends", [conv.height, conv.width]), ("axes", [2, 3]))
        result = write("cut", "Slice", result, *(write.constant(f"cut.{name}", values) for name, values in bounds))
    if bias is not None:
        write("biased", "Add", result, write.constant("bias", bias.reshape(1, -1, 1, 1)))
    write.replace(conv.node)


def _overlapping_tiles(write: Writer, conv: _Convolution) -> ir.Value:
    """(1,C,H,W) -> (n*n, C * tiles): every pixel of every tile with its border, border pixels last (_piece_order)."""
    tile, rows, columns, extra = conv.tile, conv.rows, conv.columns, conv.kernel - 1
    top, left = conv.pads
    bottom = tile * (rows + 1) - conv.source_height - top
    right = tile * (columns + 1) - conv.source_width - left
    pads = write.constant("pads", [0, 0, top, left, 0, 0, bottom, right])
    padded = write("padded", "Pad", conv.node.inputs[0], pads)
    deep = write("cut_into_tiles", "SpaceToDepth", padded, blocksize=tile)
    deep = write.reshape("tile_pixels", deep, tile, tile, conv.inputs, rows + 1, columns + 1)
    axes = write.constant("piece.axes", [0, 1, 3, 4])
    pieces = []
    for down in (0, 1):
        for across in (0, 1):
            high, wide = (extra if down else tile), (extra if across else tile)
            starts = write.constant("piece.starts", [0, 0, down, across])
            ends = write.constant("piece.ends", [high, wide, down + rows, across + columns])
            piece = write(f"piece_{down}{across}", "Slice", deep, starts, ends, axes)
            pieces.append(write.reshape(f"piece_{down}{across}_flat", piece, high * wide, conv.inputs * rows * columns))
    return write("pieces", "Concat", *pieces, axis=0)


def _piece_order(tile: int, n: int) -> list[int]:
    """Where, in a tile of n x n pixels read row by row, the rows that _overlapping_tiles makes belong."""
    inner, border = range(tile), range(tile, n)
    return [y * n + x for ys in (inner, border) for xs in (inner, border) for y in ys for x in xs]


def _transformed_weights(write: Writer, conv: _Convolution, g: np.ndarray) -> ir.Value:
    """(n*n, O, C). Gated weights (gate_fold) are transformed before the gate: the transform is linear."""
    value = operand(conv.node, 1)
    if tools.constant(value) is not None:
        return _transformed(write, conv, value, g)
    add = tools.maker(value, "Add")
    mul = tools.maker(operand(add, 0), "Mul")
    gated, gate, plain = operand(mul, 0), operand(mul, 1), operand(add, 1)
    fits = tools.constant(gated) is not None and tools.constant(plain) is not None
    must(fits and list(gate.shape or ()) == [1, conv.inputs, 1, 1], "its weights are computed otherwise than by a gate")
    row = write.reshape("gate", gate, 1, 1, conv.inputs)
    product = write("gated_weights", "Mul", _transformed(write, conv, gated, g, "_gated"), row)
    return write("weights", "Add", product, _transformed(write, conv, plain, g, "_plain"))


def _transformed(write: Writer, conv: _Convolution, weight: ir.Value, g: np.ndarray, kind: str = "") -> ir.Value:
    n, taps = conv.tile + conv.kernel - 1, conv.kernel**2
    matrix = write.constant("G", np.kron(g, g))
    flat = write.reshape(f"weights{kind}_flat{AT_LOAD}", weight, conv.outputs * conv.inputs, taps)
    turned = write(f"weights{kind}_turned{AT_LOAD}", "Transpose", flat, perm=[1, 0])
    transformed = write(f"weights{kind}_transformed{AT_LOAD}", "MatMul", matrix, turned)
    return write.reshape(f"weights{kind}_shaped{AT_LOAD}", transformed, n * n, conv.outputs, conv.inputs)
