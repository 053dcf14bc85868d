"""What became of a recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from harmonyrt.export.build.family import Recipe
from harmonyrt.runtime.manifest import Manifest, Skipped


@dataclass
class Outcome:
    """What became of one recipe.

    Attributes:
        recipe: what was asked for.
        place: folder of the bundle.
        status: ``"built"``, ``"unchanged"``, ``"failed"`` (nothing was written) or ``"nothing"`` (no engine can exist).
        manifest: of the bundle that is in `place` now; None if there is none, or an older one.
        problems: a sentence for every engine that failed.
        refused: targets that this machine cannot build, with the reason.
    """

    recipe: Recipe
    place: Path
    status: str
    manifest: Manifest | None = None
    problems: list[str] = field(default_factory=list)
    refused: list[Skipped] = field(default_factory=list)
