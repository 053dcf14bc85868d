"""Where the sums of a grid's patches are known, the picture's sum is theirs."""

import numpy as np
import pytest

from harmonyrt.export.rewrites.share_statistics import apply

GRAPH = """g (float[1,3,7,9] x) => (float[1,3,2,2] y) {{
    total = {reduction} <keepdims = 1> (x, axes)
    columns = MatMul (x, C)
    patches = MatMul (R, columns)
    y = Div (patches, total)
}}"""


def weights(rows: int = 7):
    def membership(length: int) -> np.ndarray:
        return np.float32(np.minimum(np.arange(length) // (length // 2), 1)[None] == np.arange(2)[:, None])

    return {"R": membership(7)[:, :rows], "C": membership(9).T.copy(), "axes": np.array([2, 3], np.int64)}


@pytest.mark.parametrize("reduction", ["ReduceSum", "ReduceMean"])
def test_the_picture_is_read_once(prove, reduction):
    proof = prove(GRAPH.format(reduction=reduction), weights(), apply)
    assert proof.places == 1
    reading = [node.op_type for node in proof.model.graph.node if "x" in node.input]
    assert reading == ["MatMul"]
    assert proof.difference < 1e-3  # of quotients: the total is small


def test_a_grid_that_leaves_pixels_out_is_not_trusted(prove):
    partial = weights()
    partial["R"][1, -1] = 0
    assert prove(GRAPH.format(reduction="ReduceSum"), partial, apply).places == 0


def test_sums_along_other_axes_stay(prove):
    other = weights() | {"axes": np.array([1, 2], np.int64)}
    graph = GRAPH.format(reduction="ReduceSum").replace("y = Div (patches, total)", "y = Add (patches, m)")
    graph = graph.replace("columns =", "m = ReduceSum <keepdims = 1> (total)  columns =")
    assert prove(graph, other, apply).places == 0
