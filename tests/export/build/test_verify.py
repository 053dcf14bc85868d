"""Gates let good engines through and no others."""

import numpy as np
import pytest

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.export.build import verify
from harmonyrt.export.build.composites import composites, extreme_composites
from harmonyrt.runtime.manifest import Parity


@pytest.fixture
def expected():
    cases = [*composites((32, 32), 3), *extreme_composites((32, 32))]
    return [verify.Reference(case, 1 - case.image) for case in cases]


def engine(noise: float):
    """An engine that is this far off, up and down by turns."""
    return lambda feeds: {"output": 1 - feeds["image"] + np.resize(np.float32([noise, -noise]), feeds["image"].shape)}


def parity(run, expected, precision="fp32"):
    return verify.measure(run, expected, precision, "a test")


def test_an_equal_engine_has_no_error(expected):
    found = parity(engine(0), expected)
    assert (found.cases, found.max_abs_error, found.psnr_db) == (7, 0, 200)
    verify.check_gate(found, "fp32")


@pytest.mark.parametrize(
    ("precision", "good", "bad"), [("fp32", 5e-5, 2e-4), ("fp16", 2e-3, 0.05), ("bf16", 5e-3, 0.1), ("int8", 8e-3, 0.2)]
)
def test_each_precision_has_its_gate(expected, precision, good, bad):
    verify.check_gate(parity(engine(good), expected, precision), precision)
    with pytest.raises(WorkFailed, match=r"outside its gate: found .* need"):
        verify.check_gate(parity(engine(bad), expected, precision), precision)


def test_parity_is_of_the_worst_composite(expected):
    def off_once(feeds):
        return engine(1e-3 if feeds["image"] is expected[1].composite.image else 0)(feeds)

    assert parity(off_once, expected).max_abs_error == pytest.approx(1e-3, rel=1e-3)


def test_the_psnr_is_of_the_blended_picture(expected):
    wrong_outside = [r for r in expected if not r.composite.extreme and np.isin(r.composite.mask, (0, 1)).all()]
    masks = iter([reference.composite.mask for reference in wrong_outside])
    found = parity(lambda feeds: {"output": 1 - feeds["image"] + (1 - next(masks))}, wrong_outside)
    assert found.psnr_db == 200


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_output_that_is_not_finite_fails_even_on_an_extreme_mask(expected, value):
    def broken(feeds):
        output = 1 - feeds["image"]
        if feeds["mask"].mean() in (0, 1):
            output[0, 0, 0, 0] = value
        return {"output": output}

    with pytest.raises(WorkFailed, match="not finite"):
        parity(broken, expected)


def test_an_extreme_mask_may_be_answered_differently(expected):
    def different(feeds):
        return engine(0.5 if feeds["mask"].sum() in (0, 1, 1024) else 0)(feeds)

    verify.check_gate(parity(different, expected), "fp32")


def test_another_shape_fails(expected):
    with pytest.raises(WorkFailed, match="shape"):
        parity(lambda feeds: {"output": feeds["mask"]}, expected)


@pytest.fixture
def bundle(tiny_engines):
    return tiny_engines[0] / "phnet-64-fp32"


def test_a_bundle_proves_itself_again(bundle, tiny_checkpoint):
    (check,) = verify.verify_bundle(bundle, tiny_checkpoint, threads=2)
    assert check.problem is None
    assert isinstance(check.parity, Parity)
    assert check.parity.max_abs_error == pytest.approx(check.engine.parity.max_abs_error, abs=1e-6)


def test_another_checkpoint_is_refused(bundle, tiny_checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    tensors = load_file(tiny_checkpoint)
    save_file({name: 2 * tensor for name, tensor in tensors.items()}, tmp_path / "other.safetensors")
    with pytest.raises(HarmonyError, match="built from another checkpoint"):
        verify.verify_bundle(bundle, tmp_path / "other.safetensors")


def test_an_engine_that_drifted_is_a_problem(bundle, tiny_checkpoint, monkeypatch):
    def drifted(path, engine_spec, manifest, threads):
        return engine(0.1), "a drifted engine"

    monkeypatch.setattr(verify, "open_engine", drifted)
    (check,) = verify.verify_bundle(bundle, tiny_checkpoint)
    assert "outside its gate" in check.problem


def test_an_engine_that_cannot_run_here_is_noted(bundle, tiny_checkpoint, monkeypatch):
    monkeypatch.setattr(verify, "open_engine", lambda *_: (None, "it needs a card"))
    (check,) = verify.verify_bundle(bundle, tiny_checkpoint)
    assert (check.parity, check.problem) == (None, None)
    assert "it needs a card" in check.note


def test_altered_files_are_refused(bundle, tiny_checkpoint, tmp_path):
    import shutil

    copy = shutil.copytree(bundle, tmp_path / "copy")
    content = bytearray((copy / "model.onnx").read_bytes())
    content[-1] ^= 1
    (copy / "model.onnx").write_bytes(content)
    with pytest.raises(HarmonyError, match="was altered"):
        verify.verify_bundle(copy, tiny_checkpoint)
