"""What the engines of one checkpoint share during a build: the module, its trace, its graphs, its reference outputs."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harmonyrt.common import HarmonyWarning
from harmonyrt.common.progress import Reporter
from harmonyrt.export.build.recipe import BundleRecipe
from harmonyrt.export.phnet.given_calibration import CALIBRATION_SIZE, calibration_rewrites
from harmonyrt.export.rewrites import fitting
from harmonyrt.export.targets import Size

if TYPE_CHECKING:
    import onnx

    from harmonyrt.calibration.calibrated import Calibration
    from harmonyrt.export.build.verify import Reference
    from harmonyrt.models import PHNet
    from harmonyrt.models.checkpoints import OpenedPHNet

CALIBRATION_COMPOSITES = 32


class Workshop:
    """Makes each of them when it is first wanted, and keeps those of one size at a time."""

    def __init__(
        self,
        checkpoint: Path,
        threads: int | None,
        report: Reporter,
        meaning: Mapping[str, str | float] | None = None,
    ) -> None:
        self.checkpoint, self.threads, self.report = checkpoint, threads, report
        self._meaning = meaning or {}
        self._graphs: dict[tuple, onnx.ModelProto] = {}
        self._references: dict[Size, list[Reference]] = {}
        self._calibrations: dict[tuple[str, ...], Calibration] = {}

        self._cache = tempfile.TemporaryDirectory(prefix="harmonyrt-build-")

    @property
    def cache(self) -> Path:
        """Folder for what backends keep of the engines that they open: it goes with the build."""
        return Path(self._cache.name)

    def prepare(self) -> None:
        """Load and trace: what can fail for a bad checkpoint fails here, before anything is written."""
        self.report(f"loading {self.checkpoint.name}")
        for note in self.notes:
            warnings.warn(note, HarmonyWarning, stacklevel=2)
        self.report.step_done()
        self.report("tracing the network")
        assert self.traced is not None
        self.report.step_done()

    @property
    def network(self) -> PHNet:
        """The PyTorch FP32 module."""
        return self._opened.network

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed about the checkpoint, as sentences."""
        return self._opened.notes

    @cached_property
    def _opened(self) -> OpenedPHNet:
        import torch

        from harmonyrt.models.checkpoints import Meaning, open_phnet

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        return open_phnet(self.checkpoint, Meaning(**self._meaning))

    @cached_property
    def traced(self):
        """Its trace, for every size."""
        from harmonyrt.export.phnet.to_onnx import trace

        return trace(self.network)

    def graph(self, size: Size, rewrites: tuple[str, ...]) -> onnx.ModelProto:
        """The FP32 graph."""
        from harmonyrt.export.phnet.to_onnx import export_phnet

        key = ("fp32", size, rewrites)
        if key not in self._graphs:
            self._graphs[key] = export_phnet(self.traced, size, rewrites)
        return self._graphs[key]

    def typed_graph(self, recipe: BundleRecipe, target: str) -> onnx.ModelProto:
        """The graph in the recipe's precision, in the form that the target runs best."""
        rewrites = fitting(recipe.rewrites, recipe.size, target, recipe.precision)
        graph = self.graph(recipe.size, rewrites)
        if recipe.precision == "fp32":
            return graph
        form = target if recipe.precision == "int8" else ""
        key = (recipe.precision, recipe.size, rewrites, form)
        if key not in self._graphs:
            self._graphs[key] = self._typed(graph, recipe, target)
        return self._graphs[key]

    def _typed(self, graph: onnx.ModelProto, recipe: BundleRecipe, target: str) -> onnx.ModelProto:
        from harmonyrt.export.precision import typed_graph
        from harmonyrt.export.precision.mark_islands import is_convolution
        from harmonyrt.export.rewrites.winograd_tiles import is_winograd

        if recipe.precision in ("fp16", "bf16"):
            return typed_graph(graph, recipe.precision, lambda node: is_convolution(node) or is_winograd(node))
        if recipe.calibration is not None:
            return recipe.calibration.found.apply(graph, target)
        if recipe.rewrites not in self._calibrations:
            self._calibrations[recipe.rewrites] = self._calibrated(recipe.rewrites)
        return self._calibrations[recipe.rewrites].apply(graph, target)

    def _calibrated(self, rewrites: tuple[str, ...]) -> Calibration:
        """Find INT8 ranges at one size; tensor names carry them over to the others."""
        from harmonyrt.calibration.quantize import CalibrationOptions, calibrate_graph
        from harmonyrt.export.build.composites import composites

        graph = self.graph(CALIBRATION_SIZE, calibration_rewrites(rewrites))
        feeds = [{"image": c.image, "mask": c.mask} for c in composites(CALIBRATION_SIZE, CALIBRATION_COMPOSITES)]
        return calibrate_graph(graph, feeds, CalibrationOptions(threads=self.threads, progress=self.report))

    def references(self, size: Size) -> list[Reference]:
        """Composites of this size and what the module makes of them."""
        from harmonyrt.export.build.verify import references

        if size not in self._references:
            self._references[size] = references(self.network, size)
        return self._references[size]

    def forget_other_sizes(self, size: Size) -> None:
        """Free what engines of other sizes needed."""
        self._graphs = {key: graph for key, graph in self._graphs.items() if key[1] == size}
        self._references = {key: found for key, found in self._references.items() if key == size}
