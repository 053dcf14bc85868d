"""The build job of DiffHarmony: folders -> pipeline -> specialised components -> engines -> gates -> bundles.

Components are built one after another, each dropped before the next is made: the full-size UNet alone has 3.4 GB.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmonyrt.common import WorkFailed
from harmonyrt.common.errors import require
from harmonyrt.export.build import Outcome
from harmonyrt.export.bundle import bundle_being_written, check_place, file_spec, write_manifest
from harmonyrt.export.diffharmony.recipe import FALLBACK, DiffusionRecipe, Source
from harmonyrt.export.progress import Reporter, reporting
from harmonyrt.export.recipe import tool_versions, unchanged
from harmonyrt.export.targets import BUILDERS, BuiltEngine, why_not
from harmonyrt.runtime.diffusion.plan import FAMILY, LoopPlan, Program
from harmonyrt.runtime.manifest import EngineSpec, Manifest, ModelSpec, Parity, TensorSpec

if TYPE_CHECKING:
    from harmonyrt.export.diffharmony.gate import Reference, Run
    from harmonyrt.export.diffharmony.weights_apart import Graph
    from harmonyrt.models.diffharmony import DiffHarmony

GATE_PIXELS = 2 * 256 * 256  # what the composites of one gate may have together; at least one is run
SPECIALISED = {
    "vae-encoder": ("folded-scaling",),
    "unet": ("constant-text", "step-table"),
    "vae-decoder": ("folded-scaling",),
    "refiner": ("matrix-resize",),
}
NOT_MEASURED = Parity(0, 0.0, 0.0, "", "")


def build_bundles(recipes: Sequence[DiffusionRecipe], output: Path, force: bool = False) -> list[Outcome]:
    """Build every bundle that is not already as its recipe asks.

    Args:
        recipes: from :func:`harmonyrt.export.diffharmony.recipe.plan`, differing in nothing but precision.
        output: folder that receives the bundles.
        force: build even what is unchanged.

    Returns:
        One outcome per recipe. An engine that fails is a problem of its outcome; the others are built all the same.

    Raises:
        HarmonyError: bad folders, a missing package, an output that cannot be written: before anything is.
    """
    outcomes: list[Outcome] = []
    for recipe in recipes:
        place = output / recipe.name
        manifest = None if force or not recipe.targets else unchanged(recipe, place)  # type: ignore[arg-type]
        status = "unchanged" if manifest else "pending" if recipe.targets else "nothing"
        outcomes.append(Outcome(recipe, place, status, manifest))  # type: ignore[arg-type]
    pending = [outcome for outcome in outcomes if outcome.status == "pending"]
    if not pending:
        return outcomes
    for outcome in pending:
        check_place(outcome.place)
    for package in ("torch", "onnx", "onnxscript", "onnxruntime", "ml_dtypes"):
        require(package, "build", "the build")
    steps = 2 + 4 + sum(4 * len(outcome.recipe.targets) + 1 for outcome in pending)
    with reporting(steps) as report, contextlib.ExitStack() as stack:
        _build(pending, report, stack)
    return outcomes


def _build(pending: list[Outcome], report: Reporter, stack: contextlib.ExitStack) -> None:
    from harmonyrt.export.diffharmony import gate
    from harmonyrt.export.diffharmony.components import components
    from harmonyrt.export.diffharmony.trace import trace
    from harmonyrt.export.diffharmony.weights_apart import split

    recipe: Any = pending[0].recipe
    _use_threads(recipe.options.threads)
    report(f"loading {recipe.source.name}")
    model = load(recipe.source)
    facts = _facts(model, recipe)
    report.step_done()
    report(f"reference: {facts.loop.default_steps} steps of the PyTorch pipeline")
    height, width = recipe.inference_size
    count = max(1, min(2, GATE_PIXELS // (height * width)))
    program = facts.loop.program(None)
    cases = gate.references(model, recipe.inference_size, recipe.output_size, program.steps, program.rows, count)
    report.step_done()
    benches = []
    for outcome in pending:
        scratch = stack.enter_context(bundle_being_written(outcome.place, report))
        simulations = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(dir=outcome.place.parent, prefix=f".{outcome.place.name}.building-gate-")
            )
        )
        benches.append(_Bench(outcome, outcome.recipe, scratch, simulations, facts, cases, report))  # type: ignore[arg-type]
    for component in components(model, recipe.inference_size, recipe.output_size, recipe.step_counts):
        name = component.name
        report(f"tracing the {name}")
        graph = split(trace(component))
        del component
        if name == "unet":
            del model.unet  # its weights live on in the graph alone
        report.step_done()
        for bench in benches:
            bench.add(name, graph)
        del graph
    for bench in benches:
        bench.finish()


def load(source: Source) -> DiffHarmony:
    """The PyTorch networks of a source."""
    if source.random is not None:
        from harmonyrt.export.diffharmony.random_weights import random_diffharmony

        return random_diffharmony(source.random, source.random_harmony_vae)
    from harmonyrt.models.diffharmony import load_diffharmony

    assert source.checkpoint is not None
    return load_diffharmony(source.checkpoint, base=source.base, harmony_vae=source.harmony_vae, refiner=source.refiner)


def _use_threads(threads: int | None) -> None:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Facts:
    """What the manifest says of the networks, kept when they are gone.

    Attributes:
        loop: of the bundle.
        parameters: of all networks that the pipeline runs, as loaded.
        networks: configurations by part.
    """

    loop: LoopPlan
    parameters: int
    networks: dict[str, dict]


def _facts(model: DiffHarmony, recipe: DiffusionRecipe) -> Facts:
    from harmonyrt.export.diffharmony.specialise import programs

    _, by_count = programs(model.sampler, recipe.step_counts)
    loop = LoopPlan(
        inference_size=recipe.inference_size,
        output_size=recipe.output_size,
        latent_channels=model.vae.config.latent_channels,
        factor=model.vae.factor,
        conditional=model.conditional,
        refiner_channels=model.refiner.config.in_channels if model.refiner else 0,
        timestep_spacing=model.sampler.timestep_spacing,
        default_steps=recipe.step_counts[0],
        programs={count: Program(count, p.rows, p.initial_scale) for count, p in by_count.items()},
    )
    parts = dict(model.parts())
    networks = {name: _plain(dataclasses.asdict(part.config)) for name, part in parts.items()}  # type: ignore[call-overload]
    parameters = sum(p.numel() for part in parts.values() for p in part.parameters())
    return Facts(loop, parameters, {**networks, "scheduler": dataclasses.asdict(model.sampler)})


def _plain(config: dict) -> dict:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}


@dataclass(frozen=True)
class _Opened:
    """A session for the gate of the whole."""

    run: Run
    backend: str
    device: str = "cpu"


@dataclass
class _Bench:
    """One bundle in the making.

    Attributes:
        scratch: folder that becomes the bundle.
        simulations: folder for typed graphs in the form that ONNX Runtime's CPU provider computes.
        engines: built so far, by target.
        openers: by target and component: opens what was measured there.
        notes: components that fell back to another precision, and why.
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
        from harmonyrt.export import verify

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
        return lambda: _run_file(path, threads)

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
            "parity_of_the_whole": {target: dataclasses.asdict(parity) for target, parity in whole.items()},
            "fallbacks": list(self.notes),
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
    from harmonyrt.export.diffharmony.weights_apart import INLINE_LIMIT, joined, write
    from harmonyrt.export.precision import census

    if target == "onnx":
        return [BuiltEngine(write(graph, folder / "model.onnx"), census(graph.proto))]
    if graph.bytes > INLINE_LIMIT:
        raise WorkFailed(
            f"a graph of {graph.bytes / 1e9:.1f} GB cannot be handed to {target} as one message; build fp16 or bf16"
        )
    return BUILDERS[target](joined(graph), folder, precision, options)


def _run_file(path: Path, threads: int | None) -> tuple[Run, str]:
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
