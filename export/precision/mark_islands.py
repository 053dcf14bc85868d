"""Which nodes compute in low precision; all others are islands that stay in FP32."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from harmonyrt.export.precision.tensors import consumers, producers

COMPUTE = frozenset({"Conv", "ConvTranspose"})
"""Where the time goes (98 % of PHNet): everything else in low precision would save nothing and lose range."""

FINISHERS = frozenset(
    {
        "Relu",
        "LeakyRelu",
        "Identity",
        "Concat",
        "Reshape",
        "Transpose",
        "DepthToSpace",
        "SpaceToDepth",
        "Slice",
        "Pad",
        "Split",
    }
)
"""Activations and movement of data: exact in any type, so they follow their neighbours."""

ARITHMETIC = frozenset({"Mul", "Add"})
REDUCTIONS = frozenset({"ReduceMax", "ReduceMean", "ReduceSum", "ReduceMin", "GlobalAveragePool", "GlobalMaxPool"})


def is_convolution(node: onnx.NodeProto) -> bool:
    """The default of what leaves FP32."""
    return node.op_type in COMPUTE


def low_precision_nodes(
    model: onnx.ModelProto, computes: Callable[[onnx.NodeProto], bool] = is_convolution
) -> set[str]:
    """Decide what leaves FP32.

    Convolutions do, except those that only feed a statistic (PHNet's PFE head: 0.1 % of the work, and its maximum is
    all that the network sees). A cheap node joins when it only finishes a convolution, or when all its readers are in
    low precision and no FP32 arithmetic hangs on it. Means, variances, norms, divisions, square roots, patch sums and
    the arithmetic between them stay.

    Args:
        model: FP32, every node named.
        computes: whether a node is one of those that leave FP32 for the time that it saves.

    Returns:
        Names of the nodes that compute in low precision.
    """
    graph = _Neighbours(model.graph)
    low = {n.name for n in model.graph.node if computes(n) and not graph.only_measured(n)}
    before = -1
    while len(low) != before:
        before = len(low)
        low |= {n.name for n in model.graph.node if n.name not in low and graph.joins(n, low)}
    return low


class _Neighbours:
    """The graph as seen from one node."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.made_by, self.read_by = producers(graph), consumers(graph)
        self.constants = {tensor.name for tensor in graph.initializer}
        self.results = {output.name for output in graph.output}

    def readers(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        return [reader for name in node.output for reader in self.read_by[name]]

    def only_measured(self, node: onnx.NodeProto) -> bool:
        """Whether the node's result reaches nothing but reductions, through activations at most."""
        readers = self.readers(node)
        if self.results.intersection(node.output) or not readers:
            return False
        return all(
            reader.op_type in REDUCTIONS or (reader.op_type in FINISHERS and self.only_measured(reader))
            for reader in readers
        )

    def joins(self, node: onnx.NodeProto, low: set[str]) -> bool:
        """Whether a node that is in FP32 now would rather be in low precision."""
        if self.results.intersection(node.output) or node.op_type not in FINISHERS | ARITHMETIC:
            return False
        readers = self.readers(node)
        feeds_only_low = bool(readers) and all(reader.name in low for reader in readers)
        if (
            node.op_type in ARITHMETIC
        ):  # joins where an operand is there in low precision anyway: a weight, a shared cast
            return feeds_only_low and any(self._at_hand_in_low(name, node, low) for name in node.input)
        return feeds_only_low or (node.op_type != "Concat" and self._made_low(node.input[0], low))

    def _made_low(self, name: str, low: set[str]) -> bool:
        source = self.made_by.get(name)
        return source is not None and source.name in low

    def _at_hand_in_low(self, name: str, node: onnx.NodeProto, low: set[str]) -> bool:
        others = (reader for reader in self.read_by[name] if reader.name != node.name)
        return name in self.constants or self._made_low(name, low) or any(other.name in low for other in others)
