"""Courses of several runs, from files."""

from __future__ import annotations

import itertools
import json

import pytest
import torch

from harmonyrt.common import HarmonyError
from harmonyrt.models import load_phnet
from harmonyrt.training import presets
from harmonyrt.training.ablation import ablations
from harmonyrt.training.plan import read_plan
from harmonyrt.training.train import train


def test_the_courses_of_the_project_can_be_read_and_lead_one_into_the_other(tmp_path):
    assert "shipped" in presets.courses()
    for name in presets.courses():
        course = presets.read_course(name)
        runs = presets.configs(course, tmp_path, tmp_path / "out", None)
        assert course.about.endswith(".")
        assert "hour" in course.hours
        assert runs[0].init is None
        for (before, after), run in zip(itertools.pairwise(runs), course.runs[1:], strict=True):
            if "start" in run:
                assert after.init == after.out.with_name(f"{after.out.name}-start.safetensors")
            else:
                assert after.init == before.out / "weights.safetensors"
        earlier: list[str] = []
        for run in course.runs:
            assert set(run.get("start", {})) <= set(earlier)
            assert sum(run.get("start", {"": 1}).values()) == pytest.approx(1)
            earlier.append(run["name"])


def test_every_plan_of_the_project_can_be_read():
    plans = [path for path in presets.PLANS.glob("*.json") if path.stem not in (*presets.courses(), *ablations())]
    assert plans
    for path in plans:
        assert read_plan(path).in_layers


def test_an_unknown_preset_is_named_with_the_known_ones():
    with pytest.raises(HarmonyError, match="shipped"):
        presets.read_course("best")


@pytest.fixture
def short(tmp_path, monkeypatch):
    """A course of two runs of two steps."""
    folder = tmp_path / "plans"
    folder.mkdir()
    (folder / "mine.json").write_text(json.dumps({"moved": 0.6, "in_place": 0.3, "scenes": 2, "photos": 0.0}))
    runs = [
        {"name": "head", "plan": "mine.json", "loss": "scene", "steps": 2, "colour_head": True,
         "stages": [{"size": 48, "batch": 4, "head_alone": True}]},
        {"name": "all", "plan": "mine.json", "loss": "scene", "steps": 2,
         "stages": [{"size": 48, "batch": 4, "settled_norms": True}]},
        {"name": "longer", "start": {"head": 0.5, "all": 0.5}, "plan": "mine.json", "loss": "scene", "steps": 1,
         "stages": [{"size": 48, "batch": 4, "lr": 0.0}], "weight_decay": 0.0},
    ]  # fmt: skip
    last_steps = {"average": {"head": 0.25, "all": 0.75}, "change_shrinkage": 0.2, "trained_sizes": [48]}
    course = {"about": "Short.", "hours": "no hours", "runs": runs, "finish": last_steps}
    (folder / "short.json").write_text(json.dumps(course))
    monkeypatch.setattr(presets, "PLANS", folder)
    return presets.read_course("short")


@pytest.mark.slow
def test_a_course_runs_to_its_end(short, small_data, tmp_path):
    out = tmp_path / "run"
    runs = presets.configs(short, small_data, out, None, threads=1, workers=0, precision="fp32")
    weights, last = presets.run_course(short, runs, out, train)
    assert weights == out / "weights.safetensors"
    assert last.finished
    config = load_phnet(weights).config
    assert config.colour_head
    assert (config.change_shrinkage, config.trained_sizes) == (0.2, (48,))
    head, both, longer = (load_phnet(run.out / "weights.safetensors").state_dict() for run in runs)
    name = "encoder.0.0.weight"
    assert not head[name].equal(both[name])  # the second run trained it
    torch.testing.assert_close(longer[name], (head[name] + both[name]) / 2, atol=1e-3, rtol=1e-3)  # stored in fp16
