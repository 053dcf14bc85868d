"""Building one bundle of several precisions: each as a separate bundle in the scratch folder, then joined."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harmonyrt.common.progress import Reporter
from harmonyrt.export.build.bundle import bundle_being_written, write_manifest
from harmonyrt.export.build.family import Family, FamilySession, R
from harmonyrt.export.build.joined_recipe import JoinedRecipe
from harmonyrt.export.build.older_bundle import kept_of_other_targets
from harmonyrt.export.build.outcome import Outcome
from harmonyrt.export.build.recipe import recipe_sha256, unchanged
from harmonyrt.export.build.session import BuildSession
from harmonyrt.runtime.manifest import PRECISIONS, SEVERAL_PRECISIONS, EngineSpec, Manifest, Measurement


def build_joined(
    recipe: JoinedRecipe[R],
    outcome: Outcome,
    family: Family[R],
    networks: FamilySession[R],
    report: Reporter,
    force: bool,
) -> None:
    """Build a bundle of several precisions; those that fail their gate are left out, and without any there is none.

    Args:
        recipe: of the bundle.
        outcome: to fill in.
        family: of the recipe's parts.
        networks: loaded.
        report: told what is going on.
        force: build even what is unchanged.
    """
    place = outcome.place
    with (
        bundle_being_written(place, report) as scratch,
        tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.building-gate-") as simulations,
    ):
        if not force and (manifest := unchanged(recipe, place)):  # another build, waited for, was faster
            outcome.manifest, outcome.status = manifest, "unchanged"
            return
        older = kept_of_other_targets(recipe, place, scratch, lambda what: report(f"{recipe.name}: {what}"))
        timed = [one for one in older.measurements if one.target not in recipe.targets] if older else []
        built = [
            manifest
            for part in recipe.possible
            if (manifest := _part(recipe, part, outcome, family, networks, scratch, Path(simulations), report))
        ]
        if not built:
            outcome.status = "failed" if outcome.problems else "nothing"
            return
        outcome.manifest = joined_manifest(recipe, outcome, built, older.engines if older else (), timed)
        outcome.status = "built"
        write_manifest(scratch, outcome.manifest)


def _part(
    recipe: JoinedRecipe[R],
    part: R,
    whole: Outcome,
    family: Family[R],
    networks: FamilySession[R],
    scratch: Path,
    simulations: Path,
    report: Reporter,
) -> Manifest | None:
    """Build one precision as a separate bundle, and move its files to the folder of its name; None if it has none."""
    folder = scratch / f".building-{part.precision}"
    folder.mkdir()
    if part.tune is not None:
        part = replace(part, tune=part.tune / len(recipe.possible))  # type: ignore[type-var]  # every family's is one
    outcome = Outcome(part, folder, "nothing")
    session = BuildSession(outcome, part, family, networks, folder, simulations / part.precision, report)
    for component in networks.components(part):
        report.step_done()
        session.add(component)
        del component
    session.finish()
    report.step_done()
    whole.problems += outcome.problems
    whole.refused += outcome.refused
    engines = outcome.manifest.engines if outcome.manifest else ()
    for name in {file.path for engine in engines for file in engine.files}:
        path = scratch / part.precision / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (folder / name).rename(path)
    shutil.rmtree(folder)
    return outcome.manifest


def joined_manifest(
    recipe: JoinedRecipe[R],
    outcome: Outcome,
    built: Sequence[Manifest],
    engines: Sequence[EngineSpec],
    measurements: Sequence[Measurement],
) -> Manifest:
    """The manifest of the whole.

    Args:
        recipe: of the bundle.
        outcome: so far.
        built: manifests of the parts.
        engines: that an older bundle had for other targets.
        measurements: of these.
    """
    every = [*engines, *(_moved(engine) for manifest in built for engine in manifest.engines)]
    every.sort(key=lambda engine: PRECISIONS.index(engine.precision))
    timed = [replace(one, precision=manifest.precision) for manifest in built for one in manifest.measurements]
    return replace(
        built[0],
        name=recipe.name,
        precision=every[0].precision,
        engines=tuple(every),
        measurements=(*measurements, *timed),
        skipped=(*recipe.skipped, *outcome.refused),
        recipe={**recipe.facts(), "targets": sorted({engine.target for engine in every})},
        recipe_sha256=recipe_sha256(recipe),
        schema=SEVERAL_PRECISIONS,
    )


def _moved(engine: EngineSpec) -> EngineSpec:
    files = tuple(replace(file, path=f"{engine.precision}/{file.path}") for file in engine.files)
    return replace(engine, files=files)
