"""Winograd convolutions as graph operations: Y = A [ (G g) * (B d) ] (Lavin and Gray, arXiv 1509.09308).

Space-to-depth cuts the picture into tiles without overlap; the overlap comes from their neighbours. All tiles are then
transformed by one matrix product, multiplied with the transformed weights by one batched product, and transformed back
by another. The weights are stored as they were: their transform is a part of the graph that engines fold when they
load it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from harmonyrt.export.rewrites.graph_tools import AT_LOAD, add_constant, attribute, constant, put_in_place

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


def is_winograd(node: onnx.NodeProto) -> bool:
    """Whether a node is what a rewritten convolution computes for each picture: it takes the convolution's precision.

    The entries of A and B are small integers, exact in BF16; weights are transformed in FP32 and rounded once.
    """
    return _PARTS.get(node.name.rpartition("/")[2]) == node.op_type


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


def rewrite_convolutions(graph: ir.Graph, tile: int) -> int:
    """Rewrite every convolution that gains, in tiles of tile x tile outputs; returns how many."""
    found = [made for node in list(graph) if (made := _geometry(node, tile)) is not None]
    return sum(_rewrite(graph, convolution) for convolution in found)


def _geometry(node: ir.Node, tile: int) -> _Convolution | None:
    if node.op_type != "Conv" or attribute(node, "group", 1) != 1:
        return None
    if any(step != 1 for name in ("strides", "dilations") for step in attribute(node, name, [1])):
        return None
    shape, weight = node.inputs[0].shape, node.inputs[1].shape
    if shape is None or weight is None or not all(isinstance(side, int) for side in (*shape, *weight)):
        return None
    batch, inputs, height, width = shape
    outputs, _, kernel, kernel_width = weight
    pads = attribute(node, "pads", [0, 0, 0, 0])
    if (
        batch != 1
        or kernel != kernel_width
        or kernel not in (2, 3)
        or attribute(node, "auto_pad", "NOTSET") != "NOTSET"
    ):
        return None
    if min(inputs, outputs) < FEWEST_CHANNELS:
        return None
    top, left, bottom, right = pads
    return _Convolution(
        node, tile, kernel, inputs, outputs, (top, left),
        height + top + bottom - kernel + 1, width + left + right - kernel + 1, height, width,
    )  # fmt: skip


class _Writer:
    """Collects the new nodes of one convolution, named after it."""

    def __init__(self, graph: ir.Graph, base: str) -> None:
        self.graph, self.base, self.nodes = graph, base, []

    def constant(self, what: str, array: np.ndarray) -> ir.Value:
        return add_constant(self.graph, f"{self.base}.{what}", array)

    def __call__(self, what: str, op_type: str, *inputs: ir.Value, **attributes) -> ir.Value:
        node = ir.node(op_type, inputs, attributes, name=f"{self.base}/{what}")
        node.outputs[0].name = node.name
        self.nodes.append(node)
        return node.outputs[0]

    def reshape(self, what: str, value: ir.Value, *shape: int) -> ir.Value:
        return self(what, "Reshape", value, self.constant(f"{what}.shape", np.array(shape, np.int64)))


def _rewrite(graph: ir.Graph, conv: _Convolution) -> bool:
    write = _Writer(graph, conv.node.name)
    a, b, g = transforms(conv.tile, conv.kernel)
    n, tiles = conv.tile + conv.kernel - 1, conv.rows * conv.columns
    weights = _transformed_weights(write, conv, g)
    if weights is None:
        return False
    pieces = _overlapping_tiles(write, conv)
    to_tiles = write.constant("B", np.kron(b, b)[:, _piece_order(conv.tile, n)].astype(np.float32))
    transformed = write("tiles_transformed", "MatMul", to_tiles, pieces)
    transformed = write.reshape("by_channel", transformed, n * n, conv.inputs, tiles)
    product = write("product", "MatMul", weights, transformed)
    product = write.reshape("by_tile", product, n * n, conv.outputs * tiles)
    back = write("outputs_transformed", "MatMul", write.constant("A", np.kron(a, a).astype(np.float32)), product)
    back = write.reshape("phases", back, 1, conv.tile**2 * conv.outputs, conv.rows, conv.columns)
    result = write("tiles_joined", "DepthToSpace", back, blocksize=conv.tile, mode="DCR")
    if (conv.rows * conv.tile, conv.columns * conv.tile) != (conv.height, conv.width):
        starts, ends, axes = (np.array(v, np.int64) for v in ((0, 0), (conv.height, conv.width), (2, 3)))
        cut = [write.constant(f"cut.{name}", v) for name, v in (("starts", starts), ("ends", ends), ("axes", axes))]
        result = write("cut", "Slice", result, *cut)
    if len(conv.node.inputs) > 2:
        bias = constant(conv.node.inputs[2])
        if bias is None:
            return False
        result = write("biased", "Add", result, write.constant("bias", bias.reshape(1, -1, 1, 1)))
    put_in_place(graph, [conv.node], write.nodes)
    return True


def _overlapping_tiles(write: _Writer, conv: _Convolution) -> ir.Value:
    """(1,C,H,W) -> (n*n, C * tiles): every pixel of every tile with its border, border pixels last (_piece_order)."""
    tile, rows, columns, extra = conv.tile, conv.rows, conv.columns, conv.kernel - 1
    top, left = conv.pads
    bottom = tile * (rows + 1) - conv.source_height - top
    right = tile * (columns + 1) - conv.source_width - left
    pads = write.constant("pads", np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
    padded = write("padded", "Pad", conv.node.inputs[0], pads)
    deep = write("cut_into_tiles", "SpaceToDepth", padded, blocksize=tile)
    deep = write.reshape("tile_pixels", deep, tile, tile, conv.inputs, rows + 1, columns + 1)
    axes = write.constant("piece.axes", np.array([0, 1, 3, 4], np.int64))
    pieces = []
    for down in (0, 1):
        for across in (0, 1):
            high, wide = (extra if down else tile), (extra if across else tile)
            starts = write.constant("piece.starts", np.array([0, 0, down, across], np.int64))
            ends = write.constant("piece.ends", np.array([high, wide, down + rows, across + columns], np.int64))
            piece = write(f"piece_{down}{across}", "Slice", deep, starts, ends, axes)
            pieces.append(write.reshape(f"piece_{down}{across}_flat", piece, high * wide, conv.inputs * rows * columns))
    return write("pieces", "Concat", *pieces, axis=0)


def _piece_order(tile: int, n: int) -> list[int]:
    """Where, in a tile of n x n pixels read row by row, the rows that _overlapping_tiles makes belong."""
    inner, border = range(tile), range(tile, n)
    return [y * n + x for ys in (inner, border) for xs in (inner, border) for y in ys for x in xs]


def _transformed_weights(write: _Writer, conv: _Convolution, g: np.ndarray) -> ir.Value | None:
    """(n*n, O, C). Gated weights (gate_fold) are transformed before the gate: the transform is linear."""
    value = conv.node.inputs[1]
    if constant(value) is not None:
        return _transformed(write, conv, value, g)
    add = value.producer()
    mul = add.inputs[0].producer() if add is not None and add.op_type == "Add" else None
    if mul is None or mul.op_type != "Mul":
        return None
    gated, gate, plain = *mul.inputs, add.inputs[1]
    if constant(gated) is None or constant(plain) is None or list(gate.shape or ()) != [1, conv.inputs, 1, 1]:
        return None
    row = write.reshape("gate", gate, 1, 1, conv.inputs)
    product = write("gated_weights", "Mul", _transformed(write, conv, gated, g, "_gated"), row)
    return write("weights", "Add", product, _transformed(write, conv, plain, g, "_plain"))


def _transformed(write: _Writer, conv: _Convolution, weight: ir.Value, g: np.ndarray, kind: str = "") -> ir.Value:
    n, taps = conv.tile + conv.kernel - 1, conv.kernel**2
    matrix = write.constant("G", np.kron(g, g).astype(np.float32))
    flat = write.reshape(f"weights{kind}_flat{AT_LOAD}", weight, conv.outputs * conv.inputs, taps)
    turned = write(f"weights{kind}_turned{AT_LOAD}", "Transpose", flat, perm=[1, 0])
    transformed = write(f"weights{kind}_transformed{AT_LOAD}", "MatMul", matrix, turned)
    return write.reshape(f"weights{kind}_shaped{AT_LOAD}", transformed, n * n, conv.outputs, conv.inputs)
