"""Batches for a run by step, from a data root (composites made on the fly) or a dataset in iHarmony4's layout."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence, Sized
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.training.composites import Batch, Composer
from harmonyrt.training.files import read_pair
from harmonyrt.training.pictures import Album, find_pictures
from harmonyrt.training.plan import CompositePlan

REAL_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
Tensors = tuple[Tensor, ...]
"""composite, mask, real, where the truth is known, and the lights of samples made in layers (``Batch.lights``; NaN for
others)."""


class Source(Protocol):
    """What batches come from; a batch is a pure function of size, count and seed."""

    def batch(self, size: int, count: int, seed: list[int]) -> Tensors: ...


@runtime_checkable
class Numbered(Protocol):
    """A source of files, which can be passed through one by one; others make something new each time."""

    def __len__(self) -> int: ...

    def sample(self, index: int, size: int) -> tuple[np.ndarray, ...]: ...

    def batch(self, size: int, count: int, seed: list[int], indices: Sequence[int] | None = None) -> Tensors: ...


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
        """Composites of drawn photos."""
        made = self.composer.batch(size, count, seed)
        lights = torch.full((count, 6), torch.nan) if made.lights is None else made.lights
        return made.composite, made.mask, made.real, made.known(), lights


class PairedDataset:
    """A dataset in iHarmony4's layout, as ``harmonyrt synthesize`` writes it, or a folder of several.

    ``composite_images/NAME_MASK_VARIANT.jpg`` belongs to ``masks/NAME_MASK.png`` and ``real_images/NAME.jpg``; lists
    (``*train.txt``, ``*val.txt``, ``*test.txt``) name the composites of each split. iHarmony4's own folder holds four
    such subsets (HAdobe5k, HCOCO, Hday2night, HFlickr), which are read as one dataset; their lists may lie above them.
    """

    def __init__(self, root: Path, split: str = "train") -> None:
        self.root = root
        self.names: list[str] = []
        self.folders: list[Path] = []
        """The subset of each composite."""
        for folder in self.subsets(root):
            lines = self._listed(root, folder, split)
            if lines is None:
                raise HarmonyError(
                    f"{folder} has no list {split}.txt of composites; write one, or run harmonyrt synthesize"
                )
            self.names += [Path(line).name for line in lines]
            self.folders += [folder] * len(lines)
        if not self.names:
            raise HarmonyError(
                f"{root} names no composites in its lists {split}.txt; run harmonyrt synthesize with more pictures"
            )

    def __len__(self) -> int:
        """Composites in the split."""
        return len(self.names)

    @staticmethod
    def subsets(root: Path) -> list[Path]:
        """The folders of a dataset that hold composites: itself, or its subsets; [] is another layout."""
        if (root / "composite_images").is_dir():
            return [root]
        return sorted(path.parent for path in root.glob("*/composite_images") if path.is_dir())

    @staticmethod
    def is_one(root: Path) -> bool:
        """Whether a folder looks like this layout."""
        return bool(PairedDataset.subsets(root))

    @staticmethod
    def has(root: Path, split: str) -> bool:
        """Whether a dataset lists a split, in every subset."""
        return all(PairedDataset._listed(root, f, split) is not None for f in PairedDataset.subsets(root))

    @staticmethod
    def _listed(root: Path, folder: Path, split: str) -> list[str] | None:
        """A subset's lines of its own lists, or of lists above all subsets (``IHD_train.txt``); None without any."""
        lists, above = sorted(folder.glob(f"*{split}.txt")), sorted(root.glob(f"*{split}.txt"))
        if not lists and not above:
            return None
        lines = [line.strip() for path in lists or above for line in path.read_text("utf-8").splitlines()]
        return [line for line in lines if line and (lists or Path(line).parts[0] == folder.name)]

    def paths(self, index: int) -> tuple[Path, Path, Path]:
        """Composite, mask and real picture of a composite."""
        name, folder = self.names[index], self.folders[index]
        stem = Path(name).stem
        photo, mask = stem.rsplit("_", 2)[0], stem.rsplit("_", 1)[0]
        named = (folder / "real_images" / f"{photo}{suffix}" for suffix in REAL_SUFFIXES)
        real = next((path for path in named if path.is_file()), None)
        if real is None:
            raise HarmonyError(f"{folder}: composite {name} has no real picture {photo}.jpg; copy it to real_images/")
        return folder / "composite_images" / name, folder / "masks" / f"{mask}.png", real

    def sample(self, index: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(S,S,3), (S,S), (S,S,3) uint8; the mask is binary, as published."""
        composite, mask, real = (
            np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))
            for picture in read_pair(*self.paths(index))
        )
        return composite, (mask > 127).astype(np.uint8) * 255, real

    def batch(self, size: int, count: int, seed: list[int], indices: Sequence[int] | None = None) -> Tensors:
        """Composites, half of them flipped; drawn, or those of `indices`."""
        rng = np.random.default_rng(seed)
        columns: tuple[list, list, list] = ([], [], [])
        for n in range(count) if indices is None else indices:
            drawn = int(rng.integers(len(self.names))) if indices is None else int(n)
            sample = self.sample(drawn, size)
            flip = rng.random() < 0.5
            for column, picture in zip(columns, sample, strict=True):
                column.append(picture[:, ::-1] if flip else picture)
        return _tensors(*columns)

    def fixed(self, size: int, most: int = 64) -> list[Batch]:
        """Composites from all over the split, for validation: every subset has its share."""
        chosen = np.linspace(0, len(self.names) - 1, min(most, len(self.names))).round().astype(int).tolist()
        batches = []
        for start in range(0, len(chosen), 8):
            rows = [self.sample(n, size) for n in chosen[start : start + 8]]
            composite, mask, real = _tensors(*zip(*rows, strict=True))[:3]
            batches.append(Batch(composite, mask, real, ["given"] * len(rows)))
        return batches


def _tensors(composites, masks, reals) -> Tensors:
    def pictures(stack) -> Tensor:
        return torch.from_numpy(np.stack(stack)).permute(0, 3, 1, 2).contiguous().float() / 255

    mask = torch.from_numpy(np.stack(masks))[:, None].float() / 255
    lights = torch.full((len(mask), 6), torch.nan)
    return pictures(composites), mask, pictures(reals), (mask > 0.5).float(), lights


def steps_per_epoch(source: Sized, batch: int) -> int:
    """Batches of a pass through a training split, none larger than `batch`."""
    return -(-len(source) // batch)


@functools.lru_cache(maxsize=2)
def _order(count: int, seed: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).permutation(count)


class _Steps(Dataset):
    """Item n is the batch of step n, whichever process makes it, so a run can be resumed.

    With `first_of_stage` a dataset of pairs is passed through from that step on: in an epoch every composite comes
    once, in another order each time.
    """

    def __init__(self, source: Source, size: int, batch: int, seed: int, first_of_stage: int | None = None) -> None:
        self.source, self.size, self.batch, self.seed = source, size, batch, seed
        self.first_of_stage = first_of_stage

    def __getitem__(self, step: int) -> Tensors | HarmonyError:
        """A step's batch, or what is wrong with the data: a loader would put a stack trace into what is raised."""
        try:
            return self._made(step)
        except HarmonyError as error:
            return error

    def _made(self, step: int) -> Tensors:
        source, seed = self.source, [self.seed, step]
        if self.first_of_stage is None or not isinstance(source, Numbered):
            return source.batch(self.size, self.batch, seed)
        steps = steps_per_epoch(source, self.batch)
        epoch, place = divmod(step - self.first_of_stage, steps)
        order = _order(len(source), (self.seed, self.first_of_stage, epoch))
        # Nearly equal parts: a last batch of one picture would give BatchNorm little, and many processes nothing.
        chosen = order[place * len(source) // steps : (place + 1) * len(source) // steps]
        return source.batch(self.size, self.batch, seed, chosen.tolist())


def batches(
    source: Source,
    size: int,
    batch: int,
    seed: int,
    first_step: int,
    workers: int,
    first_of_stage: int | None = None,
    every: int = 1,
) -> Iterator[Tensors]:
    """Batches of step `first_step` and on, without end; with `first_of_stage` in epochs, as :class:`_Steps` has it.

    `every` leaves steps out: those between are other processes' to make.

    Raises:
        HarmonyError: when a step comes whose pictures cannot be read.
    """
    loader = DataLoader(
        _Steps(source, size, batch, seed, first_of_stage),
        batch_size=None,
        sampler=range(first_step, first_step + 10_000_000 * every, every),
        num_workers=workers,
        prefetch_factor=3 if workers else None,
        multiprocessing_context="fork" if workers else None,  # the album's pictures are shared, not copied
    )
    return _or_raised(iter(loader))


@contextlib.contextmanager
def deaths_of_workers() -> Iterator[None]:
    """Around a loop over :func:`batches`, wherever it is: PyTorch says that a worker died as soon as the signal comes.

    Raises:
        WorkFailed: one did.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise WorkFailed(
            "a process that makes composites has died, often for lack of memory; run the same command again to go on"
            " from the last checkpoint, or with fewer --workers"
        ) from None


def _or_raised(made: Iterator[Tensors | HarmonyError]) -> Iterator[Tensors]:
    for batch in made:
        if isinstance(batch, HarmonyError):
            raise batch
        yield batch
