import dataclasses

import numpy as np
import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.backends import SessionOptions, onnxruntime
from harmonyrt.runtime.bundle import open_bundle


@pytest.fixture
def bundle(static_bundle):
    return open_bundle(static_bundle)


def engine_of(bundle, target="onnx", precision="fp32"):
    found = next(engine for engine in bundle.manifest.engines if engine.target == target)
    return dataclasses.replace(found, precision=precision)


def test_it_runs_an_engine(bundle):
    engine = engine_of(bundle)
    session = onnxruntime.open_session(bundle.verified_file(engine), engine, bundle.manifest, SessionOptions(threads=1))
    image, mask = np.full((1, 3, 64, 64), 0.5, np.float32), np.ones((1, 1, 64, 64), np.float32)
    output = session.run({"image": image, "mask": mask})["output"]
    # 0.5 * (0.80 + 0.10 - 0.05) + 0.08 + 0.05 + 0.20 * 0.25, and so on
    np.testing.assert_allclose(output[0, :, 0, 0], [0.605, 0.3675, 0.395], atol=1e-6)
    assert (session.backend, session.device) == ("onnxruntime", "cpu")


def test_strided_inputs_work(bundle):
    engine = engine_of(bundle)
    session = onnxruntime.open_session(bundle.verified_file(engine), engine, bundle.manifest, SessionOptions(threads=1))
    image = np.random.default_rng(0).random((1, 64, 64, 3), np.float32).transpose(0, 3, 1, 2)
    mask = np.ones((1, 1, 64, 64), np.float32)
    np.testing.assert_array_equal(
        session.run({"image": image, "mask": mask})["output"],
        session.run({"image": image.copy(order="C"), "mask": mask})["output"],
    )


def test_it_says_what_it_cannot_do(bundle):
    assert onnxruntime.why_not(engine_of(bundle), SessionOptions()) is None
    assert "BF16" in onnxruntime.why_not(engine_of(bundle, precision="bf16"), SessionOptions())
    assert "openvino" in onnxruntime.why_not(engine_of(bundle, target="openvino"), SessionOptions())
    assert "xpu" in onnxruntime.why_not(engine_of(bundle), SessionOptions(device="xpu"))


def test_a_file_that_is_no_onnx_is_one_sentence(bundle, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(HarmonyError, match="cannot load") as caught:
        onnxruntime.open_session(path, engine_of(bundle), bundle.manifest, SessionOptions())
    assert "\n" not in str(caught.value)


def test_a_gpu_that_did_not_come_up_is_refused(bundle, monkeypatch):
    import onnxruntime as ort

    class FellBack:
        def __init__(self, *_, **__):
            pass

        def get_providers(self):
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(ort, "InferenceSession", FellBack)
    engine = engine_of(bundle)
    with pytest.raises(HarmonyError, match="came up on CPUExecutionProvider"):
        onnxruntime.open_session(bundle.verified_file(engine), engine, bundle.manifest, SessionOptions(device="cuda:1"))
