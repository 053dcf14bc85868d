"""What the bundles of one DiffHarmony share during a build: the PyTorch pipeline, its references, its components."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from harmonyrt.common.progress import Reporter
from harmonyrt.export.build.family import Component, Described, Results, Typed, plain, tensor
from harmonyrt.export.build.summary import source_lines
from harmonyrt.export.diffharmony.recipe import DiffusionRecipe, Source
from harmonyrt.runtime.diffusion.schedule import FAMILY, SamplingSchedule
from harmonyrt.runtime.manifest import ModelSpec

if TYPE_CHECKING:
    from harmonyrt.export.build.gate import Distance, Run
    from harmonyrt.export.diffharmony.references import PipelineReference
    from harmonyrt.models.diffharmony import DiffHarmony

SPECIALISED = {
    "vae-encoder": ("folded-scaling",),
    "unet": ("constant-text", "step-table"),
    "vae-decoder": ("folded-scaling",),
    "refiner": ("matrix-resize",),
}
GATE_PIXELS = 2 * 256 * 256  # what the composites of one gate may have together; at least one is run


def load_reporting(source: Source, threads: int | None, report: Reporter) -> tuple[DiffHarmony, dict]:
    """The PyTorch networks of a source, on that many threads; says and returns where each part came from."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    report(f"loading {source.name}")
    if source.random is not None:
        from harmonyrt.export.diffharmony.random_weights import random_diffharmony

        report("the weights are random: engines for latency work, their pictures are noise")
        return random_diffharmony(source.random, source.random_harmony_vae), {}
    from harmonyrt.models.diffharmony import load_diffharmony

    sources = source.provenance()
    for line in source_lines(sources):
        report(line)
    assert source.checkpoint is not None
    folders = {"base": source.base, "harmony_vae": source.harmony_vae, "refiner": source.refiner}
    return load_diffharmony(source.checkpoint, **folders), sources


class DiffHarmonySession:
    """One pipeline for recipes that differ in nothing but precision."""

    def __init__(self, recipe: DiffusionRecipe, report: Reporter) -> None:
        self._report = report
        self._model, self._sources = load_reporting(recipe.source, recipe.options.threads, report)
        self._loop = _loop(self._model, recipe)
        parts: dict[str, Any] = dict(self._model.parts())
        networks = {name: plain(dataclasses.asdict(part.config)) for name, part in parts.items()}
        self._networks = {**networks, "scheduler": dataclasses.asdict(self._model.sampler)}
        self._parameters = sum(p.numel() for part in parts.values() for p in part.parameters())
        self._cases: list[PipelineReference] = []

    def components(self, recipe: DiffusionRecipe) -> Iterator[Component]:
        """Trace one component after another; the UNet's weights then live on in its graph alone."""
        import onnx_ir as ir

        from harmonyrt.export.diffharmony.components import components
        from harmonyrt.export.diffharmony.precision import typed
        from harmonyrt.export.diffharmony.references import references
        from harmonyrt.export.precision import simulate

        model, loop = self._model, self._loop
        self._report(f"reference: {loop.default_steps} steps of the PyTorch pipeline")
        height, width = recipe.inference_size
        count = max(1, min(2, GATE_PIXELS // (height * width)))
        program = loop.program(None)
        self._cases = references(model, recipe.inference_size, recipe.output_size, program.steps, program.rows, count)
        for part in components(model, recipe.inference_size, recipe.output_size, recipe.step_counts):
            name, parameters = part.name, part.parameters
            self._report(f"tracing the {name}")
            graph = part.trace()
            del part
            if name == "unet":
                del model.unet

            def in_precision(
                target: str, precision: str, rewrites: Sequence[str], graph: ir.Model = graph, name: str = name
            ) -> Typed:
                return Typed(typed(graph, precision), SPECIALISED[name], precision)

            calls = [call for case in self._cases for call in case.calls[name]]
            yield Component(name, parameters, calls, in_precision, simulate, is_picture=False)
            del graph, in_precision

    def measure_whole(self, recipe: DiffusionRecipe, runs: Mapping[str, Run]) -> Distance:
        """The whole loop against the pipeline, on blended pictures."""
        from harmonyrt.export.diffharmony.references import measure_pipeline
        from harmonyrt.runtime.diffusion.model import DiffusionModel

        sessions: Any = {name: SimpleNamespace(run=run, backend="", device="cpu") for name, run in runs.items()}
        return measure_pipeline(DiffusionModel(self._loop, sessions, {}), self._cases, self._loop.default_steps)

    def describe(self, recipe: DiffusionRecipe, results: Results) -> Described:
        """What the manifest says about the networks."""
        config = {
            "loop": self._loop.to_config(),
            "networks": self._networks,
            **results.to_config(),
            "sources": self._sources,
        }
        source, inference = recipe.source, recipe.inference_size
        random = source.random is not None
        return Described(
            model=ModelSpec(FAMILY, config, self._parameters, source.name, recipe.source_sha256, random),
            size=inference,
            working_size=max(inference),
            size_multiple=self._loop.factor,
            inputs=(tensor("image", 3, inference, "composite"), tensor("mask", 1, inference, "mask")),
            outputs=(tensor("output", 3, recipe.output_size, "output"),),
        )


def _loop(model: DiffHarmony, recipe: DiffusionRecipe) -> SamplingSchedule:
    from harmonyrt.export.diffharmony.specialise import programs

    _, by_count = programs(model.sampler, recipe.step_counts)
    return SamplingSchedule(
        inference_size=recipe.inference_size,
        output_size=recipe.output_size,
        latent_channels=model.vae.config.latent_channels,
        factor=model.vae.factor,
        conditional=model.conditional,
        refiner_channels=model.refiner.config.in_channels if model.refiner else 0,
        timestep_spacing=model.sampler.timestep_spacing,
        default_steps=recipe.step_counts[0],
        programs=by_count,
    )
