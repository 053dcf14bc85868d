"""FP32 graph -> INT8: ranges from real composites, and as many layers in INT8 as the picture allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import onnx

from harmonyrt.calibration.calibrated import Calibration, LayerReport
from harmonyrt.calibration.forms import FORMS, Form, form_of, write_qdq
from harmonyrt.calibration.judge import Judge, Verdict
from harmonyrt.calibration.layers import LEAST_SHARE, find_layers, worth_quantizing
from harmonyrt.calibration.observe import Feed, Histogram, observe
from harmonyrt.calibration.ranges import METHODS, Range, method_named
from harmonyrt.calibration.sensitivity import JUDGED_FORM, by_harm, one_at_a_time
from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.progress import silent

Progress = Callable[[str, float | None], None]
"""Called with what is being done, and the share of it that is done (0 to 1)."""

FEWEST_COMPOSITES = 4
MOST_JUDGES = 8


@dataclass(frozen=True)
class CalibrationOptions:
    """How to calibrate.

    Attributes:
        method: ``"minmax"``, ``"percentile"``, ``"entropy"``, ``"mse"``, or ``"best"``: the one of them with the best
            worst case.
        least_db: layers go back to FP32 until no composite is below this PSNR (blended, INT8 against FP32). The gate is
            38 dB; composites that nobody saw here come out some dB lower.
        sensitivity: measure every layer alone even where all layers together pass: for the report.
        threads: CPU threads; None for all.
        progress: told what is going on.
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
    form_of(target)
    return calibrate_graph(model, feeds, options or CalibrationOptions()).apply(model, target)


def calibrate_graph(
    model: onnx.ModelProto, feeds: Iterable[Feed], options: CalibrationOptions | None = None
) -> Calibration:
    """Find ranges, and which layers can be INT8.

    Args:
        model: FP32 graph of any size; its names carry over to graphs of the same weights and rewrites at other sizes.
        feeds: ``{"image": (1,3,H,W), "mask": (1,1,H,W)}``, float32 in [0, 1]: real composites, at least four, in the
            size of the graph. Every third one only judges the result.
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
    seen, judges = [f for i, f in enumerate(feeds) if i % 3 != 2], feeds[2::3][:MOST_JUDGES]
    work = _Work(model, options, Judge(model, judges, options.threads))
    histograms = work.observe(seen)
    ranges = {name: {t: choose(h) for t, h in histograms.items()} for name, choose in choosers.items()}
    candidates = [layer.name for layer in worth_quantizing(work.layers, work.shapes)]
    tried = {name: work.judge_all(candidates, ranges[name], f"all layers in INT8, {name}") for name in methods}
    method = max(methods, key=lambda name: tried[name].worst.worst_db)
    return work.settle(method, ranges[method], candidates, tried)


class _Verdicts(NamedTuple):
    """Of the strictest unsigned form, and of the signed one."""

    unsigned: Verdict
    signed: Verdict

    @property
    def worst(self) -> Verdict:
        return min(self, key=lambda verdict: verdict.worst_db)


_JUDGED = (JUDGED_FORM, FORMS["tensorrt"])
"""The forms that :class:`_Verdicts` speaks of."""


class _Work:
    """One calibration, with the names that its steps share."""

    def __init__(self, model: onnx.ModelProto, options: CalibrationOptions, judge: Judge) -> None:
        self.model, self.options, self.judge = model, options, judge
        self.layers = find_layers(model)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.seen = 0

    def observe(self, feeds: list[Feed]) -> dict[str, Histogram]:
        names = [name for layer in self.layers for name in (layer.data, layer.result)]
        tick = self._ticks("looking at activations", 2 * len(feeds))
        histograms = observe(self.model, names, feeds, self.options.threads, tick)
        self.shapes = {name: histogram.shape for name, histogram in histograms.items()}
        self.seen = len(feeds)
        return histograms

    def judge_all(self, layers: list[str], ranges: dict[str, Range], doing: str) -> _Verdicts:
        """These layers in INT8, in both forms."""
        return _Verdicts(*(self._judge(layers, ranges, form, f"{doing}, {_named(form)}") for form in _JUDGED))

    def _judge(self, layers: list[str], ranges: dict[str, Range], form: Form, doing: str) -> Verdict:
        return self.judge(write_qdq(self.model, layers, ranges, form), self._ticks(doing, len(self.judge)))

    def settle(
        self, method: str, ranges: dict[str, Range], candidates: list[str], tried: dict[str, _Verdicts]
    ) -> Calibration:
        """Choose the layers of each form, and write down what is known of all."""
        work = {layer.name: layer.multiplications(self.shapes) for layer in self.layers}
        shares = {name: amount / sum(work.values()) for name, amount in work.items()}
        alone: dict[str, float] = {}
        if self.options.sensitivity or tried[method].worst.worst_db < self.options.least_db:
            measured = [layer.name for layer in self.layers] if self.options.sensitivity else candidates
            tick = self._ticks("one layer in INT8 at a time", len(measured) * len(self.judge))
            alone = one_at_a_time(self.model, measured, ranges, self.judge, tick)
        order = by_harm({name: alone[name] for name in candidates if name in alone}, shares)
        (unsigned, verdict), (signed, signed_verdict) = (
            self._give_up(form, candidates, order, ranges, found)
            for form, found in zip(_JUDGED, tried[method], strict=True)
        )

        def reason(name: str) -> str:
            if name in unsigned and name in signed:
                return ""
            small = f"does less than {LEAST_SHARE:.1%} of the work"
            return "costs most picture quality for its work" if name in candidates else small

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
        worst = _Verdicts(verdict, signed_verdict).worst
        methods_db = {name: found.worst.worst_db for name, found in tried.items()}
        return Calibration(
            method, ranges, tuple(reports), methods_db, worst.worst_db, worst.mean_db, self.seen, len(self.judge)
        )

    def _give_up(
        self, form: Form, candidates: list[str], order: list[str], ranges: dict[str, Range], verdict: Verdict
    ) -> tuple[list[str], Verdict]:
        """Give layers up, most harmful first, until the picture is good enough in this form."""
        kept = list(candidates)
        for name in order:
            if verdict.worst_db >= self.options.least_db:
                break
            kept.remove(name)
            if not kept:
                raise WorkFailed(
                    f"no layer can be INT8 within {self.options.least_db:g} dB; give a lower least dB, or build fp16"
                )
            verdict = self._judge(kept, ranges, form, f"{len(kept)} layers in INT8, {_named(form)}")
        return kept, verdict

    def _ticks(self, doing: str, steps: int) -> Callable[[], None]:
        done = 0

        def tick() -> None:
            nonlocal done
            done += 1
            self.options.progress(doing, done / steps)

        self.options.progress(doing, 0.0)
        return tick


def _named(form: Form) -> str:
    return "signed" if form.signed else "unsigned"
