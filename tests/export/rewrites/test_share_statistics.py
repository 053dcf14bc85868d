"""Where the sums of a grid's patches are known, the picture's sum is theirs."""

import numpy as np
import pytest

from harmonyrt.export.rewrites.share_statistics import apply

GRAPH = """g (float[1,3,7,9] x) => (float[1,3,2,2] y) {
    by_row = ReduceSum <keepdims = 1> (x, first)
    total = ReduceSum <keepdims = 1> (by_row, second)
    columns = MatMul (x, C)
    patches = MatMul (R, columns)
    y = Div (patches, total)
}"""


def weights(first: int = 3, second: int = 2):
    def membership(length: int) -> np.ndarray:
        return np.float32(np.minimum(np.arange(length) // (length // 2), 1)[None] == np.arange(2)[:, None])

    axes = {"first": np.array([first], np.int64), "second": np.array([second], np.int64)}
    return {"R": membership(7), "C": membership(9).T.copy()} | axes


def test_the_picture_is_read_once(prove):
    proof = prove(GRAPH, weights(), apply)
    assert proof.places == 1
    reading = [node.op_type for node in proof.model.graph.node if "x" in node.input]
    assert reading == ["MatMul"]
    assert proof.difference < 1e-3  # of quotients: the total is small


def test_a_grid_that_leaves_pixels_out_is_not_trusted(prove):
    partial = weights()
    partial["R"][1, -1] = 0
    assert prove(GRAPH, partial, apply).places == 0


@pytest.mark.parametrize(("first", "second"), [(3, 1), (1, 2)])
def test_sums_along_other_axes_stay(prove, first, second):
    graph = GRAPH.replace("y = Div", "m = ReduceSum <keepdims = 1> (total, rest)  y = Div").replace(
        "(patches, total)", "(patches, m)"
    )
    rest = {"rest": np.array([1, 2, 3], np.int64)}
    assert prove(graph, weights(first, second) | rest, apply).places == 0
