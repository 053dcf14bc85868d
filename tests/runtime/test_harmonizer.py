import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pytest
from PIL import Image

from harmonyrt.runtime import Harmonizer, HarmonyError, HarmonyWarning, WorkFailed


@pytest.fixture(scope="module")
def static(static_bundle):
    return Harmonizer.open(static_bundle, backend="onnxruntime", threads=1)


@pytest.fixture(scope="module")
def dynamic(dynamic_bundle):
    return Harmonizer.open(dynamic_bundle, backend="onnxruntime", threads=2)


@pytest.fixture(params=["static", "dynamic"])
def harmonizer(request):
    return request.getfixturevalue(request.param)


def test_an_array_comes_back_as_an_array_of_the_same_size(harmonizer, composite, ellipse):
    before = composite.copy()
    found = harmonizer.harmonize(composite, ellipse)
    assert found.shape == composite.shape
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[ellipse == 0], composite[ellipse == 0])
    assert np.abs(found[ellipse == 255].astype(int) - composite[ellipse == 255]).mean() > 5
    np.testing.assert_array_equal(composite, before)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_a_pil_image_comes_back_in_its_mode_with_its_alpha(harmonizer, composite, ellipse, mode):
    picture = Image.fromarray(composite).convert(mode)
    if mode.endswith("A"):
        picture.putalpha(Image.fromarray(composite[..., 0]))
    found = harmonizer.harmonize(picture, Image.fromarray(ellipse))
    assert isinstance(found, Image.Image)
    assert (found.mode, found.size) == (mode, picture.size)
    outside = ellipse == 0
    np.testing.assert_array_equal(np.asarray(found)[outside], np.asarray(picture)[outside])
    if mode.endswith("A"):
        np.testing.assert_array_equal(np.asarray(found)[..., -1], composite[..., 0])


def test_the_alpha_of_an_array_is_kept(harmonizer, composite, ellipse):
    alpha = np.maximum(ellipse, 254)
    found = harmonizer.harmonize(np.dstack([composite, alpha]), ellipse)
    np.testing.assert_array_equal(found[..., 3], alpha)
    assert np.abs(found[..., :3].astype(int) - harmonizer.harmonize(composite, ellipse)).max() <= 2


def test_all_forms_of_a_mask_give_the_same_picture(harmonizer, composite, ellipse):
    hard = ellipse > 127
    expected = harmonizer.harmonize(composite, hard)
    for mask in (hard.astype(np.uint8), hard.astype(np.float64), Image.fromarray(hard), hard[..., None]):
        np.testing.assert_array_equal(harmonizer.harmonize(composite, mask), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (3, 500), (7, 9), (64, 64), (65, 64)])
def test_odd_shapes_work(harmonizer, shape):
    random = np.random.default_rng(0)
    composite = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
    mask = np.zeros(shape, np.uint8)
    mask[0, 0] = 255
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HarmonyWarning)
        found = harmonizer.harmonize(composite, mask)
    assert found.shape == composite.shape
    np.testing.assert_array_equal(found[mask == 0], composite[mask == 0])


def test_an_empty_mask_returns_a_copy_and_says_so(harmonizer, composite):
    with pytest.warns(HarmonyWarning, match="empty") as caught:
        found = harmonizer.harmonize(composite, np.zeros(composite.shape[:2], np.uint8))
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(found, composite)
    assert found is not composite


def test_a_view_of_a_larger_picture_works(harmonizer, composite, ellipse):
    found = harmonizer.harmonize(composite[10:140, 20:180], ellipse[10:140, 20:180])
    whole = np.ascontiguousarray(composite[10:140, 20:180])
    np.testing.assert_array_equal(found, harmonizer.harmonize(whole, ellipse[10:140, 20:180].copy()))


def test_threads_change_nothing(static_bundle, composite, ellipse):
    pictures = [
        Harmonizer.open(static_bundle, backend="onnxruntime", threads=n).harmonize(composite, ellipse) for n in (1, 3)
    ]
    np.testing.assert_array_equal(*pictures)


def test_a_batch_of_mixed_sizes_is_the_pictures_one_by_one(harmonizer, composite, ellipse):
    composites = [composite, composite[:100, :150], Image.fromarray(composite), composite[:100, 50:200], composite]
    masks = [ellipse, ellipse[:100, :150], ellipse, ellipse[:100, 50:200], np.zeros_like(ellipse)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HarmonyWarning)  # the last mask is empty
        found = harmonizer.harmonize_batch(composites, masks)
        expected = [harmonizer.harmonize(c, m) for c, m in zip(composites, masks, strict=True)]
    for one, other in zip(found, expected, strict=True):
        assert type(one) is type(other)
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_a_batch_needs_a_mask_for_each(harmonizer, composite, ellipse):
    with pytest.raises(HarmonyError, match="2 composites came with 1 masks"):
        harmonizer.harmonize_batch([composite, composite], [ellipse])
    assert harmonizer.harmonize_batch([], []) == []


def test_a_mask_of_another_size_is_refused_or_fitted(harmonizer, composite, ellipse):
    with pytest.raises(HarmonyError, match="fit_mask"):
        harmonizer.harmonize(composite, ellipse[::2, ::2])
    assert harmonizer.harmonize(composite, ellipse[::2, ::2], fit_mask=True).shape == composite.shape


def test_the_limit_on_megapixels_can_be_set(static_bundle, composite, ellipse):
    harmonizer = Harmonizer.open(static_bundle, backend="onnxruntime", megapixel_limit=0.02)
    with pytest.raises(HarmonyError, match=r"limit is 0\.02"):
        harmonizer.harmonize(composite, ellipse)


def test_memory_stays_within_a_few_copies_of_the_picture(static):
    composite = np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), dtype=np.uint8)
    mask = np.zeros((1500, 2000), np.uint8)
    mask[200:1300, 200:1800] = 255
    static.harmonize(composite, mask)
    tracemalloc.start()
    try:
        static.harmonize(composite, mask)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * composite.nbytes


def test_timings_tell_where_the_last_call_went(static, composite, ellipse):
    static.harmonize(composite, ellipse)
    assert min(static.timings.fit, static.timings.engine, static.timings.carry_back) > 0


def test_info_says_what_was_opened(static, static_bundle):
    info = static.info
    assert (info.backend, info.device, info.target, info.precision) == ("onnxruntime", "cpu", "onnx", "fp32")
    assert (info.model, info.size, info.threads, info.random_weights) == ("phnet", (64, 64), 1, True)
    assert info.bundle == str(static_bundle)


def test_values_that_are_not_finite_are_an_error(static_bundle, composite, ellipse):
    harmonizer = Harmonizer.open(static_bundle, backend="onnxruntime")

    class Broken:
        backend = "onnxruntime"

        def run(self, inputs):
            return {"output": np.full((1, 3, 64, 64), np.nan, np.float32)}

    object.__setattr__(harmonizer._network.selected, "session", Broken())
    with pytest.raises(WorkFailed, match="not finite"):
        harmonizer.harmonize(composite, ellipse)


def test_a_closed_harmonizer_says_so(static_bundle, composite, ellipse):
    with Harmonizer.open(static_bundle, backend="onnxruntime") as harmonizer:
        harmonizer.harmonize(composite, ellipse)
    harmonizer.close()
    with pytest.raises(HarmonyError, match="closed"):
        harmonizer.harmonize(composite, ellipse)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m["model"].update(family="dreamnet"), "dreamnet"),
        (lambda m: m.update(schema=99), "schema 99"),
        (lambda m: m["engines"][0]["files"][0].update(sha256="0" * 64), "altered"),
        (lambda m: m["engines"][0]["files"][0].update(bytes=1), "bytes"),
        (lambda m: m["engines"][0]["files"][0].update(path="nothing.onnx"), "missing"),
    ],
)
def test_a_bundle_that_cannot_be_trusted_is_not_opened(static_bundle, altered, change, words):
    with pytest.raises(HarmonyError, match=words):
        Harmonizer.open(altered(static_bundle, change), backend="onnxruntime")


@pytest.mark.parametrize("threads", [0, -1])
def test_impossible_thread_counts_are_refused(static_bundle, threads):
    with pytest.raises(HarmonyError, match="threads"):
        Harmonizer.open(static_bundle, threads=threads)


def test_run_options_of_another_model_are_refused(static, composite, ellipse):
    with pytest.raises(HarmonyError, match="DiffHarmony"):
        static.harmonize(composite, ellipse, options=object())


def test_the_runtime_imports_no_engine_and_no_torch():
    code = (
        "import pkgutil, importlib, sys, harmonyrt.runtime as r, harmonyrt.runtime.backends as b;"
        "[importlib.import_module(m.name) for p in (r, b)"
        " for m in pkgutil.iter_modules(p.__path__, p.__name__ + '.')];"
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'openvino', 'tensorrt', 'tensorrt_rtx', 'cuda')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
