"""Progress of a run: a bar on a terminal, plain lines elsewhere (both on stderr), JSON lines in a file."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TextIO

from harmonyrt.common.progress import display
from harmonyrt.training.run_folder import cut_log

SMOOTHING = 0.98


class Reporter:
    """Use as a context manager; ``log`` is appended to, so a resumed run keeps one file. Without one it is silent."""

    def __init__(self, log: Path | None, stream: TextIO | None = None) -> None:
        self.log_path = log
        self.stream = stream
        self.loss: float | None = None
        self.said = time.monotonic()
        self.steps_said = 0
        self.last_score = ""
        self.logged: set[tuple[str, int]] = set()
        """Scores of earlier sessions: kind and step."""

    def __enter__(self) -> Reporter:
        with contextlib.ExitStack() as stack:
            silence = None if self.log_path else stack.enter_context(open(os.devnull, "w"))
            self.file = stack.enter_context(open(self.log_path or os.devnull, "a", buffering=1))
            self.display = stack.enter_context(display(silence or self.stream or sys.stderr, counts=False))
            self._close = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._close.close()

    def resume(self, step: int) -> None:
        """The run goes on from this step: what its log says of later ones was lost with their weights."""
        if self.log_path:
            entries = cut_log(self.log_path, step)
            self.logged = {(kind, e["step"]) for e in entries for kind in ("validation", "held_out") if kind in e}

    def say(self, line: str) -> None:
        """One line of chatter."""
        self.display.say(line)

    def step(
        self, step: int, progress: float, minutes: float, size: int, loss: float, rate: float, every: float
    ) -> None:
        """After every optimizer step; writes a line every `every` minutes."""
        self.loss = loss if self.loss is None else SMOOTHING * self.loss + (1 - SMOOTHING) * loss
        text = f"step {step}  {size} px  loss {self.loss:.4f}{self.last_score}"
        self.display.update(text, progress, 1.0)
        seconds = time.monotonic() - self.said
        if seconds < every * 60:
            return
        speed = (step - self.steps_said) / seconds if self.steps_said else 0.0
        self.said, self.steps_said = time.monotonic(), step
        self._log(step=step, minutes=round(minutes, 2), size=size, loss=round(self.loss, 5), rate=rate, speed=speed)
        if not self.display.has_bar:
            self.say(f"{minutes:6.1f} min {progress:5.1%}  {text}  rate {rate:.1e}  {speed:.2f} steps/s")

    def validation(self, step: int, minutes: float, report: dict) -> None:
        """After every validation; `report` is that of ``scoring.compare``."""
        before, after = report["composite"], report["harmonized"]
        self.last_score = f"  val {after['psnr']:.2f} dB fMSE {after['fmse']:.0f}"
        self._score("validation", step, minutes, report)
        self.say(
            f"{minutes:6.1f} min  validation: PSNR {before['psnr']:.2f} -> {after['psnr']:.2f} dB,"
            f" fMSE {before['fmse']:.0f} -> {after['fmse']:.0f}, {report['worse']:.1%} worse by > 1 dB"
        )

    def held_out(self, step: int, minutes: float, loss: float, before: float | None) -> None:
        """The loss of samples that are not trained on, now and at the beginning."""
        self.last_score = f"  held out {loss:.4f}"
        self._score("held_out", step, minutes, loss)
        self.say(
            f"{minutes:6.1f} min  held-out loss {loss:.5f}" + ("" if before is None else f", at first {before:.5f}")
        )

    def _score(self, kind: str, step: int, minutes: float, value: object) -> None:
        if (kind, step) not in self.logged:  # a run that is over is scored again when it is resumed
            self._log(step=step, minutes=round(minutes, 2), **{kind: value})
            self.logged.add((kind, step))

    def _log(self, **entry: object) -> None:
        self.file.write(json.dumps(entry) + "\n")
