"""FP32 graph -> INT8: ranges from real composites, and as many INT8 layers as image quality allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import onnx

from harmonyrt.calibration.calibrated import Calibration, LayerReport
from harmonyrt.calibration.evaluator import Evaluator, Quality
from harmonyrt.calibration.layers import LEAST_SHARE, find_layers, worth_quantizing
from harmonyrt.calibration.observe import Feed, Histogram, observe
from harmonyrt.calibration.qdq import QDQ_STYLES, QdqStyle, style_of, write_qdq
from harmonyrt.calibration.ranges import METHODS, Range, method_named
from harmonyrt.calibration.sensitivity import STRICTEST_STYLE, by_harm, one_at_a_time
from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.progress import silent

Progress = Callable[[str, float | None], None]
"""Called with the current step and how much of it is done (0 to 1)."""

FEWEST_COMPOSITES = 4
MOST_HELD_OUT = 8


@dataclass(frozen=True)
class CalibrationOptions:
    """How to calibrate.

    Attributes:
        method: ``"minmax"``, ``"percentile"``, ``"entropy"``, ``"mse"``, or ``"best"``: the one of them with the best
            worst case.
        least_db: layers return to FP32 until no composite is below this PSNR (blended, INT8 against FP32). The
            acceptance gate is 38 dB; composites that were not seen here come out a few dB lower.
        sensitivity: measure every layer on its own even if all layers together pass; the report shows it.
        threads: CPU threads; None for all.
        progress: called as the work proceeds.
    """

    method: str = "mse"
    least_db: float = 46.0
    sensitivity: bool = False
    threads: int | None = None
    progress: Progress = field(default=silent, compare=False)


def quantize(
    model: onnx.ModelProto, feeds: Iterable[Feed], target: str, options: CalibrationOptions | None = None
) -> onnx.ModelProto:
    """Calibrate a graph and write Q/DQ into it, for one target. See :func:`calibrate_graph`."""
    style_of(target)
    return calibrate_graph(model, feeds, options or CalibrationOptions()).apply(model, target)


def calibrate_graph(
    model: onnx.ModelProto, feeds: Iterable[Feed], options: CalibrationOptions | None = None
) -> Calibration:
    """Find ranges, and decide which layers can be INT8.

    Args:
        model: FP32 graph of any size; its names carry over to graphs of the same weights and rewrites at other sizes.
        feeds: ``{"image": (1,3,H,W), "mask": (1,1,H,W)}``, float32 in [0, 1]: real composites, at least four, in the
            size of the graph. Every third one is held out to measure the result.
        options: None for the defaults.

    Raises:
        HarmonyError: too few composites, or an unknown method.
        WorkFailed: no layer can be INT8 within ``least_db``.
    """
    options = options or CalibrationOptions()
    methods = list(METHODS) if options.method == "best" else [options.method]
    choosers = {name: method_named(name) for name in methods}
    feeds = list(feeds)
    if len(feeds) < FEWEST_COMPOSITES:
        raise HarmonyError(f"calibration needs at least {FEWEST_COMPOSITES} composites, {len(feeds)} were given")
    seen, held_out = [f for i, f in enumerate(feeds) if i % 3 != 2], feeds[2::3][:MOST_HELD_OUT]
    work = _Work(model, options, Evaluator(model, held_out, options.threads))
    histograms = work.observe(seen)
    ranges = {name: {t: choose(h) for t, h in histograms.items()} for name, choose in choosers.items()}
    candidates = [layer.name for layer in worth_quantizing(work.layers, work.shapes)]
    tried = {name: work.evaluate_all(candidates, ranges[name], f"all layers in INT8, {name}") for name in methods}
    method = max(methods, key=lambda name: tried[name].worst.worst_db)
    return work.settle(method, ranges[method], candidates, tried)


class _Qualities(NamedTuple):
    """Quality in the strictest unsigned style and in the signed one."""

    unsigned: Quality
    signed: Quality

    @property
    def worst(self) -> Quality:
        return min(self, key=lambda quality: quality.worst_db)


_STYLES = (STRICTEST_STYLE, QDQ_STYLES["tensorrt"])
"""The styles of :class:`_Qualities`, in its order."""


class _Work:
    """One calibration in progress."""

    def __init__(self, model: onnx.ModelProto, options: CalibrationOptions, evaluator: Evaluator) -> None:
        self.model, self.options, self.evaluator = model, options, evaluator
        self.layers = find_layers(model)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.seen = 0

    def observe(self, feeds: list[Feed]) -> dict[str, Histogram]:
        names = [name for layer in self.layers for name in (layer.data, layer.result)]
        tick = self._ticks("observing activations", 2 * len(feeds))
        histograms = observe(self.model, names, feeds, self.options.threads, tick)
        self.shapes = {name: histogram.shape for name, histogram in histograms.items()}
        self.seen = len(feeds)
        return histograms

    def evaluate_all(self, layers: list[str], ranges: dict[str, Range], doing: str) -> _Qualities:
        """These layers in INT8, in both styles."""
        return _Qualities(*(self._evaluate(layers, ranges, style, f"{doing}, {_named(style)}") for style in _STYLES))

    def _evaluate(self, layers: list[str], ranges: dict[str, Range], style: QdqStyle, doing: str) -> Quality:
        return self.evaluator(write_qdq(self.model, layers, ranges, style), self._ticks(doing, len(self.evaluator)))

    def settle(
        self, method: str, ranges: dict[str, Range], candidates: list[str], tried: dict[str, _Qualities]
    ) -> Calibration:
        """Choose the INT8 layers of each style and report on every layer."""
        work = {layer.name: layer.multiplications(self.shapes) for layer in self.layers}
        shares = {name: amount / sum(work.values()) for name, amount in work.items()}
        alone: dict[str, float] = {}
        if self.options.sensitivity or tried[method].worst.worst_db < self.options.least_db:
            measured = [layer.name for layer in self.layers] if self.options.sensitivity else candidates
            tick = self._ticks("one INT8 layer at a time", len(measured) * len(self.evaluator))
            alone = one_at_a_time(self.model, measured, ranges, self.evaluator, tick)
        order = by_harm({name: alone[name] for name in candidates if name in alone}, shares)
        (unsigned, quality), (signed, signed_quality) = (
            self._give_up(style, candidates, order, ranges, found)
            for style, found in zip(_STYLES, tried[method], strict=True)
        )

        def reason(name: str) -> str:
            if name in unsigned and name in signed:
                return ""
            small = f"does less than {LEAST_SHARE:.1%} of the work"
            return "costs the most image quality for its share of the work" if name in candidates else small

        reports = [
            LayerReport(
                layer.name,
                shares[layer.name],
                alone.get(layer.name),
                layer.name in unsigned,
                layer.name in signed,
                reason(layer.name),
            )
            for layer in self.layers
        ]
        worst = _Qualities(quality, signed_quality).worst
        methods_db = {name: found.worst.worst_db for name, found in tried.items()}
        return Calibration(
            method, ranges, tuple(reports), methods_db, worst.worst_db, worst.mean_db, self.seen, len(self.evaluator)
        )

    def _give_up(
        self, style: QdqStyle, candidates: list[str], order: list[str], ranges: dict[str, Range], quality: Quality
    ) -> tuple[list[str], Quality]:
        """Return layers to FP32, most harmful first, until the quality is sufficient in this style."""
        kept = list(candidates)
        for name in order:
            if quality.worst_db >= self.options.least_db:
                break
            kept.remove(name)
            if not kept:
                raise WorkFailed(
                    f"no layer can be INT8 within {self.options.least_db:g} dB; accept a lower PSNR"
                    " (harmonyrt calibrate --least-db), or build fp16"
                )
            quality = self._evaluate(kept, ranges, style, f"{len(kept)} layers in INT8, {_named(style)}")
        return kept, quality

    def _ticks(self, doing: str, steps: int) -> Callable[[], None]:
        done = 0

        def tick() -> None:
            nonlocal done
            done += 1
            self.options.progress(doing, done / steps)

        self.options.progress(doing, 0.0)
        return tick


def _named(style: QdqStyle) -> str:
    return "signed" if style.signed else "unsigned"
