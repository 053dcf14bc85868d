"""One Harmonizer, many threads: every call gives its own picture and its own timings."""

import threading

import numpy as np
import pytest

from harmonyrt.runtime import Harmonizer, HarmonyError
from harmonyrt.runtime.diffusion import RunOptions

BACKENDS = ("onnxruntime", "openvino")


@pytest.fixture(params=BACKENDS)
def backend(request, monkeypatch, tmp_path):
    pytest.importorskip(request.param)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return request.param


def together(count, work):
    """Run `work(i)` in `count` threads that begin at once; what they raised."""
    errors, barrier = [], threading.Barrier(count)

    def one(i):
        barrier.wait(60)
        try:
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return errors


@pytest.mark.parametrize("sessions", [None, 1, 3])
def test_every_call_gives_its_own_picture(static_bundle, composite, ellipse, backend, sessions):
    pictures = [composite, 255 - composite, composite[::-1].copy()]
    with Harmonizer.open(static_bundle, backend=backend, threads=2, sessions=sessions) as harmonizer:
        expected = [harmonizer.harmonize(picture, ellipse) for picture in pictures]
        assert harmonizer.info.sessions == (sessions or 2)

        def work(i):
            for k in range(12):
                j = (i + k) % 3
                np.testing.assert_array_equal(harmonizer.harmonize(pictures[j], ellipse), expected[j])

        assert together(6, work) == []


def test_batches_and_tensors_are_shared_as_well(dynamic_bundle, composite, ellipse, backend):
    random = np.random.default_rng(0)
    images = random.random((4, 1, 3, 64, 72), np.float32)
    mask = np.ones((1, 1, 64, 72), np.float32)
    with Harmonizer.open(dynamic_bundle, backend=backend, threads=1, sessions=2) as harmonizer:
        tensors = [harmonizer.run_tensor(image, mask) for image in images]
        batch = harmonizer.harmonize_batch([composite, 255 - composite], [ellipse, ellipse])

        def work(i):
            for _ in range(10):
                np.testing.assert_array_equal(harmonizer.run_tensor(images[i], mask), tensors[i])
                if i == 0:
                    found = harmonizer.harmonize_batch([composite, 255 - composite], [ellipse, ellipse])
                    for one, other in zip(found, batch, strict=True):
                        np.testing.assert_array_equal(one, other)

        assert together(4, work) == []


@pytest.mark.parametrize("name", ["hand-made-kl", "hand-made-harmony"])
def test_loops_of_diffharmony_do_not_mix(static_bundle, composite, ellipse, name):
    pytest.importorskip("onnxruntime")
    with Harmonizer.open(static_bundle.parent / name, backend="onnxruntime", threads=1, sessions=2) as harmonizer:
        expected = [harmonizer.harmonize(composite, ellipse, options=RunOptions(seed=seed)) for seed in range(4)]

        def work(i):
            for _ in range(3):
                found = harmonizer.harmonize(composite, ellipse, options=RunOptions(seed=i))
                np.testing.assert_array_equal(found, expected[i])

        assert together(4, work) == []


def test_large_pictures_share_the_helping_threads(static_bundle, backend):
    composite = np.random.default_rng(0).integers(0, 256, (1200, 1800, 3), dtype=np.uint8)
    mask = np.zeros((1200, 1800), np.uint8)
    mask[300:900, 400:1400] = 255
    with Harmonizer.open(static_bundle, backend=backend, threads=2) as harmonizer:
        expected = harmonizer.harmonize(composite, mask)
        work = lambda i: np.testing.assert_array_equal(harmonizer.harmonize(composite, mask), expected)  # noqa: E731
        assert together(4, work) == []


def test_timings_are_of_the_calling_thread(static_bundle, composite, ellipse):
    with Harmonizer.open(static_bundle, backend="onnxruntime", threads=1) as harmonizer:
        harmonizer.harmonize(composite, ellipse)
        mine = harmonizer.timings
        seen = []

        def work(i):
            seen.append(harmonizer.timings)
            harmonizer.harmonize(composite, ellipse)
            seen.append(harmonizer.timings)

        assert together(1, work) == []
        assert harmonizer.timings is mine
        assert (seen[0].fit, seen[0].engine, seen[0].carry_back) == (0, 0, 0)
        assert seen[1].engine > 0


def test_closing_while_others_work_waits_or_refuses_them(static_bundle, composite, ellipse, backend):
    harmonizer = Harmonizer.open(static_bundle, backend=backend, threads=2)
    expected = harmonizer.harmonize(composite, ellipse)
    done = []

    def work(i):
        if i == 0:
            while len(done) < 8:
                pass
            harmonizer.close()
            return
        while True:
            np.testing.assert_array_equal(harmonizer.harmonize(composite, ellipse), expected)
            done.append(i)

    errors = together(4, work)
    assert len(errors) == 3
    assert all(isinstance(error, HarmonyError) and "closed" in str(error) for error in errors)


@pytest.mark.parametrize("action", ["close", "harmonize"])
def test_a_progress_callback_may_close_or_call(static_bundle, composite, ellipse, action):
    pytest.importorskip("onnxruntime")
    bundle = static_bundle.parent / "hand-made-kl"
    harmonizer = Harmonizer.open(bundle, backend="onnxruntime", threads=1, sessions=1)
    expected = harmonizer.harmonize(composite, ellipse)
    refused = []

    def told(part, done, total):
        if done == 1 and action == "close":
            harmonizer.close()
        elif done == 1:
            with pytest.raises(HarmonyError, match="inside another call"):
                harmonizer.harmonize(composite, ellipse)
            refused.append(part)

    found = harmonizer.harmonize(composite, ellipse, options=RunOptions(progress=told))
    np.testing.assert_array_equal(found, expected)
    if action == "close":
        with pytest.raises(HarmonyError, match="closed"):
            harmonizer.harmonize(composite, ellipse)
    else:
        assert len(refused) == 1
        np.testing.assert_array_equal(harmonizer.harmonize(composite, ellipse), expected)


@pytest.mark.parametrize("sessions", [0, -1])
def test_impossible_session_counts_are_refused(static_bundle, sessions):
    with pytest.raises(HarmonyError, match="sessions"):
        Harmonizer.open(static_bundle, sessions=sessions)
