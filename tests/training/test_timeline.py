"""How far a run is, and what is due then."""

from __future__ import annotations

from pathlib import Path

import pytest

from harmonyrt.training.config import Stage, TrainConfig
from harmonyrt.training.timeline import FINAL_RATE, Timeline

STAGES = (Stage(32, 4, share=3, lr=1.0), Stage(32, 3, share=1, lr=0.1))


def timeline(pictures: int = 10, **changes) -> Timeline:
    config = TrainConfig(Path("data"), Path("out"), stages=STAGES, warmup_steps=2, **changes)
    return Timeline.of(config, range(pictures))


def test_steps_and_minutes_are_divided_by_the_stages_shares():
    course = timeline(steps=8)
    assert [course.stage_index(course.progress(step, 99.0)) for step in range(9)] == [0] * 6 + [1] * 3
    assert course.first_step(1) is None
    clock = timeline(minutes=4.0)
    assert [clock.stage_index(clock.progress(99, minutes)) for minutes in (0, 2.9, 3, 5)] == [0, 0, 1, 1]
    assert clock.progress(0, 5.0) == 1


def test_epochs_are_passes_of_each_stages_batches():
    course = timeline(epochs=4.0)  # 3 passes of 3 batches, 1 of 4
    assert (course.steps, course.shares) == (13, (9.0, 4.0))
    assert (course.first_step(0), course.first_step(1)) == (0, 9)
    assert [course.stage_index(course.progress(step, 0.0)) for step in (8, 9)] == [0, 1]
    assert course.described(range(10)) == "4 epochs (3, 1) of 10 composites: 13 steps"


def test_the_rate_rises_and_falls():
    course = timeline(steps=8)
    assert [course.rate(0, step, 0.0) for step in (0, 1, 2)] == [0.5, 1.0, 1.0]
    assert course.rate(1, 7, 1.0) == pytest.approx(0.1 * FINAL_RATE)
    assert timeline(steps=8, schedule="constant").rate(1, 7, 1.0) == pytest.approx(0.1)
