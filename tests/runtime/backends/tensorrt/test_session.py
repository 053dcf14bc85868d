"""The session's logic, without a GPU: CUDA is simulated (`tests/fakes/cuda.py`).

Addresses are real ones, so that a copy to a wrong place shows; the fake engine computes `image * mask + image`.
"""

from __future__ import annotations

import dataclasses
import gc
import warnings

import numpy as np
import pytest

from fakes import cuda_engines
from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.runtime import HarmonyWarning
from harmonyrt.runtime.backends import cuda, graphs
from harmonyrt.runtime.backends.device_arrays import DeviceArray


def _pictures(side=16, batch=1, seed=0):
    random = np.random.default_rng(seed)
    return {
        "image": random.random((batch, 3, side, side), np.float32),
        "mask": random.random((batch, 1, side, side), np.float32),
    }


def _expected(inputs):
    return inputs["image"] * inputs["mask"] + inputs["image"]


def test_host_arrays_go_in_and_come_out(world):
    session = world.open()
    for seed in range(4):
        inputs = _pictures(seed=seed)
        np.testing.assert_array_equal(session.run(inputs)["output"], _expected(inputs))


def test_a_static_shape_is_recorded_after_a_warm_up_and_replayed(world):
    session = world.open()
    for seed in range(5):
        session.run(_pictures(seed=seed))
    context = world.engines[0].contexts[0]
    assert context.enqueued == 2  # the warm-up and the recording
    assert world.cuda.count_of("launch") == 4


def test_dynamic_engines_are_not_recorded_and_choose_their_profile(world):
    session = world.open(side=None)
    for side, batch in ((64, 1), (64, 1), (256, 3), (2048, 1), (256, 3)):
        inputs = _pictures(side, batch)
        np.testing.assert_array_equal(session.run(inputs)["output"], _expected(inputs))
    assert world.cuda.count_of("launch") == 0


def test_every_profile_in_use_has_its_own_context(world):
    """Changing the profile of a context makes it set itself up again; two contexts go on where they were."""
    session = world.open(side=None)
    assert len(world.engines[0].contexts) == 1
    for side, batch in ((64, 1), (128, 2), (64, 1), (128, 2)):
        session.run(_pictures(side, batch))
    one, several = world.engines[0].contexts
    assert (one.active_optimization_profile, one.enqueued) == (0, 2)
    assert (several.active_optimization_profile, several.enqueued) == (1, 2)
    assert {one.strategy, several.strategy} == {"on profile change"}, "each would hold the largest profile's memory"


def test_static_engines_have_one_context_of_the_default_kind(world):
    world.open().run(_pictures())
    (context,) = world.engines[0].contexts
    assert context.strategy is None


def test_a_shape_outside_every_profile_is_one_sentence(world):
    with pytest.raises(HarmonyError, match=r"outside what the engine was built for.*16, 3, 512, 512.*fewer or smaller"):
        world.open(side=None).run(_pictures(1024, 2))


def test_wrong_inputs_are_sentences(world):
    session = world.open()
    with pytest.raises(HarmonyError, match="inputs are image, mask; given were image"):
        session.run({"image": _pictures()["image"]})
    with pytest.raises(HarmonyError, match=r"shape.*the engine takes.*resize"):
        session.run(_pictures(32))
    with pytest.raises(HarmonyError, match="image is float64"):
        session.run({name: array.astype(np.float64) for name, array in _pictures().items()})


def test_device_arrays_are_used_where_they_lie(world):
    session, inputs = world.open(), _pictures()
    target = np.zeros((1, 3, 16, 16), np.float32)
    before = len(world.cuda.blocks)
    result = session.run_on_device(
        {name: _on_device(array) for name, array in inputs.items()}, {"output": _on_device(target)}, stream=7
    )
    assert result["output"].address == target.ctypes.data
    assert len(world.cuda.blocks) == before
    assert world.cuda.count_of("synchronize") == 0
    assert not target.any()
    world.cuda.synchronize(7)
    np.testing.assert_array_equal(target, _expected(inputs))


def test_work_is_ordered_on_the_callers_stream_and_on_the_producers(world):
    session = world.open()
    inputs = {name: _on_device(array, stream=5) for name, array in _pictures().items()}
    world.cuda.log.clear()
    session.run_on_device(inputs, stream=7)
    own = session._stream
    waits = [entry for entry in world.cuda.log if entry[0] in ("record", "wait")]
    assert {("record", 5), ("record", 7)} == set(waits[:4]) - {("wait", own)}
    assert waits[4:] == [("record", own), ("wait", 7)]


def test_outputs_that_are_made_here_are_shared_and_freed_with_their_last_user(world):
    session, inputs = world.open(), _pictures()
    before = set(world.cuda.blocks)
    result = session.run({name: _on_device(array) for name, array in inputs.items()})["output"]
    made = set(world.cuda.blocks) - before
    assert made == {result.address}
    consumer = np.from_dlpack(dataclasses.replace(result, device_type=1))
    world.cuda.synchronize(cuda.LEGACY_STREAM)
    del result
    gc.collect()
    np.testing.assert_array_equal(consumer, _expected(inputs))
    assert made <= set(world.cuda.blocks)
    del consumer
    gc.collect()
    assert not made & set(world.cuda.blocks)


def test_alternating_buffers_each_get_their_graph(world):
    session = world.open()
    pairs = [[_on_device(a) for a in _pictures(seed=s).values()] for s in (0, 1)]
    targets = [_on_device(np.zeros((1, 3, 16, 16), np.float32)) for _ in pairs]
    for _ in range(3):
        for (image, mask), target in zip(pairs, targets, strict=True):
            session.run_on_device({"image": image, "mask": mask}, {"output": target})
    assert world.cuda.count_of("launch") == 4
    world.cuda.synchronize(cuda.LEGACY_STREAM)
    for (image, mask), target in zip(pairs, targets, strict=True):
        np.testing.assert_array_equal(target.owner, _expected({"image": image.owner, "mask": mask.owner}))


def _recording(session, device, inputs, target):
    """A stream, and what puts one run of the session on it."""
    stream = device.create_stream()
    given = {name: _on_device(array) for name, array in inputs.items()}
    return stream, lambda: session.run_on_device(given, {"output": _on_device(target)}, stream)


def test_a_caller_can_record_several_runs_as_one_graph(world):
    session, inputs, target = world.open(), _pictures(), np.zeros((1, 3, 16, 16), np.float32)
    again = np.zeros_like(target)
    stream, run = _recording(session, world.cuda, inputs, target)
    run()

    def both():
        run()
        given = {"image": _on_device(target), "mask": _on_device(inputs["mask"])}
        session.run_on_device(given, {"output": _on_device(again)}, stream)

    graph, _ = graphs.record(world.cuda, stream, both)
    assert world.cuda.count_of("launch") == 0  # its own graphs stay out of it
    for seed in range(3):
        inputs["image"][:] = _pictures(seed=seed)["image"]
        world.cuda.launch(graph, stream)
        world.cuda.synchronize(stream)
        np.testing.assert_array_equal(target, _expected(inputs))
        np.testing.assert_array_equal(again, _expected({**inputs, "image": target}))
        other = _pictures(seed=seed + 10)
        np.testing.assert_array_equal(session.run(other)["output"], _expected(other))


def test_what_cannot_be_recorded_is_a_sentence_and_can_be_run_afterwards(world):
    inputs, target = _pictures(), np.zeros((1, 3, 16, 16), np.float32)

    def refuses(session, words, outputs=True):
        stream, run = _recording(session, world.cuda, inputs, target)
        given = {name: _on_device(array) for name, array in inputs.items()}
        with pytest.raises(HarmonyError, match=words):
            graphs.record(world.cuda, stream, run if outputs else lambda: session.run_on_device(given, stream=stream))
        target[:] = 0
        run()
        world.cuda.synchronize(stream)
        np.testing.assert_array_equal(target, _expected(inputs))

    fixed, dynamic = world.open(), world.open(side=None)
    assert (fixed.recordable, dynamic.recordable) == (True, False)
    refuses(fixed, "run it once with these shapes")
    refuses(fixed, "needs memory that outlives it for output: give outputs", outputs=False)
    inputs, target = _pictures(64), np.zeros((1, 3, 64, 64), np.float32)
    refuses(dynamic, "engines of dynamic shapes.*cannot be recorded")
    shapes = {name: (array.shape, np.float32) for name, array in inputs.items()}
    engine = cuda_engines.SimulatedEngine(
        world.cuda, shapes, {"output": (target.shape, np.float32)}, lambda given: {"output": _expected(given)}
    )
    refuses(cuda_engines.open_session(engine, "tensorrt-rtx"), "of TensorRT for RTX.*cannot be recorded")


def test_what_failed_half_way_is_still_waited_for(world):
    session, inputs, target = world.open(), _pictures(), np.zeros((1, 3, 16, 16), np.float32)
    stream, run = _recording(session, world.cuda, inputs, target)
    context = world.engines[0].contexts[0]
    context.fails = True
    with pytest.raises(WorkFailed, match="out of memory"):
        run()
    waits = [entry for entry in world.cuda.log if entry[0] in ("record", "wait")]
    assert waits[-2:] == [("record", session._stream), ("wait", stream)]


def test_a_device_array_of_another_gpu_is_refused(world):
    inputs = {name: dataclasses.replace(_on_device(a), device=1) for name, a in _pictures().items()}
    with pytest.raises(HarmonyError, match="image lies on cuda:1, this session runs on cuda:0"):
        world.open().run_on_device(inputs)


def test_a_failing_run_and_a_failing_recording_are_sentences_and_leave_the_stream_usable(world):
    session, inputs = world.open(), _pictures()
    session.run(inputs)
    context = world.engines[0].contexts[0]
    context.fails = True
    with pytest.raises(WorkFailed, match="out of memory"), pytest.warns(HarmonyWarning, match="out of memory"):
        session.run(inputs)
    context.fails = False
    np.testing.assert_array_equal(session.run(inputs)["output"], _expected(inputs))


def test_an_engine_that_cannot_be_recorded_runs_plainly_and_says_so_once(world):
    session = world.open()
    session.run(_pictures())
    context = world.engines[0].contexts[0]
    run = context.execute_async_v3
    context.execute_async_v3 = lambda stream: not world.cuda.is_capturing(stream) and run(stream)
    with pytest.warns(HarmonyWarning, match="an engine of TensorRT cannot be recorded as one CUDA graph"):
        session.run(_pictures())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(3):
            inputs = _pictures(seed=seed)
            np.testing.assert_array_equal(session.run(inputs)["output"], _expected(inputs))
    assert not session.recordable
    assert world.cuda.count_of("launch") == 0


def test_sessions_share_the_weights_and_nothing_else(world):
    first, second = world.open(), world.open()
    assert len(world.engines) == 1
    assert len(world.engines[0].contexts) == 2
    a, b = _pictures(seed=1), _pictures(seed=2)
    np.testing.assert_array_equal(first.run(a)["output"], _expected(a))
    np.testing.assert_array_equal(second.run(b)["output"], _expected(b))
    del first, second
    gc.collect()
    world.open()
    assert len(world.engines) == 2  # the engine went with its last session


def test_everything_is_given_back(world):
    session = world.open()
    session.run(_pictures())
    session.run(_pictures())
    assert world.cuda.blocks
    session.close()
    session.close()
    assert not world.cuda.blocks
    assert world.cuda.count_of("destroy_graph") == 1
    assert world.cuda.count_of("destroy_stream") == 1


def _on_device(array, stream=None):
    return DeviceArray(array.ctypes.data, array.shape, array.dtype, 0, stream, owner=array)
