"""A scale that follows the type of a tensor keeps the type that it has today."""

from harmonyrt.export.precision.resolve_castlike import resolve_castlike


def test_a_cast_to_the_same_type_disappears(graph):
    model = graph("g (float[2] x, float[2] like) => (float[2] y) { a = CastLike(x, like) y = Relu(a) }")
    assert [(n.op_type, list(n.input)) for n in resolve_castlike(model).graph.node] == [("Relu", ["x"])]


def test_a_cast_to_another_type_is_written_out(graph):
    model = graph("g (int64[2] x, float[2] like) => (float[2] y) { a = CastLike(x, like) y = Relu(a) }")
    cast, relu = resolve_castlike(model).graph.node
    assert (cast.op_type, cast.attribute[0].i, relu.op_type) == ("Cast", 1, "Relu")


def test_a_cast_that_makes_an_output_is_kept(graph):
    model = graph("g (float[2] x, float[2] like) => (float[2] y) { y = CastLike(x, like) }")
    assert [n.op_type for n in resolve_castlike(model).graph.node] == ["Cast"]
