"""What the bundles of one PHNet checkpoint share during a build: the module, its trace, its graphs, its references."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmonyrt.common import HarmonyWarning
from harmonyrt.common.progress import silent
from harmonyrt.export.build.family import NETWORK, Component, Described, Results, Typed, plain, tensor
from harmonyrt.export.build.recipe import SIZE_MULTIPLE
from harmonyrt.export.phnet.given_calibration import CALIBRATION_SIZE, calibration_rewrites
from harmonyrt.export.phnet.recipe import PHNetRecipe
from harmonyrt.export.rewrites import fitting
from harmonyrt.export.targets import Progress, Size
from harmonyrt.runtime.manifest import ModelSpec

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from harmonyrt.calibration.calibrated import Calibration
    from harmonyrt.export.build.gate import Reference, Run
    from harmonyrt.models.checkpoints import OpenedPHNet

CALIBRATION_COMPOSITES = 32
JUDGED_COMPOSITES = 8
"""By which native INT8 engines choose their layers."""
DYNAMIC_GATE_SIZES = ((256, 256), (136, 200))
"""Sizes at which an engine of any size is gated."""
WORKING_SIDE = 256
"""Side that pictures are fitted to for an engine of any size: where the networks were trained."""


HALF_A_LEVEL = 0.5 / 255
UNLIKE = 0.5
"""Correlation of foregrounds before and after. Trained networks have 0.93 and more; untrained ones, and a residual
network that is read as one that predicts a picture, about 0."""


class PHNetSession:
    """Makes each graph when it is first wanted, and keeps those of one size at a time.

    Args:
        checkpoint: file of the weights.
        threads: CPU threads; None for all.
        report: told what is going on.
        meaning: what the caller says about the weights, see :class:`harmonyrt.export.phnet.recipe.PHNetRecipe`.

    Raises:
        HarmonyError: a checkpoint that cannot be loaded.
    """

    def __init__(
        self,
        checkpoint: Path,
        threads: int | None,
        report: Progress = silent,
        meaning: Mapping[str, Any] | None = None,
    ) -> None:
        import torch

        from harmonyrt.models.checkpoints import Meaning, open_phnet

        if threads is not None:
            torch.set_num_threads(threads)
        report(f"loading {checkpoint.name}", None)
        self._opened: OpenedPHNet = open_phnet(checkpoint, Meaning(**(meaning or {})))
        self.network, self.threads, self.report, self._name = self._opened.network, threads, report, checkpoint.name
        for note in self._opened.notes:
            warnings.warn(note, HarmonyWarning, stacklevel=2)
        self._made: dict[tuple, Any] = {}  # by what it is, beginning with the size
        self._calibrations: dict[tuple[str, ...], Calibration] = {}
        self._in_float: dict[tuple[str, ...], tuple[str, ...]] = {}

    @cached_property
    def traced(self) -> Any:
        """Its trace, for every size."""
        from harmonyrt.export.phnet.to_onnx import trace

        self.report("tracing the network", None)
        return trace(self.network)

    def graph(self, size: Size, rewrites: tuple[str, ...]) -> onnx.ModelProto:
        """The FP32 graph."""
        from harmonyrt.export.phnet.to_onnx import export_phnet

        return self._once((size, "fp32", rewrites), lambda: export_phnet(self.traced, size, rewrites))

    def _once(self, key: tuple, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def typed_graph(self, recipe: PHNetRecipe, target: str) -> ir.Model:
        """The graph in the recipe's precision, as the target runs it best."""
        rewrites = fitting(recipe.rewrites, recipe.size, target, recipe.precision)
        qdq_style = target if recipe.precision == "int8" else ""
        key = (recipe.size, "typed", recipe.precision, rewrites, qdq_style)
        return self._once(key, lambda: self._typed(self.graph(recipe.size, rewrites), recipe, target))

    def _typed(self, graph: onnx.ModelProto, recipe: PHNetRecipe, target: str) -> ir.Model:
        import onnx_ir as ir

        from harmonyrt.export.phnet.int8_layers import in_native_int8
        from harmonyrt.export.precision import typed_graph
        from harmonyrt.export.precision.mark_islands import is_convolution
        from harmonyrt.export.rewrites.native import is_fused
        from harmonyrt.export.rewrites.winograd import is_winograd

        if recipe.precision == "fp32":
            return ir.from_proto(graph)
        if recipe.precision != "int8":
            computes = lambda node: is_convolution(node) or is_winograd(node) or is_fused(node)  # noqa: E731
            return typed_graph(ir.from_proto(graph), recipe.precision, computes)
        if "quantized-convolutions" in fitting(recipe.rewrites, recipe.size, target, recipe.precision):
            model, places = in_native_int8(graph, self._layers_in_float(recipe.rewrites))
            if places:
                return model
        if recipe.calibration is not None:
            return ir.from_proto(recipe.calibration.found.apply(graph, target))
        if recipe.rewrites not in self._calibrations:
            self._calibrations[recipe.rewrites] = self._calibrated(recipe.rewrites)
        return ir.from_proto(self._calibrations[recipe.rewrites].apply(graph, target))

    def _calibrated(self, rewrites: tuple[str, ...]) -> Calibration:
        """Find INT8 ranges at one size; tensor names carry them over to the others."""
        from harmonyrt.calibration.quantize import CalibrationOptions, calibrate_graph
        from harmonyrt.export.build.composites import composites

        graph = self.graph(CALIBRATION_SIZE, calibration_rewrites(rewrites))
        feeds = [{"image": c.image, "mask": c.mask} for c in composites(CALIBRATION_SIZE, CALIBRATION_COMPOSITES)]
        return calibrate_graph(graph, feeds, CalibrationOptions(threads=self.threads, progress=self.report))

    def _layers_in_float(self, rewrites: tuple[str, ...]) -> tuple[str, ...]:
        """Layers that native INT8 engines keep in FP32, found at one size; mostly none."""
        from harmonyrt.export.build.composites import composites
        from harmonyrt.export.phnet.int8_layers import in_native_int8, layers_in_float

        key = calibration_rewrites(rewrites)
        if key not in self._in_float:
            graph = self.graph(CALIBRATION_SIZE, key)
            feeds = [{"image": c.image, "mask": c.mask} for c in composites(CALIBRATION_SIZE, JUDGED_COMPOSITES)]
            can = in_native_int8(graph)[1] > 0
            self._in_float[key] = layers_in_float(graph, feeds, self.threads, report=self.report) if can else ()
        return self._in_float[key]

    def references(self, size: Size) -> list[Reference]:
        """Composites of this size and what the module makes of them."""
        return self._once((size, "references"), lambda: self._referred(size))

    def _referred(self, size: Size) -> list[Reference]:
        found = references(self.network, size)
        doubt = doubtful(found)
        if doubt is not None:
            warnings.warn(f"{self._name} {doubt}", HarmonyWarning, stacklevel=2)
        return found

    def components(self, recipe: PHNetRecipe) -> Iterator[Component]:
        """The network, with what was made for other sizes forgotten."""
        size = recipe.size
        self._made = {key: made for key, made in self._made.items() if key[0] == size}
        self.report(f"{recipe.name}: reference outputs of the module", None)

        def typed(target: str, precision: str, rewrites: Sequence[str]) -> Typed:
            wanted = dataclasses.replace(recipe, rewrites=tuple(rewrites))
            applied = fitting(rewrites, size, target, precision)
            key = "-".join((precision, target if precision == "int8" else "", *applied))
            return Typed(self.typed_graph(wanted, target), applied, key)

        yield Component(NETWORK, self._parameters, self.references(size), typed, simulated)

    def measure_whole(self, recipe: PHNetRecipe, runs: Mapping[str, Run]) -> None:
        """Nothing: one component is the whole."""

    def describe(self, recipe: PHNetRecipe, results: Results) -> Described:
        """What the manifest says about the network."""
        config = plain(dataclasses.asdict(self.network.config))
        if self._opened.notes:
            config["assumed"] = list(self._opened.notes)
        return Described(
            model=ModelSpec("phnet", config, self._parameters, recipe.checkpoint.name, recipe.source_sha256),
            size=recipe.size,
            working_size=WORKING_SIDE if recipe.size is None else max(recipe.size),
            size_multiple=SIZE_MULTIPLE,
            inputs=(tensor("image", 3, recipe.size, "composite"), tensor("mask", 1, recipe.size, "mask")),
            outputs=(tensor("output", 3, recipe.size, "output"),),
        )

    @property
    def _parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.network.parameters())


def references(network: Any, size: Size) -> list[Reference]:
    """Run the module over the composites that gate an engine of this size (None: of any size).

    Args:
        network: PHNet in eval mode, float32; image and mask tensors in, a tensor on the CPU out.
        size: [height, width] of the engine.

    Returns:
        One reference per composite.
    """
    import torch

    from harmonyrt.export.build.composites import gate_composites
    from harmonyrt.export.build.gate import Reference

    found = []
    for one in DYNAMIC_GATE_SIZES if size is None else (size,):
        for composite in gate_composites(one):
            with torch.inference_mode():
                output = network(torch.from_numpy(composite.image), torch.from_numpy(composite.mask)).numpy()
            feeds = {"image": composite.image, "mask": composite.mask}
            found.append(Reference(composite.name, feeds, {"output": output}, composite.extreme))
    return found


def doubtful(found: Sequence[Reference]) -> str | None:
    """What is wrong with a network that passes its gate and harmonizes nothing; None where it does something.

    An engine is proved equal to its module, whatever that does: weights that are empty, or read with another meaning
    than they were trained with, pass every gate.
    """
    import numpy as np

    largest, likeness = 0.0, []
    for reference in found:
        if not reference.extreme:
            under_mask = np.broadcast_to(reference.feeds["mask"] > 0.5, reference.feeds["image"].shape)
            before, after = reference.feeds["image"][under_mask], reference.outputs["output"][under_mask]
            largest = max(largest, float(np.abs(after - before).max()))
            likeness.append(np.corrcoef(before, after)[0, 1] if after.std() > 0 else 0.0)
    if largest < HALF_A_LEVEL:
        return f"leaves all {len(likeness)} composites of the gate as they are: its weights look empty"
    if np.mean(likeness) < UNLIKE:
        return (
            "turns the gate's composites into something else (correlation with the foreground before"
            f" {np.mean(likeness):.2f}, and 0.9 or more for a trained network): it is not trained, or its file means"
            " something else (--network-output)"
        )
    return None


def simulated(model: ir.Model) -> ir.Model:
    """With norms in steps: the CPU provider's own lose digits of large pictures, which says nothing about a GPU."""
    from harmonyrt.export.precision import simulate
    from harmonyrt.export.rewrites import split_norms

    simulation = simulate(model)
    split_norms.apply(simulation)
    return simulation
