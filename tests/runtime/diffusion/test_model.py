"""The loop over recorded engines: what is called, in which order, with which noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.runtime.diffusion import Cancelled, DiffusionModel, RunOptions
from harmonyrt.runtime.diffusion.noise import NoiseStream

LATENT = (1, 4, 2, 3)


class Recorded:
    """An engine that notes what it is given and answers the same every time."""

    backend, device = "recorded", "cpu"

    def __init__(self, output: str, shape: tuple[int, ...], value: float = 0.5) -> None:
        self.output, self.answer, self.calls = output, np.full(shape, value, np.float32), []

    def run(self, inputs):
        self.calls.append(dict(inputs))
        return {self.output: self.answer}


def engines() -> dict[str, Recorded]:
    return {
        "vae-encoder": Recorded("condition", (1, 5, 2, 3)),
        "unet": Recorded("next_latents", LATENT),
        "vae-decoder": Recorded("picture", (1, 3, 16, 24)),
        "refiner": Recorded("output", (1, 3, 8, 16), 0.25),
    }


def arrays() -> list[np.ndarray]:
    shapes = (1, 3, 16, 24), (1, 1, 16, 24), (1, 3, 8, 16), (1, 1, 8, 16)
    return [np.ones(shape, np.float32) for shape in shapes]


def test_draws_are_used_in_the_documented_order(schedule):
    parts = engines()
    output = DiffusionModel(schedule, parts, {}).run(*arrays(), RunOptions(seed=3, sample=1))
    stream = NoiseStream(3, 1)
    initial, posterior, first, second, condition = (stream.normal(LATENT) for _ in range(5))
    assert np.array_equal(parts["vae-encoder"].calls[0]["noise"], posterior)
    steps = parts["unet"].calls
    assert np.array_equal(steps[0]["latents"], initial * np.float32(10))
    assert [int(call["step"][0]) for call in steps] == [4, 5]
    assert np.array_equal(steps[0]["noise"], first)
    assert np.array_equal(steps[1]["noise"], second)
    assert np.array_equal(parts["vae-decoder"].calls[0]["noise"], condition)
    assert (output == 0.25).all()


def test_steps_choose_the_program(schedule):
    parts = engines()
    DiffusionModel(schedule, parts, {}).run(*arrays(), RunOptions(steps=1))
    assert [int(call["step"][0]) for call in parts["unet"].calls] == [0]
    with pytest.raises(
        HarmonyError, match="steps 7 are not in this bundle, which has 1, 2, 3; build it with --steps 7"
    ):
        DiffusionModel(schedule, parts, {}).run(*arrays(), RunOptions(steps=7))


@pytest.mark.parametrize(
    ("channels", "names"), [(7, {"image", "mask", "composite"}), (4, {"image", "mask"}), (3, {"image"})]
)
def test_the_refiner_gets_what_it_takes(schedule, channels, names):
    parts = engines()
    DiffusionModel(dataclasses.replace(schedule, refiner_channels=channels), parts, {}).run(*arrays())
    assert set(parts["refiner"].calls[0]) == names


def test_without_refiner_and_condition(schedule):
    parts = engines()
    schedule = dataclasses.replace(schedule, refiner_channels=0, conditional=False, output_size=(16, 24))
    assert DiffusionModel(schedule, parts, {}).run(*arrays()[:2]).shape == (1, 3, 16, 24)
    assert set(parts["vae-decoder"].calls[0]) == {"latents"}


def test_progress_tells_every_part(schedule):
    told = []
    DiffusionModel(schedule, engines(), {}).run(*arrays(), RunOptions(progress=lambda *part: told.append(part)))
    names = ["encode", "step", "step", "decode", "refine"]
    assert told == [(name, done, 5) for done, name in enumerate(names)]


def test_a_run_is_cancelled_between_parts_and_can_be_repeated(schedule):
    parts = engines()
    model = DiffusionModel(schedule, parts, {})
    with pytest.raises(Cancelled, match=r"before part 3 of 5 \(step\)"):
        model.run(*arrays(), RunOptions(progress=lambda name, done, total: done < 2))
    assert len(parts["unet"].calls) == 1
    assert model.run(*arrays()).shape == (1, 3, 8, 16)


def test_values_that_are_not_finite_name_their_engine(schedule):
    parts = engines()
    parts["vae-decoder"].answer = np.full((1, 3, 16, 24), np.nan, np.float32)
    with pytest.raises(WorkFailed, match="the vae-decoder gave 1152 values that are not finite"):
        DiffusionModel(schedule, parts, {}).run(*arrays())


def test_arrays_of_another_size_are_refused(schedule):
    wrong = arrays()
    wrong[1] = wrong[1][..., :16]
    with pytest.raises(HarmonyError, match=r"the mask should be float32 of shape \[1, 1, 16, 24\]"):
        DiffusionModel(schedule, engines(), {}).run(*wrong)
    with pytest.raises(HarmonyError, match="the refiner's mask should be"):
        DiffusionModel(schedule, engines(), {}).run(*arrays()[:2])
