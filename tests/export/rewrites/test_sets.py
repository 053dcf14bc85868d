"""Sets of rewrites by name, and what an engine gets of them."""

import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.export.rewrites import DEFAULT, FASTER, LOW_MEMORY, REWRITES, SETS, SLOWER_THAN_PLAIN, fitting, names_of


def test_names_of_sets_are_spelled_out_once():
    assert names_of(["low-memory", "gate-fold", "winograd"]) == (*LOW_MEMORY, "winograd")
    assert names_of(["none"]) == names_of([]) == ()
    assert names_of(DEFAULT) == names_of(["fast"])
    assert not SETS.keys() & REWRITES.keys()
    with pytest.raises(
        HarmonyError, match=r"'magic' is not known; choose from fast, low-memory, native, none, drop-dead"
    ):
        names_of(["magic"])


@pytest.mark.parametrize(("target", "precision"), [("onnx", "fp32"), ("openvino", "fp32"), ("openvino", "bf16")])
def test_an_engine_for_a_cpu_is_fast_by_default(target, precision):
    for side in (256, 1024):
        assert fitting(DEFAULT, (side, side), target, precision) == (*LOW_MEMORY, *FASTER)


@pytest.mark.parametrize(
    ("size", "target", "precision"),
    [
        (None, "openvino", "fp32"),  # a graph of any size
        ((1024, 1536), "openvino", "fp32"),  # tiles of it would take gigabytes
        ((256, 256), "onnx", "fp16"),  # for a GPU
        ((256, 256), "tensorrt", "fp32"),
        ((256, 256), "tensorrt-rtx", "bf16"),
        ((256, 256), "tensorrt", "int8"),
    ],
)
def test_other_engines_have_the_plain_ones(size, target, precision):
    assert fitting(DEFAULT, size, target, precision) == fitting(LOW_MEMORY, size, target, precision)


def test_bf16_on_a_cpu_that_convolves_fast_in_it_keeps_its_convolutions():
    plain = names_of(["fast"], SLOWER_THAN_PLAIN)
    assert set(LOW_MEMORY) - set(plain) == {"gate-fold"}
    assert not set(FASTER) & set(plain)
    assert names_of(["fast", "winograd"], SLOWER_THAN_PLAIN) == (*plain, "winograd")  # asked for by name
