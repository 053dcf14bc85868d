"""Batches for a run by step, from a data root (composites made on the fly) or a dataset in iHarmony4's layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from harmonyrt.common import HarmonyError
from harmonyrt.training.composites import Batch, Composer
from harmonyrt.training.pictures import Album, find_pictures
from harmonyrt.training.plan import CompositePlan

Tensors = tuple[Tensor, ...]
"""composite, mask, real, where the truth is known, and the lights of samples made in layers (``Batch.lights``; NaN for
others)."""


class Synthesis:
    """Composites made from a data root's training split."""

    def __init__(self, root: Path, plan: CompositePlan) -> None:
        album = Album([p for p in find_pictures(root) if p.split == "train"])
        if not album.pictures:
            raise HarmonyError(f"{root} has no pictures in its train split; give a folder with more pictures")
        album.load()
        self.composer = Composer(album, plan)
        self.pictures = len(album.pictures)

    def __len__(self) -> int:
        """Photos in the training split."""
        return self.pictures

    def batch(self, size: int, count: int, seed: list[int]) -> Tensors:
        made = self.composer.batch(size, count, seed)
        lights = torch.full((count, 6), torch.nan) if made.lights is None else made.lights
        return made.composite, made.mask, made.real, made.known(), lights


class PairedDataset:
    """A dataset in iHarmony4's layout, as ``harmonyrt synthesize`` writes it.

    ``composite_images/NAME_MASK_VARIANT.jpg`` belongs to ``masks/NAME_MASK.png`` and ``real_images/NAME.jpg``; lists
    (``*train.txt``, ``*val.txt``, ``*test.txt``) name the composites of each split.
    """

    def __init__(self, root: Path, split: str = "train") -> None:
        lists = sorted(root.glob(f"*{split}.txt"))
        if not lists:
            raise HarmonyError(f"{root} has no list {split}.txt of composites; write one, or run harmonyrt synthesize")
        lines = [line.strip() for path in lists for line in path.read_text().splitlines() if line.strip()]
        self.root = root
        self.names = [Path(line).name for line in lines]
        if not self.names:
            raise HarmonyError(f"{lists[0]} names no composites; run harmonyrt synthesize with more pictures")

    def __len__(self) -> int:
        """Composites in the split."""
        return len(self.names)

    @staticmethod
    def is_one(root: Path) -> bool:
        """Whether a folder looks like this layout."""
        return (root / "composite_images").is_dir()

    def paths(self, name: str) -> tuple[Path, Path, Path]:
        """Composite, mask and real picture of a composite's name."""
        stem = Path(name).stem
        photo, mask = stem.rsplit("_", 2)[0], stem.rsplit("_", 1)[0]
        real = next(iter(sorted((self.root / "real_images").glob(f"{photo}.*"))), None)
        if real is None:
            raise HarmonyError(
                f"{self.root}: composite {name} has no real picture {photo}.jpg; copy it to real_images/"
            )
        return self.root / "composite_images" / name, self.root / "masks" / f"{mask}.png", real

    def sample(self, index: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(S,S,3), (S,S), (S,S,3) uint8; the mask is binary, as published."""
        modes = ("RGB", "L", "RGB")
        pictures = []
        for path, mode in zip(self.paths(self.names[index]), modes, strict=True):
            try:
                with Image.open(path) as file:
                    picture = file.convert(mode).resize((size, size), Image.Resampling.BILINEAR)
            except OSError as error:
                raise HarmonyError(f"{path} cannot be read as a picture ({error}); restore it") from None
            pictures.append(np.asarray(picture))
        composite, mask, real = pictures
        return composite, (mask > 127).astype(np.uint8) * 255, real

    def batch(self, size: int, count: int, seed: list[int]) -> Tensors:
        """Random composites, half of them flipped."""
        rng = np.random.default_rng(seed)
        columns: tuple[list, list, list] = ([], [], [])
        for _ in range(count):
            sample = self.sample(int(rng.integers(len(self.names))), size)
            flip = rng.random() < 0.5
            for column, picture in zip(columns, sample, strict=True):
                column.append(picture[:, ::-1] if flip else picture)
        return _tensors(*columns)

    def fixed(self, size: int, most: int = 64) -> list[Batch]:
        """The first composites of the split, for validation."""
        count = min(most, len(self.names))
        batches = []
        for start in range(0, count, 8):
            rows = [self.sample(n, size) for n in range(start, min(start + 8, count))]
            composite, mask, real = _tensors(*zip(*rows, strict=True))[:3]
            batches.append(Batch(composite, mask, real, ["given"] * len(rows)))
        return batches


def _tensors(composites, masks, reals) -> Tensors:
    def pictures(stack) -> Tensor:
        return torch.from_numpy(np.stack(stack)).permute(0, 3, 1, 2).contiguous().float() / 255

    mask = torch.from_numpy(np.stack(masks))[:, None].float() / 255
    lights = torch.full((len(mask), 6), torch.nan)
    return pictures(composites), mask, pictures(reals), (mask > 0.5).float(), lights


class _Steps(Dataset):
    """Item n is the batch of step n, whichever process makes it, so a run can be resumed."""

    def __init__(self, source: Synthesis | PairedDataset, size: int, batch: int, seed: int) -> None:
        self.source, self.size, self.batch, self.seed = source, size, batch, seed

    def __getitem__(self, step: int) -> Tensors:
        return self.source.batch(self.size, self.batch, [self.seed, step])


def batches(
    source: Synthesis | PairedDataset, size: int, batch: int, seed: int, first_step: int, workers: int
) -> Iterator[Tensors]:
    """Batches of step `first_step` and on, without end."""
    loader = DataLoader(
        _Steps(source, size, batch, seed),
        batch_size=None,
        sampler=range(first_step, first_step + 10_000_000),
        num_workers=workers,
        prefetch_factor=3 if workers else None,
        multiprocessing_context="fork" if workers else None,  # the album's pictures are shared, not copied
    )
    return iter(loader)
