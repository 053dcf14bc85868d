"""What each precision costs in picture quality: against FP32, and against the ground truth of a test split.

    python -m harmonyrt.benchmarks.precision DATASET                        # shipped weights, all precisions
    python -m harmonyrt.benchmarks.precision DATASET --count 44 --json precision.json
    python -m harmonyrt.benchmarks.precision --table precision.json

DATASET has iHarmony4's layout, as `harmonyrt synthesize` writes it. Every engine that this machine can run is run; the
others are measured as `harmonyrt build` gates them, on their typed graph by ONNX Runtime. Pictures are harmonized at
256 x 256 and rounded to 8 bits before they are scored. docs/precision.md and docs/calibration.md show its table.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import written_whole
from harmonyrt.common.progress import reporting
from harmonyrt.evaluation.iharmony4 import Pair, read_split
from harmonyrt.evaluation.metrics import psnr
from harmonyrt.export import rewrites
from harmonyrt.export.build.bundle import file_spec
from harmonyrt.export.build.family import Results
from harmonyrt.export.build.gate import NOT_MEASURED, Run
from harmonyrt.export.build.running import open_engine, run_file
from harmonyrt.export.build.session import manifest_of
from harmonyrt.export.onnx_file import save
from harmonyrt.export.phnet.recipe import PHNetRecipe, expand_recipes
from harmonyrt.export.phnet.session import PHNetSession, simulated
from harmonyrt.export.targets import BUILDERS, BuildOptions
from harmonyrt.runtime.decibels import psnr_db
from harmonyrt.runtime.manifest import EngineSpec

SIDE = 256
VARIANTS = (
    ("fp32", "onnx"),
    ("fp32", "openvino"),
    ("fp16", "tensorrt"),
    ("bf16", "tensorrt"),
    ("bf16", "openvino"),
    ("int8", "onnx"),
    ("int8", "openvino"),
    ("int8", "tensorrt"),
)
"""(precision, target) in the order of the table; ``tensorrt`` is the typed graph that all GPUs get."""


@dataclass(frozen=True)
class Case:
    """One composite of the test split, fitted to the engine; image and real (1,3,H,W), mask (1,1,H,W), in [0, 1]."""

    image: np.ndarray
    mask: np.ndarray
    real: np.ndarray

    def blended(self, output: np.ndarray) -> np.ndarray:
        """The picture that a user would get, before rounding."""
        picture = output.astype(np.float64) * self.mask + self.image * (1.0 - self.mask)
        return np.clip(picture, 0, 1)

    def score(self, picture: np.ndarray) -> float:
        """PSNR against the ground truth, peak 255, of 8-bit pictures."""
        return psnr(np.round(picture[0] * 255), np.round(self.real[0] * 255))


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        precision: of the graph.
        target: what the graph was made for.
        measured_on: what ran it.
        truth_db: mean PSNR against the ground truth.
        lost_db: how much less than the PyTorch FP32 module's.
        worst_db: PSNR of the blended picture against the module's, worst case.
        mean_db: the same, mean.
    """

    precision: str
    target: str
    measured_on: str
    truth_db: float
    lost_db: float
    worst_db: float
    mean_db: float


def read_cases(pairs: Sequence[Pair], side: int = SIDE) -> list[Case]:
    """Read composites as the evaluation does: whole pictures, bilinear, masks 0 or 1."""

    def pixels(path: Path, mode: str) -> np.ndarray:
        with Image.open(path) as file:
            picture = file.convert(mode).resize((side, side), Image.Resampling.BILINEAR)
        array = np.asarray(picture, np.float32).reshape(side, side, -1) / np.float32(255)
        return np.ascontiguousarray(array.transpose(2, 0, 1)[None])

    return [
        Case(pixels(p.composite, "RGB"), (pixels(p.mask, "L") > 0.5).astype(np.float32), pixels(p.real, "RGB"))
        for p in pairs
    ]


def measure(checkpoint: Path | None, cases: Sequence[Case], threads: int | None) -> tuple[dict, list[Row]]:
    """Harmonize every case with the PyTorch module and with every variant.

    Returns:
        What was measured (checkpoint, number of cases, PSNR of the composites and of the module), and a row
        per variant.
    """
    with reporting(steps=len(VARIANTS) + 3) as report, tempfile.TemporaryDirectory() as scratch:
        recipes = _recipes(checkpoint, threads)
        first = recipes["fp32"]
        session = PHNetSession(first.checkpoint, threads, report, first.meaning)
        report.step_done()
        report.step_done()
        report("the PyTorch module")
        expected = [case.blended(_module(session.network, case)) for case in cases]
        report.step_done()
        truth = float(np.mean([case.score(picture) for case, picture in zip(cases, expected, strict=True)]))
        rows = []
        for precision, target in VARIANTS:
            report(f"{precision}, {target}")
            run, who = _engine(session, recipes[precision], target, Path(scratch))
            if run is not None:
                rows.append(_row(precision, target, who, run, cases, expected, truth))
            report.step_done()
    facts = {
        "checkpoint": first.checkpoint.name,
        "checkpoint_sha256": first.source_sha256,
        "cases": len(cases),
        "composites_db": float(np.mean([case.score(case.image) for case in cases])),
        "module_db": truth,
    }
    return facts, rows


def _recipes(checkpoint: Path | None, threads: int | None) -> dict[str, PHNetRecipe]:
    """A recipe for each precision; its target only has to be one that can exist here."""
    options = BuildOptions(target="", size=None, threads=threads)
    found = {}
    for precision in dict.fromkeys(precision for precision, _ in VARIANTS):
        target = "openvino" if precision == "bf16" else "onnx"
        (found[precision],) = expand_recipes(checkpoint, [str(SIDE)], [precision], [target], rewrites.DEFAULT, options)
    return found


def _module(network, case: Case) -> np.ndarray:
    import torch

    with torch.inference_mode():
        return network(torch.from_numpy(case.image), torch.from_numpy(case.mask)).numpy()


def _engine(session: PHNetSession, recipe: PHNetRecipe, target: str, scratch: Path) -> tuple[Run | None, str]:
    """How to run a variant, and what runs it: its backend on this machine, or ONNX Runtime for GPU targets."""
    graph = session.typed_graph(recipe, target)
    folder = scratch / f"{recipe.precision}-{target}"
    folder.mkdir()
    if target == "tensorrt":
        save(simulated(graph), folder / "model.onnx")
        return run_file(folder / "model.onnx", session.threads)
    options = BuildOptions(target=target, size=recipe.size, threads=session.threads)
    (built,) = BUILDERS[target](graph, folder, recipe.precision, options)
    files = tuple(file_spec(folder, name) for name in built.files)
    spec = EngineSpec(target, recipe.precision, files, built.counts, NOT_MEASURED, needs=built.needs)
    manifest = manifest_of(recipe, session.describe(recipe, Results()), (spec,))
    return open_engine(folder / built.files[0], spec, manifest, session.threads)


def _row(
    precision: str,
    target: str,
    who: str,
    run: Run,
    cases: Sequence[Case],
    expected: Sequence[np.ndarray],
    truth: float,
) -> Row:
    pictures = [case.blended(run({"image": case.image, "mask": case.mask})["output"]) for case in cases]
    against = [psnr_db(a - b) for a, b in zip(pictures, expected, strict=True)]
    scored = float(np.mean([case.score(picture) for case, picture in zip(cases, pictures, strict=True)]))
    return Row(precision, target, who, scored, truth - scored, min(against), float(np.mean(against)))


def table(facts: dict, rows: Sequence[Row]) -> str:
    """The rows and what was measured as a Markdown table."""
    lines = [
        f"{facts['checkpoint']} (sha256 {facts['checkpoint_sha256'][:8]}), {facts['cases']} composites at {SIDE} px:"
        f" the composites have {facts['composites_db']:.3f} dB, the PyTorch module's pictures"
        f" {facts['module_db']:.3f} dB.",
        "",
        "| engine | measured on | against ground truth | against FP32: worst, mean |",
        "|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row.precision} `{row.target}` | {row.measured_on} | {row.truth_db:.3f} dB ({-row.lost_db:+.3f})"
            f" | {row.worst_db:.1f}, {row.mean_db:.1f} dB |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, or print a measurement; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m harmonyrt.benchmarks.precision", description=__doc__.split("\n")[0]
    )
    parser.add_argument("dataset", nargs="?", type=Path, help="dataset in iHarmony4's layout")
    parser.add_argument("--checkpoint", type=Path, help="default: the shipped weights")
    parser.add_argument("--split", default="test")
    parser.add_argument("--count", type=int, help="composites, spread over the split; default: all")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurement")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print an earlier one instead")
    given = parser.parse_args(argv)
    try:
        if given.table is not None:
            earlier = json.loads(given.table.read_text(encoding="utf-8"))
            print(table(earlier["facts"], [Row(**row) for row in earlier["rows"]]))
            return 0
        if given.dataset is None:
            raise HarmonyError("no dataset was given; make one with harmonyrt synthesize and give its folder")
        pairs = read_split(given.dataset, given.split)
        step = max(1, len(pairs) // max(1, given.count or len(pairs)))
        facts, rows = measure(given.checkpoint, read_cases(pairs[::step][: given.count]), given.threads)
    except HarmonyError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if given.json is not None:
        with written_whole(given.json) as scratch:
            measured = {"facts": facts, "rows": [asdict(row) for row in rows]}
            scratch.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    print(table(facts, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
