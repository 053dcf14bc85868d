"""The refiner's inputs: what the trained stage one makes of a dataset's composites, computed once and kept on disk."""

from __future__ import annotations

import dataclasses
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import make_folder, sha256_of, written_whole
from harmonyrt.models.diffharmony import DiffHarmony, Noise
from harmonyrt.models.diffharmony.folders import load_parts
from harmonyrt.training.diffharmony.config import DiffusionConfig
from harmonyrt.training.diffharmony.pairs import Pairs, StageOneResults
from harmonyrt.training.diffharmony.stages import parts_of
from harmonyrt.training.loading import PairedDataset
from harmonyrt.training.processes import Processes
from harmonyrt.training.reporting import Reporter

FACTS = "stage_one.json"


def stage_one_results(
    config: DiffusionConfig, processes: Processes, report: Reporter, interrupted: list[int]
) -> StageOneResults | None:
    """Make what is missing of the results for the splits train and val; the processes share the work.

    Args:
        config: whose checkpoint, sizes, denoising steps, variants and seed are used.
        processes: who takes part.
        report: is told how far it is.
        interrupted: signals so far; the work ends after the composite in hand.

    Returns:
        The results; None when a signal came: the same call continues.

    Raises:
        HarmonyError: the folder holds results of another stage one, or a picture or network cannot be read.
    """
    folder = config.stage_one or config.out / "stage_one"
    parts = parts_of(config)
    if processes.first:
        make_folder(folder)
        _claim(folder, {
            "checkpoint": {name: [sha256_of(file) for file in files] for name, files in sorted(parts.files().items())},
            "inference_size": config.stage_one_side,
            "size": config.side,
            "denoising_steps": config.denoising_steps,
            "seed": config.seed,
        })  # fmt: skip
    processes.wait()
    results = StageOneResults(folder, config.refiner_variants)
    splits = [Pairs(config.data, split) for split in ("train", "val") if PairedDataset.has(config.data, split)]
    jobs = [(pairs, n, v) for pairs in splits for n in range(len(pairs)) for v in range(config.refiner_variants)]
    missing = [job for job in jobs if not results.path(job[0].files.names[job[1]], job[2]).exists()]
    mine = missing[processes.rank :: processes.count]
    processes.wait()  # nobody writes before all have looked
    if missing:
        report.say(f"stage one makes the refiner's inputs: {len(missing)} of {len(jobs)} are missing in {folder}")
        _make(config, load_parts(parts), results, mine, processes, report, interrupted)
    return None if processes.sums(len(interrupted))[0] else results


def _claim(folder: Path, facts: dict[str, Any]) -> None:
    path = folder / FACTS
    if path.exists():
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise HarmonyError(f"{path} cannot be read ({error}); choose another folder") from None
        if found != facts:
            other = ", ".join(name for name in facts if found.get(name) != facts[name])
            raise HarmonyError(f"{folder} holds results of another stage one (other: {other}); choose another folder")
        return
    with written_whole(path) as scratch:
        scratch.write_text(json.dumps(facts, indent=2) + "\n")


def _make(
    config: DiffusionConfig,
    model: DiffHarmony,
    results: StageOneResults,
    jobs: list[tuple[Pairs, int, int]],
    processes: Processes,
    report: Reporter,
    interrupted: list[int],
) -> None:
    device = processes.device(config.device)
    for _, network in model.parts():
        network.to(device)
    model = dataclasses.replace(model, text=model.text.to(device))
    for done, (pairs, index, variant) in enumerate(jobs):
        if interrupted:
            return
        name = pairs.files.names[index]
        picture, mask, _ = (
            torch.from_numpy(a).permute(2, 0, 1)[None] for a in pairs.sample(index, config.stage_one_side)
        )
        image = harmonized(
            model, picture, mask, config.denoising_steps, [config.seed, zlib.crc32(name.encode()), variant]
        )
        small = (config.side, config.side)
        resized = F.interpolate(2 * image - 1, size=small, mode="bilinear", antialias=True, align_corners=False)
        with written_whole(results.path(name, variant)) as scratch:
            np.save(scratch, resized.clamp(-1, 1)[0].permute(1, 2, 0).half().cpu().numpy())
        report.display.update(f"stage one: {name}", (done + 1) / len(jobs), 1.0)


def harmonized(model: DiffHarmony, picture: Tensor, mask: Tensor, steps: int, seed: list[int]) -> Tensor:
    """Stage one's picture in [0, 1] of composites in [-1, 1], on the networks' device; equal seeds, equal pictures."""
    device = model.text.device
    generator = torch.Generator().manual_seed(seed_of(seed))
    noise = model.draw((picture.shape[-2], picture.shape[-1]), len(picture), steps, generator)
    moved = Noise(
        noise.initial.to(device),
        noise.posterior.to(device),
        tuple(draw.to(device) for draw in noise.ancestral),
        None if noise.condition is None else noise.condition.to(device),
    )
    image = model.harmonize(picture.to(device), mask.to(device), moved).image
    assert image is not None
    return image


def seed_of(numbers: list[int]) -> int:
    """One seed for PyTorch from several numbers, by NumPy's mixing, which is the same everywhere."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
