"""Which layers there are, and which are worth quantizing."""

from harmonyrt.calibration.layers import find_layers, worth_quantizing

SHAPES = dict.fromkeys("aceh", (1, 16, 32, 32)) | {
    "f": (1, 16, 32, 32),
    "r": (1, 3, 32, 32),
    "image": (1, 3, 32, 32),
}


def test_convolutions_are_found_with_the_relu_that_follows_them(network):
    layers = find_layers(network)
    assert [(layer.name, layer.kind) for layer in layers] == [
        ("first", "Conv"),
        ("middle", "Conv"),
        ("up", "ConvTranspose"),
        ("last", "Conv"),
    ]
    assert [(layer.data, layer.result, layer.relu) for layer in layers] == [
        ("image", "a", None),
        ("c", "e", "relu_of_middle"),
        ("f", "h", None),
        ("h", "r", None),
    ]


def test_work_is_counted_where_it_is_done(network):
    first, middle, up, _ = find_layers(network)
    assert first.multiplications(SHAPES) == 32 * 32 * 16 * 3 * 9
    assert middle.multiplications(SHAPES) == up.multiplications(SHAPES) == 32 * 32 * 16 * 16 * 9
    smaller = SHAPES | {"f": (1, 16, 16, 16)}
    assert up.multiplications(smaller) == 16 * 16 * 16 * 16 * 9


def test_layers_that_do_next_to_nothing_are_not_worth_it(network):
    tiny = SHAPES | {"a": (1, 16, 2, 2)}
    assert [layer.name for layer in worth_quantizing(find_layers(network), tiny)] == ["middle", "up", "last"]


def test_a_layer_whose_weights_are_computed_is_not_one(network):
    network.graph.node[0].input[1] = "computed"
    assert "first" not in [layer.name for layer in find_layers(network)]
