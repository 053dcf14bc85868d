"""What tables compare: runs that were measured, under short names, and their scores in parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harmonyrt.evaluation import quoted
from harmonyrt.evaluation.measure import Measured
from harmonyrt.evaluation.metrics import Score
from harmonyrt.evaluation.runs import Row

COMPOSITE = "composite"


@dataclass(frozen=True)
class System:
    """A line of the tables: a run that was measured, under its name."""

    label: str
    measured: Measured

    @property
    def rows(self) -> tuple[Row, ...]:
        """Rows of all passes."""
        return self.measured.rows

    @property
    def first_pass(self) -> tuple[Row, ...]:
        """Rows of the first seed: each picture once."""
        return self.rows[: len(self.rows) // len(self.measured.run.passes)]


def named(measured: Sequence[Measured]) -> list[System]:
    """Short names that tell the runs apart."""
    systems = []
    for one in measured:
        run = one.run
        words = [(run.results or run.bundle).rstrip("/").rpartition("/")[2]]
        if (
            any(other is not one and other.run.bundle == run.bundle for other in measured)
            and one.about.refined is not None
        ):
            words.append("refined" if one.about.refined else "not refined")
        systems.append(System(" ".join(words), one))
    labels = [system.label for system in systems]
    return [
        System(f"{s.label} ({s.measured.run.bundle})" if labels.count(s.label) > 1 else s.label, s.measured)
        for s in systems
    ]


@dataclass(frozen=True)
class Part:
    """Scores under one label: of the composites, or of a system's results in all passes."""

    label: str
    scores: list[Score]
    subsets: list[str]
    passes: int = 1

    def of(self, subset: str | None) -> list[Score]:
        """Those of one subset; None for all."""
        return [s for s, name in zip(self.scores, self.subsets, strict=True) if subset in (name, None)]

    def count(self, scores: Sequence[Score]) -> str:
        """How many pictures these scores are of."""
        return str(len(scores) // self.passes)


def parts_of(systems: Sequence[System]) -> list[Part]:
    """The composites, once where all systems were given the same, then each system."""
    given = []
    for one in systems:
        once = one.first_pass
        given.append(Part(f"{COMPOSITE}, {one.label}", [r.before for r in once], [r.subset for r in once]))
    if all(part.scores == given[0].scores for part in given):
        given = [Part(COMPOSITE, given[0].scores, given[0].subsets)]
    done = [
        Part(one.label, [r.after for r in one.rows], [r.subset for r in one.rows], len(one.measured.run.passes))
        for one in systems
    ]
    return given + done


def subsets_of(systems: Sequence[System]) -> list[str]:
    """Subsets that occur, iHarmony4's in the paper's order."""
    found = dict.fromkeys(row.subset for row in systems[0].rows)
    order = {name: n for n, name in enumerate(quoted.SUBSETS)}
    return sorted(found, key=lambda name: (order.get(name, len(order)), name))


def is_iharmony4(systems: Sequence[System]) -> bool:
    """Whether the data calls itself iHarmony4: its four subsets, by name."""
    return set(subsets_of(systems)) == set(quoted.SUBSETS)


def is_ffhqh(systems: Sequence[System]) -> bool:
    """Whether the data calls itself FFHQH."""
    return [name.upper() for name in subsets_of(systems)] == ["FFHQH"]
