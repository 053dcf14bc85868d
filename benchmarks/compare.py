"""Timing cases side by side: a process each, rounds in alternating order, ratios pair by pair.

A ratio is the only speed claim that this project makes: both sides come from the same minutes on the same machine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.benchmarks.cases import Case
from harmonyrt.benchmarks.timing import Summary, summarize
from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.programs import module_command
from harmonyrt.runtime.decibels import psnr_db


@dataclass(frozen=True)
class Budget:
    """How long to measure.

    Attributes:
        rounds: turns of every case.
        seconds: length of one turn.
        least: samples in one turn at least.
        burn_in_seconds: after this an unstable burn-in is abandoned, and reported.
    """

    rounds: int = 7
    seconds: float = 0.7
    least: int = 1
    burn_in_seconds: float = 10.0


@dataclass(frozen=True)
class Ratio:
    """How many times faster than the baseline: (baseline median / own median) of each round, their median and range."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """One case's result.

    Attributes:
        case: what was timed.
        about: backend, device, target, precision, model, as chosen.
        latency: over all rounds.
        load_ms: opening with an empty cache, without the imports of the process.
        first_call_ms: the first call after opening.
        peak_rss_mb: of the case's own process, interpreter and imports included.
        stable: whether the burn-in became stable.
        speedup: against the first case of the run; None for the first itself.
        psnr_to_first_db: PSNR of its output against the first case's, peak 1 (255 for pictures); None for the first,
            and where shapes differ.
        samples: latencies in milliseconds by round.
        stages: median milliseconds of the parts of a whole call (decode, fit, engine, edit upsampling); empty for
            engines alone.
    """

    case: Case
    about: dict[str, str]
    latency: Summary
    load_ms: float
    first_call_ms: float
    peak_rss_mb: float | None
    stable: bool
    speedup: Ratio | None
    psnr_to_first_db: float | None
    samples: tuple[tuple[float, ...], ...]
    stages: dict[str, float] = dataclasses.field(default_factory=dict)


class Worker:
    """A case in its own process, stopped except while it answers."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self._process = subprocess.Popen(
            module_command("harmonyrt.benchmarks.worker", case.python),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send one request and wait for its answer.

        Raises:
            HarmonyError: the case failed.
            WorkFailed: the process died.
        """
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.send_signal(signal.SIGCONT)
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkFailed(f"the process that timed {self.case.path} died with code {process.wait()}; see above")
        process.send_signal(signal.SIGSTOP)
        answer = json.loads(line)
        if "error" in answer:
            raise HarmonyError(answer["error"])
        return answer

    def close(self) -> None:
        """Kill the process and wait for its end."""
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def _workers(cases: Sequence[Case]) -> Iterator[list[Worker]]:
    workers: list[Worker] = []
    try:
        for case in cases:
            workers.append(Worker(case))
        yield workers
    finally:
        for worker in workers:
            worker.close()


def measure(
    cases: Sequence[Case],
    budget: Budget,
    on_step: Callable[[str], object] = lambda what: None,
    on_failure: Callable[[Case, str], object] | None = None,
) -> list[Measured]:
    """Time cases against the first of them.

    Args:
        cases: the first is the baseline.
        budget: how long.
        on_step: called with the current step.
        on_failure: called with a case other than the first that cannot be loaded here, and the reason; it is left out
            of the result. None: such a case ends the run.

    Raises:
        HarmonyError: a case does not exist or cannot run here.
    """
    with _workers(cases) as workers, tempfile.TemporaryDirectory() as scratch:
        loaded, sound = [], []
        for i, worker in enumerate(workers):
            on_step(f"loading {Path(worker.case.path).name} ({worker.case.kind} {worker.case.mode})")
            own = dataclasses.asdict(worker.case)
            own["cache"] = own["cache"] or str(Path(scratch) / f"cache-{i}")  # nobody opens what another one left
            try:
                answer = worker.ask(do="load", case=own, burn_in_seconds=budget.burn_in_seconds)
            except HarmonyError as error:
                if on_failure is None or i == 0:
                    raise
                on_failure(worker.case, str(error))
                worker.close()
                continue
            loaded.append(answer)
            sound.append(worker)
        workers = sound
        turns: list[list[dict[str, Any]]] = [[] for _ in workers]
        for number in range(budget.rounds):
            on_step(f"round {number + 1} of {budget.rounds}")
            order = range(len(workers)) if number % 2 == 0 else reversed(range(len(workers)))
            for i in order:
                turns[i].append(workers[i].ask(do="round", seconds=budget.seconds, least=budget.least))
        outputs = []
        for i, worker in enumerate(workers):
            path = str(Path(scratch) / f"{i}.npy")
            worker.ask(do="output", path=path)
            outputs.append(np.load(path))
    return [
        _measured(workers[i].case, loaded[i], turns[i], turns[0], outputs[i], outputs[0], is_first=i == 0)
        for i in range(len(workers))
    ]


def _measured(case, loaded, turns, first_turns, output, first_output, is_first: bool) -> Measured:
    samples = tuple(tuple(turn["samples"]) for turn in turns)
    return Measured(
        case=case,
        about=loaded["about"],
        latency=summarize([sample for turn in turns for sample in turn["samples"]]),
        load_ms=loaded["load_ms"],
        first_call_ms=loaded["first_call_ms"],
        peak_rss_mb=turns[-1]["peak_rss_mb"],
        stable=loaded["stable"],
        speedup=None if is_first else ratio(tuple(turn["samples"] for turn in first_turns), samples),
        psnr_to_first_db=None if is_first else _psnr(output, first_output),
        samples=samples,
        stages={name: float(np.median([turn["stages"][name] for turn in turns])) for name in turns[0]["stages"]},
    )


def ratio(baseline: Sequence[Sequence[float]], own: Sequence[Sequence[float]]) -> Ratio:
    """How many times faster than a baseline of the same run; both are samples by round."""
    ratios = [np.median(before) / np.median(after) for before, after in zip(baseline, own, strict=True)]
    return Ratio(float(np.median(ratios)), float(min(ratios)), float(max(ratios)))


def _psnr(output: np.ndarray, reference: np.ndarray) -> float | None:
    if output.shape != reference.shape:
        return None
    peak = 255.0 if reference.dtype == np.uint8 else 1.0
    return psnr_db(output.astype(np.float64) - reference, peak)
