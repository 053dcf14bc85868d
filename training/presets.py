"""Training courses by name: runs in sequence, each from the weights of the ones before, and the final steps.

A course is a JSON file in ``training/plans/``: ``about`` (a sentence), ``hours`` (on what machine), ``runs`` and
``finish``. A run has a ``name``, a ``plan`` (a file next to it), ``stages`` (:class:`Stage`'s attributes), ``steps``,
and any other attribute of :class:`TrainConfig`; with ``start`` it begins with the mean of earlier runs' weights, by the
shares given there. ``finish`` says the same of the file that comes out, and its ``change_shrinkage`` and
``trained_sizes``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmonyrt.common import HarmonyError
from harmonyrt.models import load_phnet
from harmonyrt.training.averaging import average
from harmonyrt.training.config import Stage, TrainConfig
from harmonyrt.training.plan import read_plan
from harmonyrt.training.shipping import ship

PLANS = Path(__file__).parent / "plans"
WEIGHTS = "weights.safetensors"
"""In the folder of a run, and of a course."""


@dataclass(frozen=True)
class Course:
    """A course as read from its file."""

    name: str
    about: str
    hours: str
    runs: tuple[dict[str, Any], ...]
    finish: dict[str, Any]


def courses() -> list[str]:
    """Names of the courses that come with the project."""
    return sorted(path.stem for path in PLANS.glob("*.json") if "runs" in json.loads(path.read_text()))


def read_course(name: str) -> Course:
    """A course by its name.

    Raises:
        HarmonyError: there is none of that name.
    """
    if name not in courses():
        raise HarmonyError(f"there is no preset {name!r}; use one of {', '.join(courses())}")
    content = json.loads((PLANS / f"{name}.json").read_text())
    return Course(name, content["about"], content["hours"], tuple(content["runs"]), content.get("finish", {}))


def configs(course: Course, data: Path, out: Path, init: Path | None, **changes: Any) -> list[TrainConfig]:
    """The runs of a course.

    Args:
        course: what to run.
        data: data root.
        out: folder of the course; each run gets one in it.
        init: weights that the first run begins with, in place of a fresh network.
        changes: attributes of every run that the user set (device, threads, workers, ...).
    """
    made: list[TrainConfig] = []
    for number, run in enumerate(course.runs, 1):
        settings = dict(run)
        mean = settings.pop("start", None)
        folder = out / f"{number}-{settings.pop('name')}"
        settings["plan"] = read_plan(PLANS / settings["plan"])
        settings["stages"] = tuple(map(stage_of, settings["stages"]))
        before = made[-1].out / WEIGHTS if made else init
        begin = folder.with_name(f"{folder.name}-start.safetensors") if mean else before
        made.append(TrainConfig(data, folder, init=begin, **settings | changes))
    return made


def stage_of(settings: dict[str, Any]) -> Stage:
    """A stage from its JSON object."""
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
    }
    return Stage(**values)


def train_in_turn(runs: Iterable[TrainConfig], train: Callable[[TrainConfig], Any]) -> tuple[bool, Any]:
    """Train one configuration after another, up to one that is interrupted.

    Returns:
        Whether all were finished, and the last run's result (None without any).
    """
    result = None
    for config in runs:
        result = train(config)
        if not result.finished:
            return False, result
    return True, result


def run_course(
    course: Course, runs: list[TrainConfig], out: Path, train: Callable[[TrainConfig], Any]
) -> tuple[Path | None, Any]:
    """Train the runs in order, and finish.

    Args:
        course: what is run.
        runs: its configurations.
        out: folder of the course.
        train: runs or resumes one configuration.

    Returns:
        The finished weights, ``out/weights.safetensors`` (None if a run was interrupted: the same command resumes it),
        and the last run's result.
    """
    named = {run["name"]: config.out / WEIGHTS for run, config in zip(course.runs, runs, strict=True)}

    def begun() -> Iterator[TrainConfig]:
        for run, config in zip(course.runs, runs, strict=True):
            if "start" in run and config.init is not None:
                average([named[name] for name in run["start"]], config.init, list(run["start"].values()))
            yield config

    finished, result = train_in_turn(begun(), train)
    if not finished:
        return None, result
    shares = course.finish.get("average", {course.runs[-1]["name"]: 1.0})
    return finish({named[name]: share for name, share in shares.items()}, out, course.finish), result


def finish(shares: dict[Path, float], out: Path, settings: dict[str, Any]) -> Path:
    """The final steps: average weights by share, set how much of small changes is withheld, and the trained sizes."""
    path = out / WEIGHTS
    files = list(shares)
    mean = average(files, path, list(shares.values())) if len(files) > 1 else files[0]
    network = load_phnet(mean)
    config = dataclasses.replace(
        network.config,
        change_shrinkage=settings.get("change_shrinkage", 0.0),
        trained_sizes=tuple(settings.get("trained_sizes", ())),
    )
    return ship(network.state_dict(), config, path)
