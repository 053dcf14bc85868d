"""Recipes of several precisions whose engines share one bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic

from harmonyrt.export.build.family import R
from harmonyrt.export.targets import BuildOptions, Size
from harmonyrt.runtime.manifest import PRECISIONS, Skipped


@dataclass(frozen=True)
class JoinedRecipe(Generic[R]):
    """One bundle with engines of several precisions: a recipe as the build spine takes it.

    Attributes:
        parts: recipes of one size that differ in their precision, the most exact first. Those without targets have no
            engine, and still a place in the name: the same build for another target finds the bundle.
    """

    parts: tuple[R, ...]

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What cannot exist, in any of the precisions."""
        return tuple(skipped for part in self.parts for skipped in part.skipped)

    @property
    def possible(self) -> tuple[R, ...]:
        """The parts that have a target."""
        return tuple(part for part in self.parts if part.targets)

    @property
    def name(self) -> str:
        """The bundle's folder, for example ``"phnet-256-fp32-bf16-int8"``."""
        first = self.parts[0]
        return first.name.removesuffix(first.precision) + "-".join(part.precision for part in self.parts)

    @property
    def precision(self) -> str:
        """The most exact one."""
        return self.parts[0].precision

    @property
    def size(self) -> Size:
        """Of all parts."""
        return self.parts[0].size

    @property
    def targets(self) -> tuple[str, ...]:
        """Those that can exist in one of the precisions."""
        return tuple(dict.fromkeys(target for part in self.parts for target in part.targets))

    @property
    def pairs(self) -> set[tuple[str, str]]:
        """(target, precision) of every engine that the bundle should have."""
        return {(target, part.precision) for part in self.parts for target in part.targets}

    @property
    def rewrites(self) -> tuple[str, ...]:
        """Those of any part; each engine gets what it can take."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.rewrites))

    @property
    def options(self) -> BuildOptions:
        """Of all parts."""
        return self.parts[0].options

    @property
    def tune(self) -> float | None:
        """Seconds of measuring, for all parts together."""
        return self.parts[0].tune

    @property
    def source_name(self) -> str:
        """Of the checkpoint."""
        return self.parts[0].source_name

    @property
    def source_sha256(self) -> str:
        """Of the checkpoint."""
        return self.parts[0].source_sha256

    def facts(self) -> dict[str, Any]:
        """What decides the bundle's content besides its targets: the facts of each part."""
        return {**self.parts[0].facts(), "precisions": [part.facts() for part in self.parts]}


def joined(recipes: Sequence[R]) -> list[R | JoinedRecipe[R]]:
    """The same recipes with those of one size joined to one bundle; a precision alone stays as it is."""
    by_size: dict[Size, list[R]] = {}
    for recipe in recipes:
        by_size.setdefault(recipe.size, []).append(recipe)
    result: list[R | JoinedRecipe[R]] = []
    for same in by_size.values():
        same.sort(key=lambda recipe: PRECISIONS.index(recipe.precision))
        result.append(JoinedRecipe(tuple(same)) if len(same) > 1 else same[0])
    return result
