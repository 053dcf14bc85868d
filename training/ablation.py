"""Ablations: setups of one network that differ in their configuration alone, trained alike and scored in one table.

An ablation is a JSON file in ``training/plans/``: ``about`` (a sentence), ``hours`` (on what machine), ``common``
(attributes of :class:`TrainConfig`), ``enc_sizes``, and ``setups``: :class:`PHNetConfig`'s other attributes by name.
``python -m harmonyrt.training.ablation RUN --data DIR`` scores a finished one again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import require
from harmonyrt.common.files import write_json, written_whole
from harmonyrt.common.program import run_program
from harmonyrt.models import PHNetConfig, load_phnet
from harmonyrt.training import presets
from harmonyrt.training.config import TrainConfig
from harmonyrt.training.scoring import SEED, compare, fixed_composites

TABLE, MARKDOWN, CURVES, SETUPS = "table.json", "table.md", "curves.svg", "setups.json"
COLUMNS = ("psnr", "mse", "fpsnr", "fmse")


@dataclass(frozen=True)
class Ablation:
    """An ablation as read from its file: configurations of the network by the names of the table's rows."""

    name: str
    about: str
    hours: str
    common: dict[str, Any]
    setups: dict[str, PHNetConfig]


def ablations() -> list[str]:
    """Names of the ablations that come with the project."""
    return sorted(path.stem for path in presets.PLANS.glob("*.json") if "setups" in json.loads(path.read_text()))


def read_ablation(name: str) -> Ablation:
    """An ablation by its name.

    Raises:
        HarmonyError: there is none of that name.
    """
    if name not in ablations():
        raise HarmonyError(f"there is no ablation {name!r}; use one of {', '.join(ablations())}")
    content = json.loads((presets.PLANS / f"{name}.json").read_text())
    widths = tuple(content["enc_sizes"])
    setups = {row: PHNetConfig(enc_sizes=widths, **fields) for row, fields in content["setups"].items()}
    return Ablation(name, content["about"], content["hours"], content["common"], setups)


def configs(ablation: Ablation, data: Path, out: Path, **changes: Any) -> dict[str, TrainConfig]:
    """The run of each setup.

    Args:
        ablation: what to run.
        data: data root.
        out: folder of the ablation; each run gets one in it.
        changes: attributes of every run that the user set; a length replaces the ablation's.
    """
    common = dict(ablation.common)
    common["stages"] = tuple(map(presets.stage_of, common["stages"]))
    if {"steps", "minutes", "epochs"} & changes.keys():
        common = {key: value for key, value in common.items() if key not in ("steps", "minutes", "epochs")}
    settings = {**common, **changes}
    settings.setdefault("validation_size", max(stage.size for stage in settings["stages"]))
    made = {}
    for number, (row, network) in enumerate(ablation.setups.items(), 1):
        # A stage that cuts the PFE off, or not, is what the setup says.
        stages = tuple(dataclasses.replace(stage, extractor=network.extractor) for stage in settings["stages"])
        folder = out / f"{number}-{re.sub('[^a-z0-9]+', '-', row.lower()).strip('-')}"
        made[row] = TrainConfig(data, folder, network, **{**settings, "stages": stages})
    return made


def run_ablation(
    ablation: Ablation, runs: dict[str, TrainConfig], out: Path, train: Callable[[TrainConfig], Any]
) -> tuple[dict | None, Any]:
    """Train the setups one after the other, and write table.json, table.md and curves.svg.

    Args:
        ablation: what is run.
        runs: its configurations.
        out: folder of the ablation.
        train: runs or resumes one configuration.

    Returns:
        The table (None if a run was interrupted: the same command resumes it), and the last run's result.
    """
    finished, result = presets.train_in_turn(runs.values(), train)
    if not finished:
        return None, result
    return finish(ablation, runs, out, result.steps if result else 0), result


def finish(ablation: Ablation, runs: dict[str, TrainConfig], out: Path, steps: int) -> dict:
    """Write down what was run for how many steps, score it, and return the table."""
    first = next(iter(runs.values()))
    whose = ("size", "batch", "share", "lr", "freeze")  # the extractor is the setup's own
    facts = {
        "ablation": ablation.name,
        "budget": {
            "steps": steps,
            "seed": first.seed,
            "loss": first.loss,
            "optimizer": first.optimizer,
            "stages": [{name: getattr(stage, name) for name in whose} for stage in first.stages],
            "precision": first.precision,
            "device": first.device,
        },
        "machine": _machine(),
        "setups": {row: config.out.name for row, config in runs.items()},
    }
    with written_whole(out / SETUPS) as scratch:
        scratch.write_text(json.dumps(facts, indent=1))
    return score(out, first.data, first.validation_size)


def _machine() -> dict[str, str]:
    """What the runs were made on, as far as it decides their figures."""
    names: list[str] = []
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {"cpu": names[0] if names else platform.machine(), "torch": torch.__version__}


def score(out: Path, data: Path, size: int | None = None, seeds: Sequence[int] = (SEED,)) -> dict:
    """Score a finished ablation's weights on the test split and write its table and curves.

    Args:
        out: folder of the ablation.
        data: data root that it was trained on.
        size: side of the square composites; None is the largest that was trained at.
        seeds: of the composites (:func:`harmonyrt.training.scoring.fixed_composites`).

    Raises:
        HarmonyError: the folder holds no finished ablation.
    """
    try:
        facts = json.loads((out / SETUPS).read_text())
    except (OSError, ValueError) as error:
        raise HarmonyError(
            f"{out} holds no finished ablation ({error}); train one with harmonyrt train --preset {ablations()[0]}"
        ) from None
    if size is None:
        size = max(stage["size"] for stage in facts["budget"]["stages"])
    composites = fixed_composites(data, "test", size, seeds)
    rows, report = [], {}
    for row, folder in facts["setups"].items():
        network = load_phnet(out / folder / "weights.safetensors")
        report = compare(network, composites)
        parameters = sum(p.numel() for p in network.parameters())
        rows.append({"setup": row, "parameters": parameters, **report["harmonized"], "worse": report["worse"]})
    table = {**facts, "size": size, "seeds": list(seeds), "pictures": report["pictures"]}
    table["composite"] = report["composite"]
    table["rows"] = rows
    write_json(out / TABLE, table)
    with written_whole(out / MARKDOWN) as scratch:
        scratch.write_text(markdown(table))
    draw({row: out / folder / "log.jsonl" for row, folder in facts["setups"].items()}, out / CURVES)
    return table


def markdown(table: dict) -> str:
    """The table for people: one row per setup, and the composites as they are."""
    lines = [
        "| setup | parameters | PSNR, dB | MSE | fPSNR, dB | fMSE | worse by > 1 dB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in [{"setup": "composite, unchanged", **table["composite"]}, *table["rows"]]:
        psnr, mse, fpsnr, fmse = (row[column] for column in COLUMNS)
        count = f"{row['parameters']:,}" if "parameters" in row else ""
        worse = f"{row['worse']:.1%}" if "worse" in row else ""
        lines.append(f"| {row['setup']} | {count} | {psnr:.2f} | {mse:.1f} | {fpsnr:.2f} | {fmse:.1f} | {worse} |")
    return "\n".join(lines) + "\n"


def draw(logs: dict[str, Path], path: Path) -> None:
    """Validation's PSNR of every setup against the step, as SVG."""
    matplotlib = require("matplotlib", "train", "drawing an ablation's curves")
    matplotlib.use("Agg")
    pyplot = require("matplotlib.pyplot", "train", "drawing an ablation's curves")
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    start = None
    for row, log in logs.items():
        entries = [json.loads(line) for line in log.read_text().splitlines()]
        checked = {e["step"]: e["validation"] for e in entries if "validation" in e}
        axes.plot(list(checked), [v["harmonized"]["psnr"] for v in checked.values()], marker=".", label=row)
        start = next((v["composite"]["psnr"] for v in checked.values()), start)
    if start is not None:
        axes.axhline(start, color="grey", linestyle=":", label="composite, unchanged")
    axes.set_xlabel("step")
    axes.set_ylabel("PSNR on the validation split, dB")
    axes.legend(fontsize=8)
    with written_whole(path) as scratch:
        figure.savefig(scratch, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description="Score a finished ablation again and write its table and curves.")
    parser.add_argument("run", type=Path, help="folder of the ablation")
    parser.add_argument("--data", type=Path, required=True, help="folder of pictures and masks")
    parser.add_argument("--size", type=int, help="side of the composites (default: that of the training)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[SEED], metavar="N", help="of the composites")
    options = parser.parse_args(arguments)

    def work() -> None:
        print(markdown(score(options.run, options.data, options.size, options.seeds)), end="")

    return run_program(work)


if __name__ == "__main__":
    sys.exit(main())
