"""What a build keeps of the bundle that it replaces: engines of targets that it was not asked for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harmonyrt.common import HarmonyError
from harmonyrt.export.build.family import Recipe
from harmonyrt.export.build.recipe import recipe_sha256
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.manifest import Manifest


def kept_of_other_targets(recipe: Recipe, place: Path, scratch: Path, say: Callable[[str], object]) -> Manifest | None:
    """Link what an older bundle of the same recipe has for targets that this build was not asked for into its scratch.

    Args:
        recipe: of the build.
        place: of the older bundle, if there is one.
        scratch: folder that becomes the new one.
        say: told which targets are kept; or why not, if the older bundle has them.

    Returns:
        The older manifest with the kept engines alone; None if there are none.
    """
    try:
        old = open_bundle(place)
    except HarmonyError:
        return None
    engines = tuple(engine for engine in old.manifest.engines if engine.target not in recipe.targets)
    targets = ", ".join(dict.fromkeys(engine.target for engine in engines))
    if not engines:
        return None
    try:
        if old.manifest.recipe_sha256 != recipe_sha256(recipe):
            raise HarmonyError("other weights, options or tools made them")
        for engine in engines:
            old.verified_file(engine)
    except HarmonyError as error:
        say(f"the older bundle's engines for {targets} are not kept: {error}")
        return None
    say(f"keeping the older bundle's engines for {targets}")
    for name in {file.path for engine in engines for file in engine.files}:
        _link_or_copy(place / name, scratch / name)
    return replace(old.manifest, engines=engines)


def _link_or_copy(source: Path, copy: Path) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, copy)
    except OSError:  # a file system without links
        shutil.copyfile(source, copy)
