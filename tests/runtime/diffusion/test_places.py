"""The loop on a card, without one: device memory is memory of the host at addresses of its own."""

from __future__ import annotations

import ctypes
import gc

import numpy as np
import pytest

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.runtime.backends import cuda
from harmonyrt.runtime.diffusion import DiffusionModel, RunOptions
from harmonyrt.runtime.diffusion.places import Card, Host, open_place
from harmonyrt.runtime.diffusion.plan import LoopPlan, Program

PLAN = LoopPlan(
    inference_size=(16, 24),
    output_size=(8, 16),
    latent_channels=4,
    factor=8,
    conditional=True,
    refiner_channels=7,
    timestep_spacing="linspace",
    default_steps=3,
    programs={3: Program(3, (4, 5, 6), 10.0), 1: Program(1, (0,), 3.0)},
)


class FakeCuda:
    """Tells what is copied where: "up", "down" or "on the card"."""

    def __init__(self) -> None:
        self.blocks: dict[int, ctypes.Array] = {}
        self.log: list[str] = []

    def set_device(self, index):
        assert index == 1

    def allocate(self, size):
        block = ctypes.create_string_buffer(size)
        self.blocks[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def free(self, address):
        del self.blocks[address]

    def copy(self, target, source, size, stream):
        here = target in self.blocks, source in self.blocks
        self.log.append({(True, False): "up", (False, True): "down", (True, True): "on the card"}[here])
        ctypes.memmove(target, source, size)

    def synchronize(self, stream):
        self.log.append("wait")


def answer(component: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the made-up engines compute: something that depends on every input."""
    total = sum(np.float32(array.mean()) for _, array in sorted(inputs.items()))
    if component == "vae-encoder":
        return {"condition": np.tanh(np.full((1, 5, 2, 3), total, np.float32))}
    if component == "unet":
        noise = inputs["noise"] + inputs["step"].astype(np.float32)
        return {"next_latents": np.tanh(inputs["latents"] + noise + total), "predicted_noise": noise}
    shape = (1, 3, 16, 24) if component == "vae-decoder" else (1, 3, 8, 16)
    name = "picture" if component == "vae-decoder" else "output"
    return {name: np.tanh(np.resize(inputs.get("latents", inputs.get("image")), shape) + total)}


class OnHost:
    backend, device = "made up", "cpu"

    def __init__(self, component: str) -> None:
        self.component = component

    def run(self, inputs):
        return answer(self.component, inputs)


class OnCard(OnHost):
    """Reads and writes device memory, and notes the addresses that a graph would be bound to."""

    device = "cuda:1"

    def __init__(self, component: str, device: FakeCuda) -> None:
        super().__init__(component)
        self._cuda, self.bindings = device, []

    def run(self, inputs):
        raise AssertionError("an array returned to the host")

    def run_on_device(self, inputs, outputs):
        self._cuda.log.append(self.component)
        self.bindings.append(tuple(array.address for array in (*inputs.values(), *outputs.values())))
        found = answer(self.component, {name: _view(array) for name, array in inputs.items()})
        assert set(found) == set(outputs), "an output of the engine would get new memory"
        for name, array in outputs.items():
            _view(array)[:] = found[name]


def _view(array) -> np.ndarray:
    memory = (ctypes.c_char * array.nbytes).from_address(array.address)
    return np.frombuffer(memory, array.dtype).reshape(array.shape)


def arrays() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = (1, 3, 16, 24), (1, 1, 16, 24), (1, 3, 8, 16), (1, 1, 8, 16)
    return [rng.random(shape, dtype=np.float32) for shape in shapes]


@pytest.fixture
def device(monkeypatch) -> FakeCuda:
    fake = FakeCuda()
    monkeypatch.setattr(cuda, "open_cuda", lambda: fake)
    return fake


@pytest.fixture
def on_card(device):
    return DiffusionModel(PLAN, {name: OnCard(name, device) for name in PLAN.components}, {})


def test_the_card_gives_what_the_host_gives(on_card):
    on_host = DiffusionModel(PLAN, {name: OnHost(name) for name in PLAN.components}, {})
    assert isinstance(on_host.place, Host)
    assert isinstance(on_card.place, Card)
    for options in (RunOptions(seed=1), RunOptions(seed=1), RunOptions(seed=2), RunOptions(seed=1, steps=1)):
        found, expected = (model.run(*arrays(), options) for model in (on_card, on_host))
        np.testing.assert_array_equal(found, expected)


def test_nothing_comes_down_before_the_end(on_card, device):
    on_card.run(*arrays())
    first, last = device.log.index("vae-encoder"), device.log.index("refiner")
    assert set(device.log[:first]) == {"up"}
    assert "up" not in device.log[first:]
    assert not {"down", "wait"} & set(device.log[first:last])
    assert device.log[last + 1 :] == ["down", "wait"] * 2


def test_graphs_can_be_replayed(on_card):
    """Every run binds the same addresses, and a step has no more than its first, and two that alternate."""
    for _ in range(2):
        on_card.run(*arrays())
    for name, session in on_card.sessions.items():
        half = len(session.bindings) // 2
        assert session.bindings[:half] == session.bindings[half:], name
    assert len(set(on_card.sessions["unet"].bindings)) == 3


def test_values_that_are_not_finite_are_found_behind_a_clamp(on_card, monkeypatch):
    monkeypatch.setitem(answer.__globals__, "answer", _with_nan_latents)
    with pytest.raises(WorkFailed, match="the unet gave 24 values that are not finite on made up"):
        on_card.run(*arrays())


def _with_nan_latents(component, inputs, compute=answer):
    found = compute(component, {name: np.nan_to_num(array) for name, array in inputs.items()})
    if component == "unet":
        found["next_latents"] = np.full_like(found["next_latents"], np.nan)
    return found


def test_steps_are_numbered_in_the_type_that_the_engine_takes(device, on_card):
    class Old(OnCard):
        def input_type(self, name):
            return np.dtype(np.int32)

        def run_on_device(self, inputs, outputs):
            assert self.component != "unet" or inputs["step"].dtype == np.int32
            super().run_on_device(inputs, outputs)

    old = DiffusionModel(PLAN, {name: Old(name, device) for name in PLAN.components}, {})
    np.testing.assert_array_equal(old.run(*arrays()), on_card.run(*arrays()))


def test_memory_goes_with_the_model(device):
    model = DiffusionModel(PLAN, {name: OnCard(name, device) for name in PLAN.components}, {})
    model.run(*arrays())
    assert device.blocks
    del model
    gc.collect()
    assert not device.blocks


def test_two_cards_meet_on_the_host(device):
    sessions = {name: OnCard(name, device) for name in PLAN.components}
    sessions["refiner"].device = "cuda:0"
    assert isinstance(open_place(PLAN, sessions), Host)


def test_without_cuda_python_arrays_pass_through_the_host(monkeypatch, device):
    def missing():
        raise HarmonyError("CUDA needs the package cuda-python")

    monkeypatch.setattr(cuda, "open_cuda", missing)
    assert isinstance(open_place(PLAN, {name: OnCard(name, device) for name in PLAN.components}), Host)
