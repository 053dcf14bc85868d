"""Composites with a known answer: a real photo whose foreground's appearance was changed.

The photo is the ground truth. A batch is a pure function of (album, plan, size, count, seed), so a resumed run and a
repeated evaluation see the same pictures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harmonyrt.common import HarmonyError
from harmonyrt.training import appearance
from harmonyrt.training.pictures import Album
from harmonyrt.training.regions import merged_region, superpixels

KINDS = {"ffhqh": 0.29, "transfer": 0.40, "tone": 0.24, "slight": 0.04, "same": 0.03}
MASKS = {"own": 0.91, "inverted": 0.03, "foreign": 0.03, "superpixels": 0.03}


@dataclass(frozen=True)
class Plan:
    """How composites are made. Kinds and masks are weights of a lottery.

    Attributes:
        kinds: ``ffhqh`` (paper, 3.2), ``transfer`` (colour statistics of another picture, as iHarmony4), ``tone``
            (exposure, white balance, curve), ``slight`` (a small tone change) and ``same`` (nothing changed).
        masks: ``own``, ``inverted`` (the background becomes the foreground), ``foreign`` (another picture's mask) and
            ``superpixels``; a photo without mask or outlines draws from the last two.
        photos: share of samples from photos without a mask file.
        crops: share of samples that are a random part of the photo; the others show all of it.
        hard_edges: share of samples whose mask is made binary.
        max_fmse: a change beyond this foreground MSE (0-255 scale) is scaled back to it: iHarmony4's makers threw
            implausible composites away by eye.
        min_fmse: a weaker change is scaled up to it (fourfold at most), but for ``slight`` and ``same``.
        regraded: share of samples whose photo, as a whole, gets another exposure, white balance, curve and saturation
            before its foreground is changed: the same red dress under many lights, so that the network learns to look
            at the background instead of knowing the dress.
        regrading: how strong that is, drawn between two bounds; 1 is as strong as kind ``tone``.
    """

    kinds: dict[str, float] = field(default_factory=KINDS.copy)
    masks: dict[str, float] = field(default_factory=MASKS.copy)
    photos: float = 0.38
    crops: float = 0.35
    hard_edges: float = 0.8
    max_fmse: float = 4000.0
    min_fmse: float = 160.0
    regraded: float = 0.3
    regrading: tuple[float, float] = (0.1, 0.5)

    def __post_init__(self) -> None:
        for lottery, known in (("kinds", KINDS), ("masks", MASKS)):
            _check_lottery(lottery, getattr(self, lottery), known)
        for share in ("photos", "crops", "hard_edges", "regraded"):
            if not _is_number(getattr(self, share)) or not 0 <= getattr(self, share) <= 1:
                raise HarmonyError(f"a plan's {share} is a share from 0 to 1, not {getattr(self, share)!r}")
        _check_bounds("min_fmse and max_fmse", (self.min_fmse, self.max_fmse))
        _check_bounds("regrading", self.regrading)


def read_plan(path: str | Path) -> Plan:
    """A plan from JSON: an object with any of :class:`Plan`'s attributes, or a run's config.json, which has one.

    Raises:
        HarmonyError: no such file, no JSON, or something in it that no plan has.
    """
    try:
        content = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise HarmonyError(
            f"{path} cannot be read as a plan ({error}); give a JSON file (see docs/training.md)"
        ) from None
    if isinstance(content, dict) and isinstance(content.get("plan"), dict):
        content = content["plan"]
    names = [entry.name for entry in fields(Plan)]
    if not isinstance(content, dict) or not set(content) <= set(names):
        raise HarmonyError(f"{path} is not a plan; give a JSON object with any of {', '.join(names)}")
    if isinstance(content.get("regrading"), list):
        content["regrading"] = tuple(content["regrading"])
    try:
        return Plan(**content)
    except HarmonyError as error:
        raise HarmonyError(f"{path}: {error}") from None


def _check_lottery(name: str, weights: object, known: Mapping[str, float]) -> None:
    if not isinstance(weights, Mapping) or not set(weights) <= set(known):
        raise HarmonyError(f"a plan's {name} are weights of {', '.join(known)}, not {weights!r}")
    if not all(_is_number(weight) and weight >= 0 for weight in weights.values()) or not sum(weights.values()):
        raise HarmonyError(f"a plan's {name} need weights from 0 on, one of them above 0, not {weights!r}")


def _check_bounds(name: str, bounds: object) -> None:
    pair = isinstance(bounds, tuple) and len(bounds) == 2 and all(map(_is_number, bounds))
    if not pair or not 0 <= bounds[0] <= bounds[1]:
        raise HarmonyError(f"a plan's {name} are two numbers from 0 on, the lower first, not {bounds!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


TEST_PLAN = Plan(
    kinds={"ffhqh": 0.27, "transfer": 0.43, "tone": 0.3},
    masks={"own": 1.0},
    photos=0.0,
    crops=0.0,
    hard_edges=1.0,
    min_fmse=250.0,
    regraded=0.0,
)
"""Validation and test: whole pictures, human masks, changed foregrounds only."""
SAME_PLAN = Plan(kinds={"same": 1.0}, masks={"own": 1.0}, photos=0.0, crops=0.0, hard_edges=1.0, regraded=0.0)
"""Pictures that are right already, to measure what the network spoils."""


@dataclass
class Batch:
    """Float tensors in [0, 1]: composite and real (B,3,S,S), mask (B,1,S,S); `kinds` names each sample's change."""

    composite: Tensor
    mask: Tensor
    real: Tensor
    kinds: list[str]


class Composer:
    """Makes batches from an album."""

    def __init__(self, album: Album, plan: Plan) -> None:
        self.album, self.plan = album, plan
        self.masked = [i for i, picture in enumerate(album.pictures) if picture.mask is not None]
        anywhere = plan.masks.get("superpixels") or (self.masked and plan.masks.get("foreign"))
        outlined = plan.masks.get("own") or plan.masks.get("inverted")
        bare = [i for i, picture in enumerate(album.pictures) if picture.mask is None]
        self.photos = [i for i in bare if anywhere or (outlined and album.masks(i))]
        # Street fashion is most of the masked pictures; half of the draws keep the network from specialising on it.
        fashion = np.array([album.pictures[i].source == "ccp" for i in self.masked])
        share = fashion.mean() if self.masked else 0.0
        odds = np.where(fashion, 0.5 / max(share, 1e-9), 0.5 / max(1 - share, 1e-9))
        self.odds = odds / odds.sum() if len(odds) else odds
        self.labels: dict[int, np.ndarray] = {}

    def batch(self, size: int, count: int, seed: Sequence[int], indices: Sequence[int] | None = None) -> Batch:
        """Make `count` samples of size x size pixels; `indices` chooses the pictures instead of the lottery."""
        rng = np.random.default_rng(list(seed))
        samples = [self._sample(size, rng, None if indices is None else indices[n]) for n in range(count)]
        photos, masks = zip(*samples, strict=True)
        real = torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).contiguous().float() / 255
        mask = torch.from_numpy(np.stack(masks))[:, None].float() / 255
        hard = torch.from_numpy(rng.random(count) < self.plan.hard_edges).view(-1, 1, 1, 1)
        mask = torch.where(hard, (mask > 0.5).float(), mask)
        if self.plan.regraded:
            strength = rng.uniform(*self.plan.regrading, count)
            real = _where(rng, self.plan.regraded, _in_8_bits(_tone(real, mask, None, rng, strength)), real)
        kinds = self._kinds(count, rng)
        changed = self._changed(real, mask, kinds, rng, lambda chosen: self._others(real, mask, chosen, rng))
        return Batch(_composed(real, changed, mask), mask, real, kinds)

    def change(self, real: Tensor, mask: Tensor, rng: np.random.Generator) -> Tensor:
        """Composite (1,3,H,W) of one photo of any size; colour statistics come from a random picture of the album."""

        def others(chosen: list[int]) -> tuple[Tensor, Tensor]:
            index = int(rng.integers(len(self.album)))
            photo = torch.from_numpy(np.array(self.album.crop(index, (0, 0, 1, 1), 128)))
            return photo.permute(2, 0, 1)[None].float() / 255, torch.ones(1, 1, 128, 128)

        changed = self._changed(real, mask, self._kinds(1, rng), rng, others)
        return _composed(real, changed, mask)

    def _kinds(self, count: int, rng: np.random.Generator) -> list[str]:
        names = list(self.plan.kinds)
        return [names[k] for k in rng.choice(len(names), count, p=_shares(self.plan.kinds.values()))]

    def _sample(self, size: int, rng: np.random.Generator, index: int | None) -> tuple[np.ndarray, np.ndarray]:
        if index is None:
            if not self.masked and not self.photos:
                raise HarmonyError("no picture can be given a mask of this plan; add superpixels to the plan's masks")
            if self.photos and (not self.masked or rng.random() < self.plan.photos):
                index = int(rng.choice(self.photos))
            else:
                index = int(rng.choice(self.masked, p=self.odds))
        for _ in range(4):
            box = self._box(rng)
            mask = self._mask(index, box, size, rng)
            if 0.01 <= mask.mean() / 255 <= 0.9:
                break
        else:
            box = (0.0, 0.0, 1.0, 1.0)
            mask = self._mask(index, box, size, rng)
        photo = np.asarray(self.album.crop(index, box, size))
        if self.plan.crops and rng.random() < 0.5:
            return photo[:, ::-1], mask[:, ::-1]
        return photo, mask

    def _box(self, rng: np.random.Generator) -> tuple[float, float, float, float]:
        if rng.random() >= self.plan.crops:
            return 0.0, 0.0, 1.0, 1.0
        width, height = rng.uniform(0.5, 1, 2)
        left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
        return left, top, left + width, top + height

    def _mask(self, index: int, box, size: int, rng: np.random.Generator) -> np.ndarray:
        odds = self.plan.masks
        own = self.album.masks(index)
        names = [n for n in odds if own or (n == "foreign" and self.masked) or n == "superpixels"]
        name = names[int(rng.choice(len(names), p=_shares(odds[n] for n in names)))]
        if name == "superpixels":
            if index not in self.labels:
                self.labels[index] = superpixels(self.album.crop(index, (0, 0, 1, 1), 72))
            region = merged_region(self.labels[index], rng)
            pixels = tuple(edge * 72 for edge in box)
            soft = region.resize((size, size), Image.Resampling.BICUBIC, box=pixels)
            return np.asarray(soft)
        if name == "foreign":
            other = int(rng.choice(self.masked))
            mask = np.asarray(self.album.crop(other, self._box(rng), size, mask=True))
            return mask[:, ::-1] if rng.random() < 0.5 else mask
        mask = np.asarray(self.album.crop(index, box, size, mask=True, which=int(rng.integers(own))))
        return 255 - mask if name == "inverted" else mask

    def _changed(
        self,
        real: Tensor,
        mask: Tensor,
        kinds: list[str],
        rng: np.random.Generator,
        others_of: Callable[[list[int]], tuple[Tensor, Tensor]],
    ) -> Tensor:
        changed = real.clone()
        for kind, make in _MAKERS.items():
            chosen = [n for n, name in enumerate(kinds) if name == kind]
            if chosen:
                changed[chosen] = make(real[chosen], mask[chosen], others_of(chosen), rng)
        changed = changed.nan_to_num(0.0).clamp(0, 1)
        error = (changed - real).square()
        fmse = (error * mask).sum((1, 2, 3)) / (3 * mask.sum((1, 2, 3)).clamp(min=1)) * 255**2
        scale = torch.sqrt(self.plan.max_fmse / fmse.clamp(min=1)).clamp(max=1)
        meant = torch.tensor([kind not in ("slight", "same") for kind in kinds])
        scale = torch.where(meant, torch.maximum(scale, torch.sqrt(self.plan.min_fmse / fmse).clamp(max=4)), scale)
        return (real + (changed - real) * scale.nan_to_num(1.0).view(-1, 1, 1, 1)).clamp(0, 1)

    def _others(self, real: Tensor, mask: Tensor, chosen: list[int], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """For each chosen sample another sample of the batch and a region in it: its foreground, or all of it."""
        count = len(real)
        other = [(n + int(rng.integers(1, max(count, 2)))) % count for n in chosen]
        whole = torch.from_numpy(rng.random(len(chosen)) < 0.4).view(-1, 1, 1, 1)
        return real[other], torch.where(whole, torch.ones(()), mask[other])


def _composed(real: Tensor, changed: Tensor, mask: Tensor) -> Tensor:
    """Changed under the mask, in 8 bits, as a composite on disk would be."""
    return _in_8_bits(real + (changed - real) * mask)


def _in_8_bits(picture: Tensor) -> Tensor:
    return (picture * 255).round().clamp(0, 255) / 255


def _shares(weights) -> np.ndarray:
    weights = np.asarray(list(weights), np.float64)
    return weights / weights.sum()


def _uniform(rng: np.random.Generator, low: float | np.ndarray, high: float | np.ndarray, *shape: int) -> Tensor:
    return torch.from_numpy(rng.uniform(low, high, shape).astype(np.float32))


def _where(rng: np.random.Generator, share: float, changed: Tensor, unchanged: Tensor) -> Tensor:
    chosen = torch.from_numpy(rng.random(len(changed)) < share).view(-1, 1, 1, 1)
    return torch.where(chosen, changed, unchanged)


FFHQH_SIDE = 1024
"""Pixels per side of the paper's pictures: sharpening with factor 4 there is far less on a picture scaled down."""


def _ffhqh(real: Tensor, mask: Tensor, others, rng: np.random.Generator) -> Tensor:
    """The paper's section 3.2 with its ranges."""
    count = len(real)
    picture = appearance.colour_jitter(
        real,
        mask,
        brightness=_uniform(rng, 0.5, 1.5, count),
        contrast=_uniform(rng, 0.6, 1.4, count),
        saturation=_uniform(rng, 0.94, 1.06, count),
        hue=_uniform(rng, -0.05, 0.05, count),
    ).clamp(0, 1)
    picture = _where(rng, 0.5, appearance.posterize(picture, bits=6), picture)
    factor = torch.full((count,), 1 + 3 * real.shape[-1] / FFHQH_SIDE)
    picture = _where(rng, 0.5, appearance.sharpen(picture, factor), picture)
    return _where(rng, 0.5, appearance.autocontrast(picture, mask), picture)


def _transfer(real: Tensor, mask: Tensor, others: tuple[Tensor, Tensor], rng: np.random.Generator) -> Tensor:
    """One of three transfers, mixed with the original: iHarmony4 has both mild and full ones."""
    picture = real.clone()
    ways = (appearance.transfer_mean_std, appearance.transfer_covariance, appearance.transfer_histogram)
    drawn = rng.choice(3, len(real), p=(0.45, 0.3, 0.25))
    for way, transfer in enumerate(ways):
        chosen = np.flatnonzero(drawn == way).tolist()
        if chosen:
            other, region = others
            picture[chosen] = transfer(real[chosen], mask[chosen], other[chosen], region[chosen])
    strength = _uniform(rng, 0.5, 1.0, len(real)).view(-1, 1, 1, 1)
    return real + (picture - real) * strength


def _tone(real: Tensor, mask: Tensor, others, rng: np.random.Generator, strength: float | np.ndarray = 1.0) -> Tensor:
    """Another exposure, white balance, curve and saturation; `strength` is one for all, or one per sample (count,)."""
    count = len(real)
    strength = np.broadcast_to(strength, count)
    gains = torch.exp(torch.from_numpy(rng.normal(0, 0.22 * strength[:, None], (count, 3)).astype(np.float32)))
    return appearance.tone(
        real,
        exposure=_uniform(rng, -1.4 * strength, 1.4 * strength, count),
        gains=gains / gains.mean(1, keepdim=True),
        gamma=torch.exp(_uniform(rng, -0.4 * strength, 0.4 * strength, count)),
        curve=_uniform(rng, -0.7 * strength, 0.7 * strength, count),
        saturation=_uniform(rng, 1 - 0.5 * strength, 1 + 0.4 * strength, count),
    )


def _slight(real: Tensor, mask: Tensor, others, rng: np.random.Generator) -> Tensor:
    return _tone(real, mask, others, rng, strength=0.15)


_MAKERS = {"ffhqh": _ffhqh, "transfer": _transfer, "tone": _tone, "slight": _slight}
