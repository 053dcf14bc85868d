import contextlib
import dataclasses

import numpy as np
import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.backends import SessionOptions, openvino
from harmonyrt.runtime.bundle import open_bundle

pytest.importorskip("openvino")


@pytest.fixture
def bundle(static_bundle):
    return open_bundle(static_bundle)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def engine_of(bundle, target="openvino", precision="fp32"):
    found = next(engine for engine in bundle.manifest.engines if engine.target == target)
    return dataclasses.replace(found, precision=precision)


def open_session(bundle, engine, **options):
    return openvino.open_session(bundle.verified_file(engine), engine, bundle.manifest, SessionOptions(**options))


@pytest.mark.parametrize("target", ["openvino", "onnx"])
def test_it_runs_its_own_engines_and_onnx(bundle, target):
    session = open_session(bundle, engine_of(bundle, target), threads=1, pin_threads=False)
    image, mask = np.full((1, 3, 64, 64), 0.5, np.float32), np.ones((1, 1, 64, 64), np.float32)
    first = session.run({"image": image, "mask": mask})["output"]
    np.testing.assert_allclose(first[0, :, 0, 0], [0.605, 0.3675, 0.395], atol=1e-5)
    kept = first.copy()
    session.run({"image": image * 0, "mask": mask})
    np.testing.assert_array_equal(first, kept)


def test_the_precision_is_the_one_of_the_engine_and_not_the_cpus_favourite(bundle, monkeypatch):
    import openvino as ov

    given = {}
    compile_model = ov.Core.compile_model

    def spy(core, model, device, settings):
        given.update(settings)
        return compile_model(core, model, device, settings)

    monkeypatch.setattr(ov.Core, "compile_model", spy)
    open_session(bundle, engine_of(bundle), threads=2, pin_threads=False)
    assert given["INFERENCE_PRECISION_HINT"] == "f32"
    assert given["PERFORMANCE_HINT"] == "LATENCY"
    assert given["INFERENCE_NUM_THREADS"] == 2
    assert given["ENABLE_CPU_PINNING"] is False


@pytest.mark.parametrize(
    ("features", "precision", "warned"),
    [
        ({"amx_bf16"}, "bf16", True),
        ({"avx512_bf16"}, "bf16", False),
        ({"amx_bf16"}, "fp32", False),
    ],
)
def test_winograd_in_bf16_is_announced_where_tiles_are_faster(bundle, monkeypatch, caplog, features, precision, warned):
    monkeypatch.setattr(openvino, "cpu_model_and_flags", lambda: ("a CPU", frozenset(features)))
    engine = dataclasses.replace(engine_of(bundle, precision=precision), rewrites=("winograd",))
    with contextlib.suppress(HarmonyError):  # this CPU may lack BF16: it is said before
        open_session(bundle, engine)
    assert ("built for CPUs without AMX" in caplog.text) == warned


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_precision_that_the_cpu_lacks_is_refused(bundle, monkeypatch, precision):
    import openvino as ov

    monkeypatch.setattr(ov.Core, "get_property", lambda *_: ["FP32", "INT8"])
    reason = openvino.why_not(engine_of(bundle, precision=precision), SessionOptions())
    assert precision.upper() in reason
    assert "found FP32, INT8" in reason


def test_it_says_what_it_cannot_do(bundle):
    assert openvino.why_not(engine_of(bundle), SessionOptions(device="cpu")) is None
    assert "cuda" in openvino.why_not(engine_of(bundle), SessionOptions(device="cuda"))
    assert "--targets openvino" in openvino.why_not(engine_of(bundle, "onnx", "bf16"), SessionOptions())


def test_compiled_models_are_kept_where_asked(bundle, tmp_path):
    open_session(bundle, engine_of(bundle), cache=str(tmp_path / "here"))
    assert (tmp_path / "here").is_dir()


def test_a_cache_that_cannot_be_made_is_one_sentence(bundle, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(HarmonyError, match="cache folder"):
        open_session(bundle, engine_of(bundle), cache=str(tmp_path / "file" / "here"))


def test_a_file_that_is_no_model_is_one_sentence(bundle, tmp_path):
    path = tmp_path / "openvino.xml"
    path.write_text("<no/>")
    with pytest.raises(HarmonyError, match="cannot open") as caught:
        openvino.open_session(path, engine_of(bundle), bundle.manifest, SessionOptions())
    assert "\n" not in str(caught.value)
