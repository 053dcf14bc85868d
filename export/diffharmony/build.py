"""The build job of DiffHarmony: folders -> pipeline -> specialised components -> engines -> gates -> bundles.

Components are built one after another, each dropped before the next is made: the full-size UNet alone has 3.4 GB.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmonyrt.common.errors import require
from harmonyrt.common.progress import Reporter, reporting
from harmonyrt.export.build.bundle import bundle_being_written, check_place
from harmonyrt.export.build.job import Outcome
from harmonyrt.export.build.recipe import unchanged
from harmonyrt.export.diffharmony.provenance import lines, provenance
from harmonyrt.export.diffharmony.recipe import DiffusionRecipe, Source
from harmonyrt.export.diffharmony.session import Bench, Facts
from harmonyrt.runtime.diffusion.schedule import LoopPlan, Program

if TYPE_CHECKING:
    from harmonyrt.models.diffharmony import DiffHarmony

GATE_PIXELS = 2 * 256 * 256  # what the composites of one gate may have together; at least one is run


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
        manifest = None if force or not recipe.targets else unchanged(recipe, place)
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
    use_threads(recipe.options.threads)
    report(f"loading {recipe.source.name}")
    sources = provenance(recipe.source)
    for line in lines(sources):
        report(line)
    model = load(recipe.source)
    facts = dataclasses.replace(_facts(model, recipe), sources=sources)
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
        benches.append(Bench(outcome, outcome.recipe, scratch, simulations, facts, cases, report))  # type: ignore[arg-type]
    for component in components(model, recipe.inference_size, recipe.output_size, recipe.step_counts):
        name, parameters = component.name, component.parameters
        report(f"tracing the {name}")
        graph = split(trace(component))
        del component
        if name == "unet":
            del model.unet  # its weights live on in the graph alone
        report.step_done()
        for bench in benches:
            bench.parameters[name] = parameters
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


def use_threads(threads: int | None) -> None:
    """Have PyTorch compute with so many threads; None leaves it as it is."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


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
