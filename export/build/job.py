"""The build job: checkpoint -> components -> typed graphs -> engines -> gates -> bundles, for every family.

Importing this loads no torch: a rebuild with nothing changed is answered from the recipes alone.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import require
from harmonyrt.common.progress import Reporter, reporting
from harmonyrt.export.build.bundle import bundle_being_written, check_place
from harmonyrt.export.build.family import Family, FamilySession, R
from harmonyrt.export.build.joined_recipe import JoinedRecipe
from harmonyrt.export.build.outcome import Outcome
from harmonyrt.export.build.recipe import unchanged

PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "ml_dtypes")


def build_bundles(
    family: Family[R], recipes: Sequence[R | JoinedRecipe[R]], output: Path, force: bool = False
) -> list[Outcome]:
    """Build every bundle that is not already as its recipe asks.

    Args:
        family: of the recipes.
        recipes: all of one checkpoint.
        output: folder that receives the bundles.
        force: build even what is unchanged.

    Returns:
        One outcome per recipe. An engine that fails is a problem of its outcome; the others are built all the same.

    Raises:
        HarmonyError: a bad checkpoint, a missing package, an output that cannot be written: before anything is. Or
            this machine can build none of the targets.
    """
    outcomes: list[Outcome] = []
    pending: list[tuple[R | JoinedRecipe[R], Outcome]] = []
    for recipe in recipes:
        place = output / recipe.name
        manifest = None if force or not recipe.targets else unchanged(recipe, place)
        outcomes.append(Outcome(recipe, place, "unchanged" if manifest else "nothing", manifest))
        if recipe.targets and not manifest:
            pending.append((recipe, outcomes[-1]))
    if not pending:
        return outcomes
    for recipe, _ in pending:
        check_place(output / recipe.name)
    for package in PACKAGES:
        require(package, "build", "the build")
    joined = [(recipe, outcome) for recipe, outcome in pending if isinstance(recipe, JoinedRecipe)]
    groups = family.built_together([recipe for recipe, _ in pending if not isinstance(recipe, JoinedRecipe)])
    groups_and_parts = [*groups, *([part] for recipe, _ in joined for part in recipe.possible)]
    outcome_of = {recipe.name: outcome for recipe, outcome in pending}
    counts = [(len(family.component_names(group[0])), group) for group in groups_and_parts]
    steps = 1 + sum(count + sum(count * len(recipe.targets) + 1 for recipe in group) for count, group in counts)
    with reporting(steps) as report:
        networks = family.load(groups_and_parts[0][0], report)
        report.step_done()
        for recipe, outcome in joined:
            from harmonyrt.export.build.joined import build_joined

            build_joined(recipe, outcome, family, networks, report, force)
        for group in groups:
            _build([(recipe, outcome_of[recipe.name]) for recipe in group], family, networks, report, force)
    refused = [skipped.reason for outcome in outcomes for skipped in outcome.refused]
    if refused and not any(outcome.manifest or outcome.problems for outcome in outcomes):
        raise HarmonyError(refused[0])
    return outcomes


def _build(
    group: list[tuple[R, Outcome]], family: Family[R], networks: FamilySession[R], report: Reporter, force: bool
) -> None:
    """Build bundles that share components; engines that fail are left out, and without any engine there is no bundle.

    Components are built one after another, each dropped before the next is made: DiffHarmony's UNet has 3.4 GB.
    """
    from harmonyrt.export.build.session import BuildSession

    with contextlib.ExitStack() as stack:
        sessions = []
        for recipe, outcome in group:
            place = outcome.place
            scratch = stack.enter_context(bundle_being_written(place, report))
            if not force and (manifest := unchanged(recipe, place)):  # another build, waited for, was faster
                outcome.manifest, outcome.status = manifest, "unchanged"
                continue
            folder = tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.building-gate-")
            simulations = Path(stack.enter_context(folder))
            sessions.append(BuildSession(outcome, recipe, family, networks, scratch, simulations, report))
            sessions[-1].keep_other_targets(place)
        if not sessions:
            return
        for component in networks.components(sessions[0].recipe):
            report.step_done()
            for session in sessions:
                session.add(component)
            del component
        for session in sessions:
            session.finish()
            report.step_done()
