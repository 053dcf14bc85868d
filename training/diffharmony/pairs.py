"""Composites, masks and real pictures as DiffHarmony is trained on them: in [-1, 1], masks 0 or 1.

Pictures are read as published: RGB resized bilinear with antialias to a square, masks made binary first (dithered,
where they are grey) and resized to the nearest pixel. Half of the samples are mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harmonyrt.common import HarmonyError
from harmonyrt.training.files import read_pair
from harmonyrt.training.loading import PairedDataset, Synthesis
from harmonyrt.training.plan import CompositePlan

Tensors = tuple[Tensor, ...]


class Pairs:
    """A split of a dataset of pairs; a batch is a pure function of size, count and seed.

    Args:
        root: in iHarmony4's layout.
        split: ``train``, ``val`` or ``test``.
        stage_one: further pictures, one of which joins each sample as a fourth tensor (the refiner's inputs).
    """

    def __init__(self, root: Path, split: str = "train", stage_one: StageOneResults | None = None) -> None:
        self.files = PairedDataset(root, split)
        self.stage_one = stage_one

    def __len__(self) -> int:
        return len(self.files)

    def sample(self, index: int, size: int) -> tuple[np.ndarray, ...]:
        """Composite (S,S,3), mask (S,S,1), real (S,S,3), float32.

        Raises:
            HarmonyError: a file that is missing, no picture, or of another shape than the others.
        """
        composite, mask, real = read_pair(*self.files.paths(index))
        return _picture(composite, size), _mask(mask, size), _picture(real, size)

    def batch(self, size: int, count: int, seed: list[int], indices: Sequence[int] | None = None) -> Tensors:
        """Samples: (B,3,S,S), (B,1,S,S), (B,3,S,S), and (B,3,S,S) of stage one where there is one.

        Args:
            size: pixels.
            count: how many, where they are drawn at random.
            seed: decides which are drawn, and which are mirrored.
            indices: the samples, instead of random ones.
        """
        rng = np.random.default_rng(seed)
        rows = []
        for index in rng.integers(len(self), size=count).tolist() if indices is None else indices:
            flip, variant = rng.random() < 0.5, rng.random()
            row = self.sample(index, size)
            if self.stage_one is not None:
                row += (self.stage_one.read(self.files.names[index], variant),)
            rows.append(tuple(picture[:, ::-1] if flip else picture for picture in row))
        return _tensors(rows)

    def fixed(self, size: int, count: int) -> list[Tensors]:
        """Up to `count` samples from all over the split one by one, not mirrored."""
        found = []
        for index in np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int).tolist():
            row = self.sample(index, size)
            if self.stage_one is not None:
                row += (self.stage_one.read(self.files.names[index], 0.0),)
            found.append(_tensors([row]))
        return found


class Made:
    """Composites made from photos as training goes, for stages that need no file of each."""

    def __init__(self, root: Path, plan: CompositePlan | None = None) -> None:
        self.source = Synthesis(root, plan or CompositePlan())

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, size: int, count: int, seed: list[int]) -> Tensors:
        composite, mask, real, *_ = self.source.batch(size, count, seed)
        return 2 * composite - 1, (mask >= 0.5).float(), 2 * real - 1


class StageOneResults:
    """Pictures that stage one made of a dataset's composites, on disk: NAME.VARIANT.npy, float16 in [-1, 1].

    Half precision keeps them to 0.0005; 8 bits would to 0.004, as much as a refiner has to correct.
    """

    def __init__(self, folder: Path, variants: int) -> None:
        self.folder, self.variants = folder, variants

    def path(self, name: str, variant: int) -> Path:
        return self.folder / f"{Path(name).stem}.{variant}.npy"

    def read(self, name: str, lot: float) -> np.ndarray:
        """(S,S,3) float32; `lot` in [0, 1) chooses the variant."""
        path = self.path(name, int(lot * self.variants))
        try:
            return np.load(path).astype(np.float32)
        except (OSError, ValueError) as error:
            raise HarmonyError(f"{path} cannot be read ({error}); delete it and run the same command again") from None


def picture_of(picture: Image.Image, size: int) -> Tensor:
    """An RGB picture as a network takes it: (1,3,S,S) in [-1, 1]."""
    resized = picture.resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(resized, np.float32) / 127.5 - 1).permute(2, 0, 1)[None]


def _picture(picture: Image.Image, size: int) -> np.ndarray:
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR), np.float32) / 127.5 - 1


def _mask(mask: Image.Image, size: int) -> np.ndarray:
    return np.asarray(mask.convert("1").resize((size, size), Image.Resampling.NEAREST), np.float32)[..., None]


def _tensors(rows: list[tuple[np.ndarray, ...]]) -> Tensors:
    columns = zip(*rows, strict=True)
    return tuple(torch.from_numpy(np.stack(column)).permute(0, 3, 1, 2).contiguous() for column in columns)
