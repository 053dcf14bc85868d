"""Gates let good engines through and no others."""

import numpy as np
import pytest

from harmonyrt.common import WorkFailed
from harmonyrt.export.build.composites import composites, extreme_composites
from harmonyrt.export.build.gate import Gate, OutOfRange, Reference, measure, prove


@pytest.fixture
def expected():
    cases = [*composites((32, 32), 3), *extreme_composites((32, 32))]
    return [
        Reference(case.name, {"image": case.image, "mask": case.mask}, {"output": 1 - case.image}, case.extreme)
        for case in cases
    ]


def engine(noise: float):
    """An engine that is this far off, up and down by turns."""
    return lambda feeds: {"output": 1 - feeds["image"] + np.resize(np.float32([noise, -noise]), feeds["image"].shape)}


def distance(run, expected, precision="fp32"):
    return measure(run, expected, Gate(precision), "a test")


def test_an_equal_engine_has_no_error(expected):
    found = distance(engine(0), expected)
    assert (found.cases, found.max_abs_error, found.psnr_db) == (7, 0, 200)
    Gate("fp32").check(found, "a test")


@pytest.mark.parametrize(
    ("precision", "good", "bad"), [("fp32", 5e-5, 2e-4), ("fp16", 2e-3, 0.05), ("bf16", 5e-3, 0.1), ("int8", 8e-3, 0.2)]
)
def test_each_precision_has_its_gate(expected, precision, good, bad):
    parity = prove(engine(good), expected, Gate(precision), "a test")
    assert parity.gate == Gate(precision).sentence
    with pytest.raises(WorkFailed, match=r"outside its gate: found .* need"):
        prove(engine(bad), expected, Gate(precision), "a test")


def test_parity_is_of_the_worst_composite(expected):
    def off_once(feeds):
        return engine(1e-3 if feeds["image"] is expected[1].feeds["image"] else 0)(feeds)

    assert distance(off_once, expected).max_abs_error == pytest.approx(1e-3, rel=1e-3)


def test_the_psnr_is_of_the_blended_picture(expected):
    wrong_outside = [r for r in expected if not r.extreme and np.isin(r.feeds["mask"], (0, 1)).all()]
    masks = iter([reference.feeds["mask"] for reference in wrong_outside])
    found = distance(lambda feeds: {"output": 1 - feeds["image"] + (1 - next(masks))}, wrong_outside)
    assert found.psnr_db == 200


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_output_that_is_not_finite_fails_even_on_an_extreme_mask(expected, value):
    def broken(feeds):
        output = 1 - feeds["image"]
        if feeds["mask"].mean() in (0, 1):
            output[0, 0, 0, 0] = value
        return {"output": output}

    with pytest.raises(WorkFailed, match="not finite"):
        distance(broken, expected)


def test_an_extreme_mask_may_be_answered_differently(expected):
    def different(feeds):
        return engine(0.5 if feeds["mask"].sum() in (0, 1, 1024) else 0)(feeds)

    prove(different, expected, Gate("fp32"), "a test")


def test_another_shape_fails(expected):
    with pytest.raises(WorkFailed, match="shape"):
        distance(lambda feeds: {"output": feeds["mask"]}, expected)


def raw(value: float) -> list[Reference]:
    """One call of a component that is no picture."""
    return [Reference("a case", {}, {"out": np.full((1, 4), value, np.float32)})]


def off_by(error: float):
    return lambda feeds: {"out": np.full((1, 4), 2 + 2 * error, np.float32)}


@pytest.mark.parametrize(("precision", "error"), [("fp32", 1e-4), ("fp16", 2e-3), ("bf16", 6e-3)])
def test_a_component_within_its_gate(precision, error):
    gate = Gate(precision, is_picture=False, subject="unet")
    parity = prove(off_by(error), raw(2.0), gate, "here")
    assert parity.cases == 1
    assert parity.max_abs_error == pytest.approx(2 * error, rel=1e-2)
    assert parity.gate == gate.sentence


@pytest.mark.parametrize(("precision", "error"), [("fp32", 2e-3), ("fp16", 5e-3), ("bf16", 2e-2)])
def test_a_component_outside_its_gate(precision, error):
    with pytest.raises(WorkFailed, match=f"the {precision} unet is outside its gate: found .* on here, need finite"):
        prove(off_by(error), raw(2.0), Gate(precision, is_picture=False, subject="unet"), "here")


def test_values_that_are_not_finite_fail_every_gate():
    def run(feeds):
        return {"out": np.array([[1, np.nan, 1, 1]], np.float32)}

    with pytest.raises(OutOfRange, match="the unet's out for 'a case' has 1 values that are not finite in fp16"):
        prove(run, raw(1.0), Gate("fp16", is_picture=False, subject="unet"), "here")


def test_manifests_keep_the_sentences_of_gates():
    sentences = [Gate(precision, picture).sentence for picture in (True, False) for precision in ("fp32", "fp16")]
    assert sentences == [
        "max_abs_error <= 0.0001",
        "psnr_db >= 50",
        "finite, max_abs_error <= 0.001 of the largest value",
        "finite, psnr_db >= 50 of the component's output",
    ]
