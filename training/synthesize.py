"""Write a dataset of composites in iHarmony4's folder layout, for any program that reads that layout (ours does)."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.common.files import make_folder
from harmonyrt.training import ffhqh
from harmonyrt.training.composites import Composer
from harmonyrt.training.files import read_mask_of, read_photo
from harmonyrt.training.pictures import Album, Picture, find_pictures
from harmonyrt.training.plan import TEST_PLAN, CompositePlan
from harmonyrt.training.regions import merged_region, superpixels

SPLITS = ("train", "val", "test")
QUALITY = 95
_FOLDERS = ("composite_images", "masks", "real_images")


@dataclass(frozen=True)
class SynthesisConfig:
    """What to write.

    Attributes:
        data: data root (see ``pictures.py``).
        out: dataset folder, created; must be empty or absent.
        variants: composites per picture.
        plan: how the foregrounds change.
        photos: give photos without masks a foreground of merged superpixels (they are in the train split only).
        seed: the same seed writes the same files.
        preset: ``plan`` makes composites by `plan`; ``ffhqh`` as the PHNet paper made FFHQH (:mod:`.ffhqh`): soft
            mattes, its augmentation without bounds, its split. Every photo needs a mask then.
        mattes: where masks come from instead of masks/: a folder of mattes, or ``module:function``
            (:func:`harmonyrt.training.ffhqh.mask_source`).
    """

    data: Path
    out: Path
    variants: int = 2
    plan: CompositePlan = field(default_factory=lambda: TEST_PLAN)
    photos: bool = True
    seed: int = 0
    preset: Literal["plan", "ffhqh"] = "plan"
    mattes: str | None = None


@dataclass(frozen=True)
class SynthesisResult:
    """Composites written, by split."""

    out: Path
    composites: dict[str, int]


def synthesize(config: SynthesisConfig, progress: Callable[[int, int], None] | None = None) -> SynthesisResult:
    """Write ``real_images/NAME.jpg``, ``masks/NAME_1.png``, ``composite_images/NAME_1_VARIANT.jpg`` and the lists.

    Pictures keep their size. ``train.txt``, ``val.txt`` and ``test.txt`` name one composite a line, split by picture.
    Composite and real picture pass the same JPEG encoder at the same quality, so their backgrounds nearly agree.

    Args:
        config: what to write.
        progress: called with (pictures done, pictures in all).

    Raises:
        HarmonyError: no pictures, or an output folder that is not empty.
    """
    job = prepared(config)
    do, results = job.open(), []
    for index in range(len(job.pictures)):
        results.append(do(index))
        if progress is not None:
            progress(index + 1, len(job.pictures))
    return finished(config, results)


@dataclass(frozen=True)
class SynthesisJob:
    """The composites of each picture, by its index; also a job for the fleet, whose workers all see the folders.

    Attributes:
        config: what to write.
        pictures: all of them; composites may borrow from each other.
        names: stems of their files.
    """

    config: SynthesisConfig
    pictures: list[Picture]
    names: list[str]

    def open(self) -> Callable[[int], tuple[str, list[str]]]:
        """What writes the files of one picture and returns its split and the names of its composites."""
        for name in _FOLDERS:
            make_folder(self.config.out / name, "choose another folder")
        composer = Composer(Album(self.pictures), self.config.plan)
        source = None if self.config.mattes is None else ffhqh.mask_source(self.config.mattes)
        return lambda index: self._written(composer, source, index)

    def lost(self, index: int, deaths: int) -> tuple[str, list[str]]:
        """A picture that no worker survived stops the work: the dataset would differ from that of another run."""
        raise WorkFailed(f"{self.pictures[index].image}: {deaths} workers died of it; remove it or add memory")

    def _written(self, composer: Composer, source: ffhqh.MaskSource | None, index: int) -> tuple[str, list[str]]:
        picture, lines = self.pictures[index], []  # type: ignore[var-annotated]
        rng = np.random.default_rng([self.config.seed, zlib.crc32(picture.name.encode())])
        real, mask = _load(picture, rng, source)
        as_paper = self.config.preset == "ffhqh"
        if not as_paper:
            mask = np.where(mask > 127, 255, 0).astype(np.uint8)
        if mask.max() >= 128:  # else there is nothing under the mask
            with _writing(self.config.out):
                _write_one(self.config, composer, self.names[index], real, mask, rng, lines)
        return ffhqh.split_of(picture.name) if as_paper else picture.split, lines


def prepared(config: SynthesisConfig) -> SynthesisJob:
    """Find the pictures.

    Raises:
        HarmonyError: no pictures, or an output folder that is not empty.
    """
    if config.variants < 1:
        raise HarmonyError(f"{config.variants} variants were asked for; give 1 or more")
    pictures = find_pictures(config.data)
    if config.mattes is not None:
        ffhqh.mask_source(config.mattes)  # a sentence now, not from a worker
    elif config.preset == "ffhqh":
        bare = [picture for picture in pictures if picture.mask is None]
        if bare:
            raise HarmonyError(
                f"{len(bare)} photos have no masks, the first of them {bare[0].image}; give --mattes a folder of"
                " mattes or module:function of a matting step, or remove them"
            )
    else:
        pictures = [picture for picture in pictures if picture.mask is not None or config.photos]
    if not pictures:
        raise HarmonyError(f"{config.data} has no pictures with masks; add masks/, or allow photos without masks")
    _check_empty(config.out)
    return SynthesisJob(config, pictures, _short_names(pictures))


def finished(config: SynthesisConfig, results: Iterable[tuple[str, list[str]]]) -> SynthesisResult:
    """Write the lists; `results` are what the job returned for every picture, in any order."""
    lists: dict[str, list[str]] = {split: [] for split in SPLITS}
    for split, lines in results:
        lists[split] += lines
    with _writing(config.out):
        for split, lines in lists.items():
            (config.out / f"{split}.txt").write_text("".join(f"composite_images/{line}\n" for line in sorted(lines)))
    return SynthesisResult(config.out, {split: len(lines) for split, lines in lists.items()})


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorkFailed(f"cannot write to {out}: {error.strerror}; free some space and run again") from None


def _check_empty(out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        raise HarmonyError(f"{out} is not empty; choose a new folder for the dataset")


def _short_names(pictures: list[Picture]) -> list[str]:
    """File stems, which iHarmony4's names are built from; a stem that two folders share gets its folder in front."""
    stems = [picture.image.stem.replace("_", "-") for picture in pictures]
    counts: dict[str, int] = {}
    for stem in stems:
        counts[stem] = counts.get(stem, 0) + 1
    return [
        stem if counts[stem] == 1 else f"{picture.source.replace('_', '-')}-{n}-{stem}"
        for n, (stem, picture) in enumerate(zip(stems, pictures, strict=True))
    ]


def _load(picture: Picture, rng: np.random.Generator, source: ffhqh.MaskSource | None) -> tuple[np.ndarray, np.ndarray]:
    """(H,W,3) and (H,W) uint8; the mask may be soft."""
    photo = read_photo(picture.image)
    pixels = np.asarray(photo.image)
    if source is not None:
        return pixels, ffhqh.checked_matte(source(picture.image, photo), pixels, picture.image)
    if picture.mask is None:
        mask = merged_region(superpixels(photo.image), rng).resize(photo.size, Image.Resampling.BICUBIC)
    else:
        mask = read_mask_of(picture.mask, photo, picture.image).resize(photo.size)
    return pixels, np.asarray(mask)


def _write_one(
    config: SynthesisConfig,
    composer: Composer,
    name: str,
    real: np.ndarray,
    mask: np.ndarray,
    rng: np.random.Generator,
    lines: list[str],
) -> None:
    Image.fromarray(real).save(config.out / "real_images" / f"{name}.jpg", quality=QUALITY)
    Image.fromarray(mask).save(config.out / "masks" / f"{name}_1.png")
    photo = torch.from_numpy(real.copy()).permute(2, 0, 1)[None].float() / 255
    area = torch.from_numpy(mask.copy())[None, None].float() / 255
    for variant in range(1, config.variants + 1):
        if config.preset == "ffhqh":
            pixels = ffhqh.composite_of(real, mask, rng)
        else:
            composite = composer.change(photo, area, rng)
            pixels = (composite[0] * 255).round().byte().permute(1, 2, 0).numpy()
        file = f"{name}_1_{variant}.jpg"
        Image.fromarray(pixels).save(config.out / "composite_images" / file, quality=QUALITY)
        lines.append(file)
