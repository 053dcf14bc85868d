"""BF16 needs operator set 22."""

from harmonyrt.export.precision.raise_opset import opset_of, raise_opset


def test_an_older_model_is_raised_and_a_newer_one_kept(graph):
    model = graph("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    raised = raise_opset(model, 22)
    assert (opset_of(model), opset_of(raised)) == (18, 22)
    assert raise_opset(raised, 18) is raised
