"""The acceptance gate: how far an engine may be from the PyTorch FP32 module on real composites."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from harmonyrt.common import WorkFailed
from harmonyrt.runtime.decibels import MOST_DB, psnr_db
from harmonyrt.runtime.manifest import Parity

Run = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
"""What :meth:`harmonyrt.runtime.backends.Session.run` does: arrays by input name in, arrays by output name out."""

FP32_MAX_ABS_ERROR = 1e-4
"""Of pictures, in [0, 1]."""
FP32_RELATIVE_ERROR = 1e-3
"""Of a component's raw output, relative to the module's largest value."""
LOWEST_PSNR_DB = {"fp16": 50.0, "bf16": 42.0, "int8": 38.0}
ENGINE = "engine"
NOT_MEASURED = Parity(0, 0.0, 0.0, "", "")


class OutOfRange(WorkFailed):
    """A precision cannot hold a weight or a value: more range helps, more digits do not."""


@dataclass(frozen=True)
class Reference:
    """One call and what the PyTorch FP32 module answers.

    Attributes:
        name: of the composite, for messages.
        feeds: arrays by input name. Pictures are blended with ``image`` and ``mask``.
        outputs: arrays by output name, before blending.
        extreme: an edge case whose answer only has to be finite.
    """

    name: str
    feeds: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    extreme: bool = False


@dataclass
class Distance:
    """The worst differences over several calls.

    Attributes:
        cases: number of calls.
        max_abs_error: largest difference.
        relative_error: largest difference relative to the module's largest value.
        psnr_db: lowest PSNR, at most 200 dB.
    """

    cases: int = 0
    max_abs_error: float = 0.0
    relative_error: float = 0.0
    psnr_db: float = MOST_DB

    def add(self, difference: np.ndarray, peak: float = 1.0, visible: np.ndarray | None = None) -> None:
        """Take one more output into account; `visible` is what the PSNR is computed of, if not `difference`."""
        largest = float(difference.max())
        self.max_abs_error = max(self.max_abs_error, largest)
        self.relative_error = max(self.relative_error, largest / peak)
        self.psnr_db = min(self.psnr_db, psnr_db(difference if visible is None else visible, peak))


@dataclass(frozen=True)
class Gate:
    """What one engine has to meet.

    Attributes:
        precision: of the engine.
        is_picture: pictures are compared after blending; raw outputs of a component as they are.
        subject: what is measured, for messages.
    """

    precision: str
    is_picture: bool = True
    subject: str = ENGINE

    @property
    def sentence(self) -> str:
        """The condition, as the manifest has it."""
        if self.precision == "fp32":
            limit = FP32_MAX_ABS_ERROR if self.is_picture else FP32_RELATIVE_ERROR
            condition = f"max_abs_error <= {limit:g}"
            return condition if self.is_picture else f"finite, {condition} of the largest value"
        condition = f"psnr_db >= {LOWEST_PSNR_DB[self.precision]:g}"
        return condition if self.is_picture else f"finite, {condition} of the component's output"

    def check(self, found: Distance, who: str) -> None:
        """Compare a measurement with the condition.

        Args:
            found: by :func:`measure`.
            who: what ran, for the message.

        Raises:
            WorkFailed: it is not met.
        """
        if self.precision != "fp32":
            passed, value = found.psnr_db >= LOWEST_PSNR_DB[self.precision], f"psnr_db {found.psnr_db:.1f}"
        elif self.is_picture:
            passed, value = found.max_abs_error <= FP32_MAX_ABS_ERROR, f"max_abs_error {found.max_abs_error:.1e}"
        else:
            passed, value = found.relative_error <= FP32_RELATIVE_ERROR, f"relative error {found.relative_error:.1e}"
        if not passed:
            hint = "; build another precision" if self.is_picture else ""  # of a component, the build does so itself
            hint += " or with fewer --rewrites" if self.subject == ENGINE else ""
            raise WorkFailed(
                f"the {self.precision} {self.subject} is outside its gate: found {value} on {who}, need {self.sentence}"
                f"{hint}"
            )

    def parity(self, found: Distance, who: str) -> Parity:
        """A measurement as the manifest has it."""
        return Parity(found.cases, found.max_abs_error, found.psnr_db, self.sentence, who)


def measure(run: Run, references: Iterable[Reference], gate: Gate, who: str) -> Distance:
    """Compare an engine with the module.

    Args:
        run: runs the engine once.
        references: at least one that is not extreme.
        gate: says whether pictures are compared, and names the engine in messages.
        who: what runs here, for messages.

    Returns:
        The worst case over all references.

    Raises:
        OutOfRange: an output that is not finite.
        WorkFailed: an output of another shape.
    """
    distance = Distance()
    for reference in references:
        distance.cases += 1
        found = run(reference.feeds)
        for name, expected in reference.outputs.items():
            output = found[name]
            if output.shape != expected.shape:
                raise WorkFailed(
                    f"the {gate.subject}'s {name} for {reference.name!r} has shape {output.shape}, the module's"
                    f" {expected.shape}; this is a bug of the build, please report it"
                )
            if not np.isfinite(output).all():
                raise OutOfRange(
                    f"the {gate.subject}'s {name} for {reference.name!r} has {int((~np.isfinite(output)).sum())} values"
                    f" that are not finite in {gate.precision}, on {who}; build another precision"
                )
            if reference.extreme:
                continue
            difference = np.abs(output - expected)
            if gate.is_picture:
                feeds = reference.feeds
                distance.add(difference, 1.0, blended(output, feeds) - blended(expected, feeds))
            else:
                distance.add(difference, float(np.abs(expected).max()))
    return distance


def prove(run: Run, references: Iterable[Reference], gate: Gate, who: str) -> Parity:
    """Measure an engine and hold it to its gate; raises WorkFailed if it fails."""
    distance = measure(run, references, gate, who)
    gate.check(distance, who)
    return gate.parity(distance, who)


def blended(output: np.ndarray, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    """The picture that a user would get, before rounding: float64 in [0, 1]."""
    picture = output.astype(np.float64) * feeds["mask"] + feeds["image"] * (1.0 - feeds["mask"])
    return np.clip(picture, 0, 1)
