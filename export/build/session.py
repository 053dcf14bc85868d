"""One bundle under construction: each component for each target, in the first precision that passes its gate."""

from __future__ import annotations

import contextlib
import datetime
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.progress import Reporter
from harmonyrt.export import onnx_file
from harmonyrt.export.build import tune
from harmonyrt.export.build.bundle import file_spec, write_manifest
from harmonyrt.export.build.family import (
    NETWORK,
    Component,
    Described,
    Family,
    FamilySession,
    R,
    Results,
    Typed,
)
from harmonyrt.export.build.gate import ENGINE, NOT_MEASURED, Gate, OutOfRange, Run, prove
from harmonyrt.export.build.older_bundle import kept_of_other_targets
from harmonyrt.export.build.outcome import Outcome
from harmonyrt.export.build.recipe import recipe_sha256, tool_versions
from harmonyrt.export.build.running import open_engine, run_file
from harmonyrt.export.rewrites import plain
from harmonyrt.export.targets import BUILDERS, BuiltEngine, why_not
from harmonyrt.runtime.manifest import EngineSpec, Manifest, Parity, Skipped


@dataclass
class BuildSession(Generic[R]):
    """Builds one bundle, component by component.

    Attributes:
        outcome: of the recipe; the session fills it in.
        recipe: what to build.
        family: of the recipe.
        networks: loaded.
        scratch: folder that becomes the bundle.
        simulations: folder for graphs that are run in place of engines.
        report: told what is going on.
        engines: that passed their gates, by target.
        notes: components that fell back to another precision, and why.
        parameters: by component.
        whole: parity of all components together, by target.
    """

    outcome: Outcome
    recipe: R
    family: Family[R]
    networks: FamilySession[R]
    scratch: Path
    simulations: Path
    report: Reporter
    engines: dict[str, list[EngineSpec]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    parameters: dict[str, int] = field(default_factory=dict)
    whole: dict[str, Parity] = field(default_factory=dict)
    _openers: dict[tuple[str, str], Callable[[], tuple[Run | None, str]]] = field(default_factory=dict)
    _parities: dict[tuple[str, str], Parity] = field(default_factory=dict)

    def add(self, component: Component) -> None:
        """Build one component for every target that is still possible."""
        self.parameters[component.name] = component.parameters
        for target in self.recipe.targets:
            if target not in {skipped.target for skipped in self.outcome.refused}:
                self.report(": ".join((self.recipe.name, *_words(component, target))))
                self._add(component, target)
            self.report.step_done()

    def _add(self, component: Component, target: str) -> None:
        reasons: list[str] = []
        too_coarse: dict[str, str] = {}
        for precision in self.family.FALLBACK[self.recipe.precision]:
            reason = why_not(target, precision, self.recipe.size) or too_coarse.get(precision)
            try:
                if reason is None:
                    self.engines.setdefault(target, []).extend(self._built(component, target, precision))
                    if reasons:
                        self.notes.append(f"{component.name} for {target} is {precision}, since {'; '.join(reasons)}")
                        self.report(self.notes[-1])
                    return
            except WorkFailed as error:
                reason = str(error)
                if precision == "fp16" and not isinstance(error, OutOfRange):
                    too_coarse["bf16"] = "it has fewer digits than fp16, whose digits were too few"
            except HarmonyError as error:
                self.outcome.refused.append(Skipped(target, self.recipe.precision, str(error)))
                return
            reasons.append(reason if component.name == NETWORK else f"{precision}: {reason}")
        where = ", ".join((self.recipe.name, *_words(component, target)))
        self.outcome.problems.append(f"{where}: {'; '.join(reasons)}")

    def _built(self, component: Component, target: str, precision: str) -> list[EngineSpec]:
        """The engines of one component, target and precision; when tuning, with the fastest set of rewrites.

        By one that needs the native kernels a plain one stands, for machines that have none.
        """
        rewrites, seconds = self.recipe.rewrites, self.recipe.tune
        sets = (rewrites,) if seconds is None else tune.candidates(rewrites)
        found: dict[tuple[str, ...], tuple[Path, list[EngineSpec]]] = {}
        with contextlib.ExitStack() as stack:

            def new_folder() -> Path:
                return Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self.scratch, prefix=".candidate-")))

            for names in sets:
                folder = new_folder()
                start = time.perf_counter()
                try:
                    typed = component.typed(target, precision, names)
                    if typed.rewrites in found:
                        continue
                    engines = self._engines(component, target, precision, typed, folder, start)
                except WorkFailed as error:
                    if not found:
                        raise  # the plain engine fails: that is the build's failure
                    self.report(f"{self.recipe.name}: {target}: not with {', '.join(names)}: {error}")
                    continue
                found[typed.rewrites] = folder, engines
            kept = 0
            if seconds is not None and len(found) > 1:
                for folder, engines in found.values():
                    write_manifest(folder, self.manifest({target: engines}))
                budget = seconds * tune.SHARE_FOR_CANDIDATES / len(self.recipe.targets)
                kept = tune.fastest([folder for folder, _ in found.values()], target, budget, self._say)
            folder, engines = list(found.values())[kept]
            standing_by: list[EngineSpec] = []
            if any(engine.is_native for engine in engines):
                start = time.perf_counter()
                typed = component.typed(target, precision, plain(rewrites))
                if typed.rewrites not in found:
                    scratch = new_folder()
                    made = self._engines(component, target, precision, typed, scratch, start)
                    found[typed.rewrites] = scratch, made
                standing_by = self._kept(component, target, *found[typed.rewrites])
            return [*standing_by, *self._kept(component, target, folder, engines)]

    def _kept(self, component: Component, target: str, folder: Path, engines: list[EngineSpec]) -> list[EngineSpec]:
        """Move the files of engines to where the bundle has them."""
        prefix = "" if component.name == NETWORK else f"{component.name}/{target}/"
        prefix += "native/" if any(engine.is_native for engine in engines) else ""
        (self.scratch / prefix).mkdir(parents=True, exist_ok=True)
        for name in {file.path for engine in engines for file in engine.files}:
            (folder / name).rename(self.scratch / prefix / name)
        return [replace(e, files=tuple(replace(f, path=prefix + f.path) for f in e.files)) for e in engines]

    def _engines(
        self, component: Component, target: str, precision: str, typed: Typed, folder: Path, start: float
    ) -> list[EngineSpec]:
        """Write engines into a folder and hold each to its gate."""
        name = ": ".join((self.recipe.name, *_words(component, target)))
        options = replace(
            self.recipe.options, target=target, progress=lambda doing, share: self.report(f"{name}: {doing}", share)
        )
        built = BUILDERS[target](typed.graph, folder, precision, options)
        seconds = round((time.perf_counter() - start) / max(1, len(built)), 2)
        self.report(f"{name}: gate")
        engines = []
        for engine in built:
            files = tuple(file_spec(folder, file) for file in engine.files)
            rewrites = typed.rewrites + engine.rewrites
            spec = EngineSpec(
                target, precision, files, engine.counts, NOT_MEASURED, engine.needs, rewrites, seconds, component.name
            )
            engines.append(replace(spec, parity=self._parity(component, spec, engine, typed, folder)))
        return engines

    def _parity(
        self, component: Component, spec: EngineSpec, engine: BuiltEngine, typed: Typed, folder: Path
    ) -> Parity:
        """Prove an engine, or its typed graph if this machine cannot run it (once for all such engines)."""
        threads = self.recipe.options.threads
        subject = ENGINE if component.name == NETWORK else component.name
        gate = Gate(spec.precision, component.is_picture, subject)
        if engine.runs_here:
            manifest, file = self.manifest({spec.target: [spec]}), spec.files[0].path
            run, who = open_engine(folder / file, spec, manifest, threads)
            if run is not None:
                kept = self.scratch / component.name / spec.target / file
                self._openers[spec.target, component.name] = lambda: open_engine(kept, spec, manifest, threads)
                return prove(run, component.references, gate, who)
        path = self.simulations / component.name / typed.key / onnx_file.FILE
        if not path.exists():
            path.parent.mkdir(parents=True)
            onnx_file.save(component.simulated(typed.graph), path)
        self._openers[spec.target, component.name] = lambda: run_file(path, threads)
        if (component.name, typed.key) not in self._parities:
            run, who = run_file(path, threads)
            self._parities[component.name, typed.key] = prove(run, component.references, gate, who)
        return self._parities[component.name, typed.key]

    def keep_other_targets(self, place: Path) -> None:
        """Take over engines from an older bundle of the same recipe: a second target joins the first."""
        old = kept_of_other_targets(self.recipe, place, self.scratch, self._say)
        if old is None:
            return
        for engine in old.engines:
            self.engines.setdefault(engine.target, []).append(engine)
        for target in list(self.engines):
            kept = Results.of_target(old.model.config, target)
            self.whole.update(kept.whole)
            self.notes.extend(kept.notes)

    def finish(self) -> None:
        """Hold the complete targets to the gate of the whole, and write the manifest if there is anything new."""
        needed = set(self.family.component_names(self.recipe))
        complete = {t: e for t, e in self.engines.items() if needed == {engine.component for engine in e}}
        if needed != {NETWORK}:
            self._say("gate of the whole")
            for target in [target for target in complete if target in self.recipe.targets]:
                try:
                    self.whole[target] = self._whole(target)
                except WorkFailed as error:
                    self.outcome.problems.append(f"{self.recipe.name}, {target}: {error}")
                    del complete[target]
        if complete.keys().isdisjoint(self.recipe.targets):
            self.outcome.status = "failed" if self.outcome.problems else "nothing"
            return
        kept = {file.path for engines in complete.values() for engine in engines for file in engine.files}
        for path in list(self.scratch.rglob("*")):
            if path.is_file() and path.relative_to(self.scratch).as_posix() not in kept:
                path.unlink()
        manifest = self.manifest(complete)
        write_manifest(self.scratch, manifest)
        if self.recipe.tune is not None:
            budget = self.recipe.tune * (1 - tune.SHARE_FOR_CANDIDATES)
            manifest = replace(manifest, measurements=tune.measurements(self.scratch, budget, self._say))
            write_manifest(self.scratch, manifest)
        self.outcome.manifest, self.outcome.status = manifest, "built"

    def _whole(self, target: str) -> Parity:
        runs, who = {}, ""
        for component in self.family.component_names(self.recipe):
            run, who = self._openers[target, component]()
            if run is None:
                raise WorkFailed(f"the {component} no longer opens: {who}; run harmonyrt doctor")
            runs[component] = run
        precisions = {engine.precision for engine in self.engines[target]}
        lowest = next(precision for precision in ("bf16", "fp16", "fp32") if precision in precisions)
        gate = Gate(lowest, subject="whole pipeline")
        distance = self.networks.measure_whole(self.recipe, runs)
        assert distance is not None  # there are several components
        gate.check(distance, who)
        return gate.parity(distance, who)

    def manifest(self, engines: dict[str, list[EngineSpec]]) -> Manifest:
        """The manifest of a bundle of these engines."""
        whole = {target: parity for target, parity in self.whole.items() if target in engines}
        described = self.networks.describe(self.recipe, Results(self.parameters, whole, self.notes))
        found = tuple(engine for of_target in engines.values() for engine in of_target)
        skipped = (*self.recipe.skipped, *self.outcome.refused)
        return manifest_of(self.recipe, described, found, skipped)

    def _say(self, what: str) -> None:
        self.report(f"{self.recipe.name}: {what}")


def _words(component: Component, target: str) -> Iterator[str]:
    if component.name != NETWORK:
        yield component.name
    yield target


def manifest_of(
    recipe: R, described: Described, engines: tuple[EngineSpec, ...], skipped: tuple[Skipped, ...] = ()
) -> Manifest:
    """A manifest, dated now."""
    return Manifest(
        name=recipe.name,
        model=described.model,
        precision=recipe.precision,
        size=described.size,
        batch=None if described.size is None else 1,
        working_size=described.working_size,
        size_multiple=described.size_multiple,
        binary_mask=True,
        inputs=described.inputs,
        outputs=described.outputs,
        engines=engines,
        tools=tool_versions(),
        recipe={**recipe.facts(), "targets": sorted({engine.target for engine in engines})},
        recipe_sha256=recipe_sha256(recipe),
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        skipped=skipped,
    )
