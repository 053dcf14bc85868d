"""One bundle in the making: each component for each target, in the first precision that passes its gate."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmonyrt.common import WorkFailed
from harmonyrt.common.progress import Reporter
from harmonyrt.export.build.bundle import file_spec, write_manifest
from harmonyrt.export.build.job import Outcome
from harmonyrt.export.build.recipe import tool_versions
from harmonyrt.export.diffharmony.provenance import Provenance
from harmonyrt.export.diffharmony.recipe import FALLBACK, DiffusionRecipe
from harmonyrt.export.targets import BUILDERS, BuiltEngine, why_not
from harmonyrt.runtime.diffusion.schedule import FAMILY, LoopPlan
from harmonyrt.runtime.manifest import EngineSpec, Manifest, ModelSpec, Parity, TensorSpec

if TYPE_CHECKING:
    from harmonyrt.export.diffharmony.gate import Reference, Run
    from harmonyrt.export.diffharmony.weights_apart import Graph

SPECIALISED = {
    "vae-encoder": ("folded-scaling",),
    "unet": ("constant-text", "step-table"),
    "vae-decoder": ("folded-scaling",),
    "refiner": ("matrix-resize",),
}
MESSAGE_LIMIT = 200_000_000
"""Bytes of weights that are handed to a builder inside the graph. Larger ones lie in a file beside it: a message of the
UNet's would hold them twice more, and ends at 2 GB."""
NOT_MEASURED = Parity(0, 0.0, 0.0, "", "")


@dataclass(frozen=True)
class Facts:
    """What the manifest says of the networks, kept when they are gone.

    Attributes:
        loop: of the bundle.
        parameters: of all networks that the pipeline runs, as loaded.
        networks: configurations by part.
        sources: files that the parts came from.
    """

    loop: LoopPlan
    parameters: int
    networks: dict[str, dict]
    sources: Provenance = field(default_factory=dict)


@dataclass(frozen=True)
class _Opened:
    """A session for the gate of the whole."""

    run: Run
    backend: str
    device: str = "cpu"


@dataclass
class Bench:
    """One bundle in the making.

    Attributes:
        scratch: folder that becomes the bundle.
        simulations: folder for typed graphs in the form that ONNX Runtime's CPU provider computes.
        engines: built so far, by target.
        openers: by target and component: opens what was measured there.
        notes: components that fell back to another precision, and why.
        parameters: values that each component's engine holds: weights and tables.
    """

    outcome: Outcome
    recipe: DiffusionRecipe
    scratch: Path
    simulations: Path
    facts: Facts
    cases: list[Reference]
    report: Reporter
    engines: dict[str, list[EngineSpec]] = field(default_factory=dict)
    openers: dict[tuple[str, str], Callable[[], tuple[Run, str]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    parameters: dict[str, int] = field(default_factory=dict)

    def add(self, component: str, graph: Graph) -> None:
        """Build one component for every target, in the first precision of the fallback that passes its gate."""
        from harmonyrt.export.diffharmony.weights_apart import OutOfRange

        for target in self.recipe.targets:
            self.report(f"{self.recipe.name}: {component}: {target}")
            reasons: list[str] = []
            too_coarse: dict[str, str] = {}
            for precision in FALLBACK[self.recipe.precision]:
                impossible = why_not(target, precision, self.recipe.inference_size) or too_coarse.get(precision)
                if impossible:
                    reasons.append(f"{precision}: {impossible}")
                    continue
                try:
                    built = self._built(component, graph, target, precision)
                except WorkFailed as error:
                    reasons.append(f"{precision}: {error}")
                    if precision == "fp16" and not isinstance(error, OutOfRange):
                        too_coarse["bf16"] = "it has fewer digits than fp16, whose digits were too few"
                    shutil.rmtree(self.scratch / component / target, ignore_errors=True)
                    continue
                self.engines.setdefault(target, []).extend(built)
                if reasons:
                    self.notes.append(f"{component} for {target} is {precision}, since {'; '.join(reasons)}")
                    self.report(self.notes[-1])
                break
            else:
                self.outcome.problems.append(f"{self.recipe.name}, {component}, {target}: {'; '.join(reasons)}")
            self.report.step_done()

    def _built(self, component: str, graph: Graph, target: str, precision: str) -> list[EngineSpec]:
        from harmonyrt.export.diffharmony import gate
        from harmonyrt.export.diffharmony.precision import typed

        start = time.perf_counter()
        wanted = typed(graph, precision)  # type: ignore[arg-type]
        folder = self.scratch / component / target
        folder.mkdir(parents=True)
        name = f"{self.recipe.name}: {component}"
        options = replace(
            self.recipe.options, target=target, progress=lambda doing, share: self.report(f"{name}: {doing}", share)
        )
        built = _write_engines(wanted, folder, target, precision, options)
        seconds = round(time.perf_counter() - start, 2)
        self.report(f"{name}: {target}: gate")
        specs = []
        for engine in built:
            files = tuple(file_spec(self.scratch, f"{component}/{target}/{file}") for file in engine.files)
            spec = EngineSpec(
                target,
                precision,
                files,
                engine.census,
                NOT_MEASURED,
                engine.needs,
                SPECIALISED[component],
                seconds,
                component,
            )
            opener = self._opener(spec, engine, wanted)
            run, who = opener()
            parity = gate.measure_component(run, component, self.cases, precision, who)
            self.openers[target, component] = opener
            specs.append(replace(spec, parity=parity))
        return specs

    def _opener(self, spec: EngineSpec, engine: BuiltEngine, graph: Graph) -> Callable[[], tuple[Run, str]]:
        """How to run what is gated: the engine where this machine computes it as on its target, else a simulation."""
        from harmonyrt.export.build import verify

        threads = self.recipe.options.threads
        if engine.runs_here and not (spec.target == "onnx" and spec.precision != "fp32"):
            manifest = self._manifest({spec.target: [spec]}, {})

            def opened() -> tuple[Run, str]:
                run, who = verify.open_engine(self.scratch / spec.files[0].path, spec, manifest, threads)
                if run is None:
                    raise WorkFailed(f"the {spec.target} engine does not run where it was built: {who}")
                return run, who

            return opened
        path = self.simulations / f"{spec.component}-{spec.precision}" / "model.onnx"
        if not path.exists():
            from harmonyrt.export.diffharmony.precision import simulated
            from harmonyrt.export.diffharmony.weights_apart import write

            path.parent.mkdir()
            write(simulated(graph), path)
        return lambda: run_file(path, threads)

    def finish(self) -> None:
        """Gate the whole, and write the manifest when a target is complete."""
        self.report(f"{self.recipe.name}: gate of the whole")
        needed = set(self.facts.loop.components)
        complete = {t: e for t, e in self.engines.items() if {engine.component for engine in e} == needed}
        whole = {}
        for target in list(complete):
            try:
                whole[target] = self._whole(target)
            except WorkFailed as error:
                self.outcome.problems.append(f"{self.recipe.name}, {target}: {error}")
                del complete[target]
        self.report.step_done()
        if not complete:
            self.outcome.status = "failed"
            return
        kept = {file.path for engines in complete.values() for engine in engines for file in engine.files}
        for path in list(self.scratch.rglob("*")):
            if path.is_file() and path.relative_to(self.scratch).as_posix() not in kept:
                path.unlink()
        self.outcome.manifest = self._manifest(complete, whole)
        write_manifest(self.scratch, self.outcome.manifest)
        self.outcome.status = "built"

    def _whole(self, target: str) -> Parity:
        from harmonyrt.export.diffharmony import gate
        from harmonyrt.runtime.diffusion.model import DiffusionModel

        sessions, who = {}, ""
        for component in self.facts.loop.components:
            run, who = self.openers[target, component]()
            sessions[component] = _Opened(run, target)
        model = DiffusionModel(self.facts.loop, sessions, {})
        precisions = {engine.precision for engine in self.engines[target]}
        lowest = next(precision for precision in ("bf16", "fp16", "fp32") if precision in precisions)
        return gate.measure_whole(model, self.cases, self.facts.loop.default_steps, lowest, who)

    def _manifest(self, engines: dict[str, list[EngineSpec]], whole: dict[str, Parity]) -> Manifest:
        recipe, facts = self.recipe, self.facts
        inference, output = recipe.inference_size, recipe.output_size

        def tensor(name: str, channels: int, size: tuple[int, int], meaning: str) -> TensorSpec:
            return TensorSpec(name, (1, channels, *size), "float32", "NCHW", (0.0, 1.0), meaning)

        config = {
            "loop": facts.loop.to_config(),
            "networks": facts.networks,
            "components": {name: {"parameters": count} for name, count in self.parameters.items()},
            "parity_of_the_whole": {target: dataclasses.asdict(parity) for target, parity in whole.items()},
            "fallbacks": list(self.notes),
            "sources": facts.sources,
        }
        return Manifest(
            name=recipe.name,
            model=ModelSpec(
                family=FAMILY,
                config=config,
                parameters=facts.parameters,
                checkpoint=recipe.source.name,
                checkpoint_sha256=recipe.source_sha256,
                random_weights=recipe.source.random is not None,
            ),
            precision=recipe.precision,
            size=inference,
            batch=1,
            working_size=max(inference),
            size_multiple=facts.loop.factor,
            binary_mask=True,
            inputs=(tensor("image", 3, inference, "composite"), tensor("mask", 1, inference, "mask")),
            outputs=(tensor("output", 3, output, "output"),),
            engines=tuple(engine for of_target in engines.values() for engine in of_target),
            tools=tool_versions(),
            recipe={**recipe.facts(), "targets": sorted(engines)},
            recipe_sha256=recipe.sha256(),
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            skipped=recipe.skipped,
        )


def _write_engines(graph: Graph, folder: Path, target: str, precision: str, options: Any) -> list[BuiltEngine]:
    from harmonyrt.export.diffharmony.weights_apart import joined, write, write_apart
    from harmonyrt.export.precision import census

    if target == "onnx":
        return [BuiltEngine(write(graph, folder / "model.onnx"), census(graph.proto))]
    if graph.bytes <= MESSAGE_LIMIT:
        return BUILDERS[target](joined(graph), folder, precision, options)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        beside = Path(name)
        return BUILDERS[target](write_apart(graph, beside), folder, precision, replace(options, beside=beside))


def run_file(path: Path, threads: int | None) -> tuple[Run, str]:
    """Run an FP32 file, whatever its size."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads or 0
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(feeds):
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))

    return run, f"its typed ONNX simulated by onnxruntime {onnxruntime.__version__}, CPU"
