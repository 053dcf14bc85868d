"""The loop on a GPU, without one: our TensorRT sessions over simulated engines, and CUDA as strict as it is.

What CUDA would refuse fails here too, and work runs as late as it may: see `tests/fakes/cuda.py`.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import warnings

import numpy as np
import pytest

from fakes import cuda as simulation
from fakes import cuda_engines
from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.runtime import HarmonyWarning
from harmonyrt.runtime.backends import cuda
from harmonyrt.runtime.diffusion import Cancelled, DiffusionModel, RunOptions
from harmonyrt.runtime.diffusion.buffers import DeviceBuffers, HostBuffers, open_buffers
from harmonyrt.runtime.diffusion.schedule import Program

THREE = RunOptions(steps=3)


def answer(component: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the made-up engines compute: something that depends on every input."""
    total = sum(np.float32(array.mean()) * (k + 1) for k, (_, array) in enumerate(sorted(inputs.items())))
    if component == "vae-encoder":
        return {"condition": np.tanh(np.full((1, 5, 2, 3), total, np.float32))}
    if component == "unet":
        noise = inputs["noise"] + inputs["step"].astype(np.float32)
        return {"next_latents": np.tanh(inputs["latents"] + noise + total), "predicted_noise": noise}
    shape = (1, 3, 16, 24) if component == "vae-decoder" else (1, 3, 8, 16)
    name = "picture" if component == "vae-decoder" else "output"
    return {name: np.tanh(np.resize(inputs.get("latents", inputs.get("image")), shape) + total).astype(np.float32)}


def arrays(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = (1, 3, 16, 24), (1, 1, 16, 24), (1, 3, 8, 16), (1, 1, 8, 16)
    return [rng.random(shape, dtype=np.float32) for shape in shapes]


class OnHost:
    backend, device = "made up", "cpu"

    def __init__(self, component: str) -> None:
        self.component = component

    def run(self, inputs):
        return answer(self.component, inputs)


def expected(schedule, seed: int, options: RunOptions) -> np.ndarray:
    """What the host gives for :func:`arrays` of this seed."""
    return DiffusionModel(schedule, {name: OnHost(name) for name in schedule.components}, {}).run(
        *arrays(seed), options
    )


@pytest.fixture
def device(monkeypatch):
    fake = simulation.SimulatedCuda()
    monkeypatch.setattr(cuda, "open_cuda", lambda: fake)
    return fake


@pytest.fixture
def on_device(device):
    """Opens a model of a schedule: on_device(schedule) has TensorRT's sessions for every component."""

    def spec(schedule, component):
        latents, picture = (schedule.latent_shape, np.float32), ((1, 3, 16, 24), np.float32)
        condition, mask = ((1, 5, 2, 3), np.float32), ((1, 1, 16, 24), np.float32)
        small, small_mask = ((1, 3, 8, 16), np.float32), ((1, 1, 8, 16), np.float32)
        if component == "vae-encoder":
            return {"image": picture, "mask": mask, "noise": latents}, {"condition": condition}
        if component == "unet":
            inputs = {"latents": latents, "condition": condition, "noise": latents, "step": ((1,), np.int64)}
            return inputs, {"next_latents": latents, "predicted_noise": latents}
        if component == "vae-decoder":
            inputs = {"latents": latents}
            inputs |= {"image": picture, "mask": mask, "noise": latents} if schedule.conditional else {}
            return inputs, {"picture": picture}
        inputs = {"image": picture}
        inputs |= {"mask": small_mask} if schedule.refiner_channels >= 4 else {}
        inputs |= {"composite": small} if schedule.refiner_channels == 7 else {}
        return inputs, {"output": small}

    def model(schedule, target="tensorrt", compute=answer, step_type=np.int64) -> DiffusionModel:
        sessions = {}
        for name in schedule.components:
            inputs, outputs = spec(schedule, name)
            if name == "unet":
                inputs["step"] = ((1,), step_type)
            run = functools.partial(compute, name)
            engine = cuda_engines.SimulatedEngine(device, inputs, outputs, run)
            sessions[name] = cuda_engines.open_session(engine, target, 1)
        return DiffusionModel(schedule, sessions, {})

    return model


def contexts(model):
    """The simulated execution contexts, by component."""
    return {name: session._plan.engine.contexts[0] for name, session in model.sessions.items()}


def loops(device) -> int:
    """Recorded loops that exist: a session's own graph is one piece of work."""
    return sum(len(works) > 1 for works in device.graphs.values())


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("channels", [7, 4, 3, 0])
def test_plain_recorded_and_replayed_runs_give_what_the_host_gives(schedule, on_device, device, channels, conditional):
    size = schedule.output_size if channels else schedule.inference_size
    schedule = dataclasses.replace(schedule, refiner_channels=channels, conditional=conditional, output_size=size)
    model = on_device(schedule)
    assert isinstance(model.buffers, DeviceBuffers)
    for seed, steps in enumerate((3, 3, 3, 1, 3, 1, 2, 1, 2, 2, 3, 1)):
        for options in (RunOptions(seed, steps=steps), RunOptions(seed, 1, steps)):
            found = model.run(*arrays(seed), options)
            np.testing.assert_array_equal(found, expected(schedule, seed, options), f"run {seed}, {options}")
    assert loops(device) == 3  # one for each step count


def test_the_second_run_is_recorded_and_later_ones_are_one_launch(schedule, on_device, device):
    model = on_device(schedule)
    model.run(*arrays(), THREE)
    assert loops(device) == 0
    model.run(*arrays(), THREE)
    assert loops(device) == 1
    put_there = {name: len(context.bindings) for name, context in contexts(model).items()}
    device.log.clear()
    for seed in range(3):
        model.run(*arrays(seed), THREE)
    assert put_there == {name: len(context.bindings) for name, context in contexts(model).items()}
    assert device.count_of("launch") == 3
    assert device.count_of("on the GPU") == device.count_of("record") == 0


def test_nothing_comes_down_before_the_end(schedule, on_device, device):
    model = on_device(schedule)
    for turn in range(3):
        device.log.clear()
        model.run(*arrays(), THREE)
        done = [entry[0] for entry in device.log]
        up = len(done) - 1 - done[::-1].index("up") + 2  # each is waited for
        assert set(done[:up]) == {"up", "synchronize"}, turn
        assert not {"up", "down", "synchronize"} & set(done[up:-4]), turn
        assert done[-4:] == ["down", "synchronize"] * 2, turn


def test_every_run_binds_the_same_addresses(schedule, on_device):
    """And a step has no more than its first, and two that alternate."""
    model = on_device(schedule)
    for _ in range(2):
        model.run(*arrays(), RunOptions(steps=3, progress=lambda *part: None))
    for name, context in contexts(model).items():
        assert len(set(context.bindings)) == (3 if name == "unet" else 1), name


def test_arrays_can_be_used_again_when_they_were_put(schedule, on_device):
    buffers, array = on_device(schedule).buffers, np.ones((2, 3), np.float32)
    kept = buffers.put("array", array)
    array[:] = 7
    np.testing.assert_array_equal(buffers.fetch("unet", kept), 1)


def test_with_a_callback_parts_run_one_by_one(schedule, on_device, device):
    model, told = on_device(schedule), []
    for _ in range(3):
        model.run(*arrays())
    device.log.clear()
    options = RunOptions(5, progress=lambda *part: told.append(part))
    np.testing.assert_array_equal(model.run(*arrays(5), options), expected(schedule, 5, RunOptions(5)))
    assert [name for name, _, _ in told] == ["encode", "step", "step", "decode", "refine"]
    assert device.count_of("record") == 2 * 5  # each part is ordered behind what was before, and before what follows
    assert ("launch", model.buffers._stream) not in device.log


@pytest.mark.parametrize("runs_before", [0, 1, 2, 3])
def test_a_cancelled_run_leaves_nothing_behind(schedule, on_device, runs_before):
    model = on_device(schedule)
    for seed in range(runs_before):
        model.run(*arrays(seed), THREE)
    for stop in range(6):
        options = RunOptions(9, steps=3, progress=lambda name, done, total, stop=stop: done < stop)
        with pytest.raises(Cancelled):
            model.run(*arrays(9), options)
        for seed in (1, 2):
            options = RunOptions(seed, steps=3)
            np.testing.assert_array_equal(model.run(*arrays(seed), options), expected(schedule, seed, options))


def _tensorrt_refuses(model, device):
    context = contexts(model)["vae-decoder"]
    context.fails = lambda: device.is_capturing(model.sessions["vae-decoder"]._stream)


def _memory_is_asked_for(model, device):
    context = contexts(model)["unet"]

    def fails():
        if device.is_capturing(model.sessions["unet"]._stream):
            device.allocate(16)
        return False

    context.fails = fails


def _cuda_cannot_make_the_graph(model, device):
    end = device.end_capture

    def fails(stream):
        device.destroy_graph(end(stream))
        raise WorkFailed("CUDA's cudaGraphInstantiate failed: out of memory")

    device.end_capture = fails


def _the_stream_cannot_be_recorded(model, device):
    def fails(stream):
        raise WorkFailed("CUDA's cudaStreamBeginCapture failed: operation not supported")

    device.begin_capture = fails


@pytest.mark.parametrize(
    "breaks",
    [_tensorrt_refuses, _memory_is_asked_for, _cuda_cannot_make_the_graph, _the_stream_cannot_be_recorded],
)
def test_a_recording_that_fails_is_said_once_and_the_picture_is_right(schedule, on_device, device, breaks):
    model, one = on_device(schedule), RunOptions(steps=1)  # one step: no session records a graph itself before
    model.run(*arrays(), one)
    breaks(model, device)
    begun = []
    begin = device.begin_capture
    device.begin_capture = lambda stream: begun.append(stream) or begin(stream)
    with pytest.warns(HarmonyWarning, match="cannot be recorded as one CUDA graph and runs without.*: ") as said:
        found = model.run(*arrays(1), one)
    assert [str(one.message).startswith("the loop") for one in said].count(True) == 1
    np.testing.assert_array_equal(found, expected(schedule, 1, one))
    assert begun.count(model.buffers._stream) == 1
    for name in ("begin_capture", "end_capture"):
        vars(device).pop(name, None)
    device.begin_capture = lambda stream: begun.append(stream) or type(device).begin_capture(device, stream)
    for context in contexts(model).values():
        context.fails = lambda: False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(2, 5):
            options = RunOptions(seed, steps=1)
            np.testing.assert_array_equal(model.run(*arrays(seed), options), expected(schedule, seed, options))
    assert begun.count(model.buffers._stream) == 1  # not tried again
    assert loops(device) == 0


def test_few_recorded_loops_are_kept(schedule, on_device, device):
    schedule = dataclasses.replace(schedule, programs={n: Program(n, tuple(range(n)), n + 1.0) for n in range(1, 8)})
    model = on_device(schedule)
    for turn in range(3):
        for steps in (*range(1, 8), 1):
            options = RunOptions(turn, steps=steps)
            np.testing.assert_array_equal(model.run(*arrays(turn), options), expected(schedule, turn, options))
            assert loops(device) <= 4
    assert loops(device) == 4


def test_memory_that_moves_takes_its_graphs_with_it(schedule, on_device, device):
    model = on_device(schedule)
    for _ in range(2):
        model.run(*arrays())
    assert loops(device) == 1
    model.buffers.put("image", np.zeros((1, 3, 4, 4), np.float32))
    assert loops(device) == 0
    for seed, recorded in ((1, 0), (2, 1), (3, 1)):
        options = RunOptions(seed)
        np.testing.assert_array_equal(model.run(*arrays(seed), options), expected(schedule, seed, options))
        assert loops(device) == recorded


def test_values_that_are_not_finite_are_found_behind_a_clamp(schedule, on_device):
    broken = []

    def compute(component, inputs):
        found = answer(component, {name: np.nan_to_num(array) for name, array in inputs.items()})
        if component == "unet" and broken:
            found["next_latents"] = np.full_like(found["next_latents"], np.nan)
        return found

    model = on_device(schedule, compute=compute)
    for _ in range(4):
        broken.append(True)
        with pytest.raises(WorkFailed, match="the unet gave 24 values that are not finite on tensorrt"):
            model.run(*arrays())
        broken.clear()
        np.testing.assert_array_equal(model.run(*arrays()), expected(schedule, 0, RunOptions()))


def test_steps_are_numbered_in_the_type_that_the_engine_takes(schedule, on_device):
    old = on_device(schedule, step_type=np.int32)
    np.testing.assert_array_equal(old.run(*arrays()), expected(schedule, 0, RunOptions()))


def test_everything_goes_with_the_model(schedule, on_device, device):
    model = on_device(schedule)
    for steps in (1, 1, 3, 3):
        model.run(*arrays(), RunOptions(steps=steps))
    assert device.blocks
    assert loops(device) == 2
    for context in contexts(model).values():
        assert context
    del model, context
    gc.collect()
    assert not device.blocks
    assert not device.graphs
    assert device.count_of("destroy_stream") == 5  # of four sessions and of the loop


def test_tensorrt_for_rtx_records_its_own(schedule, on_device, device):
    model = on_device(schedule, target="tensorrt-rtx")
    for seed in range(4):
        options = RunOptions(seed, steps=3)
        np.testing.assert_array_equal(model.run(*arrays(seed), options), expected(schedule, seed, options))
    assert device.count_of("record_graph") == 0


class Waiting(OnHost):
    """As ONNX Runtime on a GPU: knows no stream but the default one, and waits."""

    device = "cuda:1"

    def __init__(self, component: str, gpu) -> None:
        super().__init__(component)
        self._view, self._cuda = simulation.view, gpu

    def run(self, inputs):
        raise AssertionError("an array returned to the host")

    def run_on_device(self, inputs, outputs):
        self._cuda.synchronize(cuda.LEGACY_STREAM)
        given = {name: self._view(one.address, one.shape, one.dtype) for name, one in inputs.items()}
        found = answer(self.component, given)
        assert set(found) == set(outputs), "an output of the engine would get new memory"
        for name, array in outputs.items():
            self._view(array.address, array.shape, array.dtype)[:] = found[name]


def test_sessions_that_wait_run_part_by_part(schedule, device):
    model = DiffusionModel(schedule, {name: Waiting(name, device) for name in schedule.components}, {})
    for seed in range(3):
        options = RunOptions(seed, steps=3)
        np.testing.assert_array_equal(model.run(*arrays(seed), options), expected(schedule, seed, options))
    assert device.count_of("record_graph") == 0
    del model
    gc.collect()
    assert not device.blocks


def test_two_gpus_meet_on_the_host(schedule, device):
    sessions = {name: Waiting(name, device) for name in schedule.components}
    sessions["refiner"].device = "cuda:0"
    assert isinstance(open_buffers(schedule, sessions), HostBuffers)


def test_without_cuda_python_arrays_pass_through_the_host(monkeypatch, schedule, device):
    def missing():
        raise HarmonyError("CUDA needs the package cuda-python")

    monkeypatch.setattr(cuda, "open_cuda", missing)
    assert isinstance(
        open_buffers(schedule, {name: Waiting(name, device) for name in schedule.components}), HostBuffers
    )
