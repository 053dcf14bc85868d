"""The build job: checkpoint -> module -> ONNX -> precision -> engines -> gate -> bundle.

Importing this loads no torch: a rebuild with nothing changed is answered from the recipes alone.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harmonyrt.common import HarmonyError, HarmonyWarning, WorkFailed
from harmonyrt.common.errors import require
from harmonyrt.common.progress import Reporter, reporting
from harmonyrt.export.build import tune
from harmonyrt.export.build.bundle import bundle_being_written, check_place, file_spec, write_manifest
from harmonyrt.export.build.recipe import SIZE_MULTIPLE, BundleRecipe, tool_versions, unchanged
from harmonyrt.export.phnet.session import Workshop
from harmonyrt.export.rewrites import fitting
from harmonyrt.export.targets import BUILDERS, BuiltEngine
from harmonyrt.runtime.bundle import open_bundle
from harmonyrt.runtime.manifest import EngineSpec, FileSpec, Manifest, ModelSpec, Parity, Skipped, TensorSpec
from harmonyrt.runtime.trained_sizes import outside_trained_sizes, working_side

if TYPE_CHECKING:
    import onnx


@dataclass
class Outcome:
    """What became of one recipe.

    Attributes:
        recipe: what was asked for.
        place: folder of the bundle.
        status: ``"built"``, ``"unchanged"``, ``"failed"`` (nothing was written) or ``"nothing"`` (no engine can exist).
        manifest: of the bundle that is there now; None where there is none, or an older one.
        problems: a sentence for every engine that failed.
        refused: targets that this machine cannot build, with the reason.
    """

    recipe: BundleRecipe
    place: Path
    status: str
    manifest: Manifest | None = None
    problems: list[str] = field(default_factory=list)
    refused: list[Skipped] = field(default_factory=list)


def build_bundles(recipes: Sequence[BundleRecipe], output: Path, force: bool = False) -> list[Outcome]:
    """Build every bundle that is not already as its recipe asks.

    Args:
        recipes: from :func:`harmonyrt.export.build.recipe.plan`, all of one checkpoint.
        output: folder that receives the bundles.
        force: build even what is unchanged.

    Returns:
        One outcome per recipe. An engine that fails is a problem of its outcome; the others are built all the same.

    Raises:
        HarmonyError: a bad checkpoint, a missing package, an output that cannot be written: before anything is.
    """
    outcomes = []
    for recipe in recipes:
        place = output / recipe.name
        manifest = None if force or not recipe.targets else unchanged(recipe, place, recipe.tune is not None)
        status = "unchanged" if manifest else "pending" if recipe.targets else "nothing"
        outcomes.append(Outcome(recipe, place, status, manifest))
    pending = [outcome for outcome in outcomes if outcome.status == "pending"]
    if not pending:
        return outcomes
    for outcome in pending:
        check_place(outcome.place)
    for package in ("torch", "onnx", "onnxscript", "onnxruntime"):
        require(package, "build", "the build")
    first = pending[0].recipe
    with reporting(steps=2 + sum(1 + len(outcome.recipe.targets) for outcome in pending)) as report:
        workshop = Workshop(first.checkpoint, first.options.threads, report, first.meaning)
        workshop.prepare()
        for outcome in pending:
            _warn_of_size(outcome.recipe, workshop)
            _build(outcome, workshop, report, force)
    if refused := _all_refused(outcomes):
        raise HarmonyError(refused)
    return outcomes


def _warn_of_size(recipe: BundleRecipe, workshop: Workshop) -> None:
    if sentence := outside_trained_sizes(dataclasses.asdict(workshop.network.config), recipe.size):
        warnings.warn(f"{recipe.name}: {sentence}", HarmonyWarning, stacklevel=3)


def _all_refused(outcomes: Sequence[Outcome]) -> str | None:
    """The sentence to leave with when nothing of what was asked for can be built on this machine."""
    if any(outcome.manifest or outcome.problems for outcome in outcomes):
        return None
    return next((skipped.reason for outcome in outcomes for skipped in outcome.refused), None)


def _build(outcome: Outcome, workshop: Workshop, report: Reporter, force: bool) -> None:
    """Build one bundle; engines that fail are left out, and without any engine there is no bundle."""
    recipe, place = outcome.recipe, outcome.place
    workshop.forget_other_sizes(recipe.size)
    with bundle_being_written(place, report) as scratch:
        if not force and (
            manifest := unchanged(recipe, place, recipe.tune is not None)
        ):  # another build, waited for, was faster
            outcome.manifest, outcome.status = manifest, "unchanged"
            return
        engines = _kept_engines(recipe, place, scratch)
        report(f"{recipe.name}: reference outputs of the module")
        workshop.references(recipe.size)
        report.step_done()
        for target in recipe.targets:
            report(f"{recipe.name}: {target}")
            engines += _attempt(outcome, target, scratch, workshop, report)
            report.step_done()
        if {engine.target for engine in engines}.isdisjoint(recipe.targets):
            outcome.status = "failed" if outcome.problems else "nothing"
            return
        outcome.manifest = _manifest(recipe, workshop, engines, outcome.refused)
        write_manifest(scratch, outcome.manifest)
        if recipe.tune is not None:
            outcome.manifest = _measured(outcome.manifest, scratch, recipe, report)
            write_manifest(scratch, outcome.manifest)
    outcome.status = "built"


def _attempt(outcome: Outcome, target: str, scratch: Path, workshop: Workshop, report: Reporter) -> list[EngineSpec]:
    """The engines of one target; when it fails or cannot be built here, none, no file of it, and the reason noted."""
    recipe, before = outcome.recipe, set(scratch.iterdir())
    try:
        if recipe.tune is not None:
            return _fastest_engines(recipe, target, scratch, workshop, report)
        return _engines(recipe, target, scratch, workshop, report)
    except WorkFailed as error:
        outcome.problems.append(f"{recipe.name}, {target}: {error}")
    except HarmonyError as error:
        outcome.refused.append(Skipped(target, recipe.precision, str(error)))
    for path in set(scratch.iterdir()) - before:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return []


def _kept_engines(recipe: BundleRecipe, place: Path, scratch: Path) -> list[EngineSpec]:
    """Take over the engines of other targets from a bundle of the same recipe: a second target adds to the first."""
    try:
        old = open_bundle(place)
        if old.manifest.recipe_sha256 != recipe.sha256():
            return []
        kept = [engine for engine in old.manifest.engines if engine.target not in recipe.targets]
        for engine in kept:
            old.verified_file(engine)
    except HarmonyError:
        return []
    for name in {file.path for engine in kept for file in engine.files}:
        _link_or_copy(place / name, scratch / name)
    return kept


def _link_or_copy(source: Path, copy: Path) -> None:
    try:
        os.link(source, copy)
    except OSError:  # a file system without links
        shutil.copyfile(source, copy)


def _fastest_engines(
    recipe: BundleRecipe, target: str, scratch: Path, workshop: Workshop, report: Reporter
) -> list[EngineSpec]:
    """The engines of one target with the plain rewrites, or with the costly ones where that is worth it here."""
    tried_sets = tune.candidates(recipe.rewrites)
    sets = dict.fromkeys(fitting(names, recipe.size, target, recipe.precision) for names in tried_sets)
    candidates: list[tuple[Path, list[EngineSpec]]] = []
    for number, rewrites in enumerate(sets):
        folder = scratch / f"candidate-{number}"
        folder.mkdir()
        tried = replace(recipe, rewrites=rewrites)
        try:
            engines = _engines(tried, target, folder, workshop, report)
        except WorkFailed as error:
            if not candidates:
                raise  # the plain engine fails: that is the build's failure
            report(f"{recipe.name}: {target}: not with {', '.join(rewrites)}: {error}")
            continue
        write_manifest(folder, _manifest(tried, workshop, engines))
        candidates.append((folder, engines))
    assert recipe.tune is not None
    budget = recipe.tune * tune.SHARE_FOR_CANDIDATES / max(1, len(recipe.targets))
    folders = [folder for folder, _ in candidates]
    kept = tune.fastest(folders, target, budget, _telling(recipe, report)) if len(folders) > 1 else 0
    folder, engines = candidates[kept]
    for name in {file.path for engine in engines for file in engine.files}:
        (folder / name).rename(scratch / name)
    for number in range(len(sets)):
        shutil.rmtree(scratch / f"candidate-{number}")
    return engines


def _measured(manifest: Manifest, scratch: Path, recipe: BundleRecipe, report: Reporter) -> Manifest:
    """The manifest with how long every way to run the bundle takes here."""
    assert recipe.tune is not None
    budget = recipe.tune * (1 - tune.SHARE_FOR_CANDIDATES)
    return replace(manifest, measurements=tune.measurements(scratch, budget, _telling(recipe, report)))


def _telling(recipe: BundleRecipe, report: Reporter) -> Callable[[str], object]:
    return lambda what: report(f"{recipe.name}: {what}")


def _engines(
    recipe: BundleRecipe, target: str, scratch: Path, workshop: Workshop, report: Reporter
) -> list[EngineSpec]:
    """Build and gate the engines of one target."""
    start = time.perf_counter()
    typed = workshop.typed_graph(recipe, target)
    options = replace(recipe.options, target=target, progress=_within(recipe, report))
    built = BUILDERS[target](typed, scratch, recipe.precision, options)
    seconds = (time.perf_counter() - start) / max(1, len(built))
    report(f"{recipe.name}: {target}: gate")
    parity_of_graph: list[Parity] = []
    specs = []
    for engine in built:
        spec = EngineSpec(
            target=target,
            precision=recipe.precision,
            files=tuple(file_spec(scratch, name) for name in engine.files),
            census=engine.census,
            parity=_NOT_MEASURED,
            needs=engine.needs,
            rewrites=fitting(recipe.rewrites, recipe.size, target, recipe.precision) + engine.rewrites,
            build_seconds=round(seconds, 2),
        )
        specs.append(replace(spec, parity=_gated(spec, engine, typed, recipe, scratch, workshop, parity_of_graph)))
    return specs


def trial_spec(
    engine: BuiltEngine, target: str, recipe: BundleRecipe, folder: Path, workshop: Workshop
) -> tuple[EngineSpec, Manifest]:
    """What opening an engine needs that is in no bundle: an experiment's."""
    files = tuple(file_spec(folder, name) for name in engine.files)
    spec = EngineSpec(target, recipe.precision, files, engine.census, _NOT_MEASURED, needs=engine.needs)
    return spec, _manifest(recipe, workshop, [spec])


_NOT_MEASURED = Parity(0, 0.0, 0.0, "", "")


def _within(recipe: BundleRecipe, report: Reporter) -> Callable[[str, float | None], None]:
    return lambda doing, share: report(f"{recipe.name}: {doing}", share)


def _gated(
    spec: EngineSpec,
    engine: BuiltEngine,
    typed: onnx.ModelProto,
    recipe: BundleRecipe,
    scratch: Path,
    workshop: Workshop,
    parity_of_graph: list[Parity],
) -> Parity:
    """Measure an engine, or its typed graph where this machine cannot run it (once for all such engines)."""
    from harmonyrt.export.build import verify

    expected = workshop.references(recipe.size)
    run = None
    if engine.runs_here:
        manifest = _manifest(recipe, workshop, [spec])
        run, who = verify.open_engine(scratch / engine.files[0], spec, manifest, workshop.threads, str(workshop.cache))
    if run is not None:
        parity = verify.measure(run, expected, recipe.precision, who)
    else:
        if not parity_of_graph:
            run, who = verify.run_onnx(typed, workshop.threads)
            parity_of_graph.append(verify.measure(run, expected, recipe.precision, who))
        parity = parity_of_graph[0]
    verify.check_gate(parity, recipe.precision)
    return parity


def _manifest(
    recipe: BundleRecipe, workshop: Workshop, engines: list[EngineSpec], refused: Sequence[Skipped] = ()
) -> Manifest:
    network, size = workshop.network, recipe.size
    batch, height, width = (-1, -1, -1) if size is None else (1, *size)

    def tensor(name: str, channels: int, meaning: str) -> TensorSpec:
        return TensorSpec(name, (batch, channels, height, width), "float32", "NCHW", (0.0, 1.0), meaning)

    targets = sorted({engine.target for engine in engines})
    return Manifest(
        name=recipe.name,
        model=ModelSpec(
            family=recipe.model,
            config={
                **_plain(dataclasses.asdict(network.config)),
                **({"assumed": list(workshop.notes)} if workshop.notes else {}),
            },
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            checkpoint=recipe.checkpoint.name,
            checkpoint_sha256=recipe.checkpoint_sha256,
        ),
        precision=recipe.precision,
        size=size,
        batch=None if size is None else 1,
        working_size=working_side(network.config.trained_sizes) if size is None else max(size),
        size_multiple=SIZE_MULTIPLE,
        binary_mask=True,
        inputs=(tensor("image", 3, "composite"), tensor("mask", 1, "mask")),
        outputs=(tensor("output", 3, "output"),),
        engines=tuple(engines),
        tools=tool_versions(),
        recipe={**recipe.facts(), "targets": targets},
        recipe_sha256=recipe.sha256(),
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        skipped=(*recipe.skipped, *refused),
    )


def _plain(config: dict) -> dict:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}


def total_bytes(files: Sequence[FileSpec]) -> int:
    """Size on disk."""
    return sum(file.bytes for file in files)
