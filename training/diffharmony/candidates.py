"""Composites by the inverse model of DiffHarmony++: several candidates for each real picture; the worst one is kept.

The classifier chooses the candidate that looks least like a real photo, since nearly harmonious ones teach a network
little. The dataset that is written has iHarmony4's layout.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import make_folder, written_whole
from harmonyrt.models.diffharmony import load_diffharmony
from harmonyrt.training.diffharmony.objectives import imagenet_normalised
from harmonyrt.training.diffharmony.pairs import Pairs, picture_of
from harmonyrt.training.diffharmony.stage_one import harmonized
from harmonyrt.training.diffharmony.stages import load_classifier
from harmonyrt.training.files import read_mask_of, read_photo
from harmonyrt.training.loading import PairedDataset

QUALITY = 95
SCORES = "candidates.jsonl"
COMPOSITE_CLASS = 0


@dataclass(frozen=True)
class CandidatesConfig:
    """What to write.

    Attributes:
        data: dataset of pairs, whose real pictures and masks are used.
        out: dataset to write; what it holds already is kept.
        checkpoint: folder of the trained inverse model.
        base: supplies the subfolders that `checkpoint` lacks.
        classifier: folder of the trained classifier; None keeps every candidate.
        count: candidates per picture and mask.
        size: side at which the inverse model works.
        steps: denoising steps.
        seed: equal seeds write equal files.
        split: of `data`.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
    """

    data: Path
    out: Path
    checkpoint: Path
    base: Path | None = None
    classifier: Path | None = None
    count: int = 4
    size: int = 512
    steps: int = 5
    seed: int = 0
    split: str = "train"
    device: str = "cpu"


def write_candidates(config: CandidatesConfig, progress: Callable[[int, int], None] | None = None) -> int:
    """Write composites for every real picture and mask of a split; a second call makes what is missing.

    ``candidates.jsonl`` keeps every candidate's probability of being a composite, by the classifier.

    Returns:
        How many composites the dataset holds.

    Raises:
        HarmonyError: the data, the networks or the output folder cannot be used.
    """
    if not PairedDataset.is_one(config.data):
        raise HarmonyError(f"{config.data} is not a dataset of pairs; write one with harmonyrt synthesize")
    if config.size % 8 or config.size < 32:
        raise HarmonyError(f"size {config.size} is not a multiple of 8 from 32 on; choose another, such as 512")
    pairs = Pairs(config.data, config.split)
    subjects: dict[str, tuple[Path, Path]] = {}
    for index in range(len(pairs)):
        _, mask, real = pairs.files.paths(index)
        subjects.setdefault(mask.stem, (mask, real))
    for folder in ("composite_images", "masks", "real_images"):
        make_folder(config.out / folder)
    maker: _Maker | None = None
    for done, (stem, (mask, real)) in enumerate(subjects.items(), 1):
        if not _there(config, stem):
            maker = maker or _Maker(config)
            maker.write(stem, mask, real)
        if progress is not None:
            progress(done, len(subjects))
    written = sorted(path.name for path in (config.out / "composite_images").glob("*.jpg"))
    with written_whole(config.out / f"{config.split}.txt") as scratch:
        scratch.write_text("\n".join(written) + "\n")
    return len(written)


def _there(config: CandidatesConfig, stem: str) -> bool:
    found = len(list((config.out / "composite_images").glob(f"{stem}_*.jpg")))
    return found >= (1 if config.classifier is not None else config.count)


class _Maker:
    def __init__(self, config: CandidatesConfig) -> None:
        self.config = config
        model = load_diffharmony(config.checkpoint, base=config.base)
        for _, network in model.parts():
            network.to(config.device)
        self.model = dataclasses.replace(model, text=model.text.to(config.device))
        self.judge: Any = None
        if config.classifier is not None:
            self.judge = load_classifier(config.classifier).to(config.device).eval()

    def write(self, stem: str, mask_file: Path, real_file: Path) -> None:
        """The files of one real picture and mask; its composites come last, so that a picture is whole or missing."""
        config = self.config
        photo = read_photo(real_file)
        real, mask = photo.image, read_mask_of(mask_file, photo, real_file)
        mask = mask.resize(real.size, Image.Resampling.NEAREST) if mask.size != real.size else mask
        candidates = [self._candidate(real, mask, stem, number) for number in range(config.count)]
        chosen, scores = list(range(config.count)), None
        if self.judge is not None:
            scores = [self._composite_probability(candidate) for candidate in candidates]
            chosen = [int(np.argmax(scores))]
        with written_whole(config.out / "masks" / f"{mask_file.stem}.png") as scratch:
            mask.save(scratch)
        with written_whole(config.out / "real_images" / real_file.name) as scratch:
            if photo.orientation == 1:
                shutil.copyfile(real_file, scratch)
            else:  # upright, as its composites and its mask are
                real.save(scratch, quality=QUALITY, subsampling=0)
        for number in chosen:
            with written_whole(config.out / "composite_images" / f"{stem}_{number + 1}.jpg") as scratch:
                candidates[number].save(scratch, quality=QUALITY, subsampling=0)
        if scores is not None:
            with open(config.out / SCORES, "a", encoding="utf-8") as file:
                line = {"name": stem, "chosen": chosen[0] + 1, "composite_probability": scores}
                file.write(json.dumps(line) + "\n")

    def _candidate(self, real: Image.Image, mask: Image.Image, stem: str, number: int) -> Image.Image:
        """The inverse model's picture at the real one's size, its background pasted back."""
        side = (self.config.size, self.config.size)
        foreground = mask.convert("1").resize(side, Image.Resampling.NEAREST)
        image = harmonized(
            self.model,
            picture_of(real, self.config.size),
            torch.from_numpy(np.asarray(foreground, np.float32))[None, None],
            self.config.steps,
            [self.config.seed, zlib.crc32(stem.encode()), number],
        )
        pixels = (image[0].permute(1, 2, 0) * 255).byte().cpu().numpy()  # truncated, as published
        made = Image.fromarray(pixels).resize(real.size, Image.Resampling.BILINEAR)
        return Image.composite(made, real, mask.point(lambda value: 255 if value > 127 else 0))

    @torch.no_grad()
    def _composite_probability(self, candidate: Image.Image) -> float:
        picture: Tensor = picture_of(candidate, 224).to(self.config.device)
        return float(self.judge(imagenet_normalised(picture)).logits.softmax(1)[0, COMPOSITE_CLASS])
