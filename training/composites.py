"""Composites with a known answer: a real photo whose foreground's appearance was changed.

The photo is the ground truth. A batch is a pure function of (album, plan, size, count, seed), so a resumed run and a
repeated evaluation see the same pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harmonyrt.common import HarmonyError
from harmonyrt.training import appearance
from harmonyrt.training.changes import CHANGES, Others, chosen_by_lot, tone_of
from harmonyrt.training.edges import given_masks, stripped
from harmonyrt.training.layers import Layers, in_8_bits, taken_apart
from harmonyrt.training.pictures import Album
from harmonyrt.training.plan import CompositePlan
from harmonyrt.training.regions import merged_region, superpixels


@dataclass
class Batch:
    """Float tensors in [0, 1].

    Attributes:
        composite, real: (B,3,S,S).
        mask: (B,1,S,S), as the network is given it; it may be off.
        kinds: each sample's change; those made in layers add how: ``"tone, moved"``.
        agreed: (B,1,S,S), where the given mask and the object's own agree on the object: the truth is known there.
            None where the given masks are the objects' own.
        lights: (B,6), of samples made in layers: how the object and the scene were changed from their photo
            (:func:`light_of`); None for others.
    """

    composite: Tensor
    mask: Tensor
    real: Tensor
    kinds: list[str]
    agreed: Tensor | None = None
    lights: Tensor | None = None

    def known(self) -> Tensor:
        """Where the truth is known, (B,1,S,S)."""
        return (self.mask > 0.5).float() if self.agreed is None else self.agreed


@dataclass
class Layered:
    """Samples before they are joined: layers, the changed objects (N,3,S,S), the kinds of change, ``Batch.lights``."""

    layers: Layers
    changed: Tensor
    kinds: list[str]
    lights: Tensor

    def composite(self) -> Tensor:
        return self.layers.over(self.changed, self.layers.scene)

    def real(self) -> Tensor:
        return self.layers.over(self.layers.layer, self.layers.scene)


def light_of(before: Tensor, after: Tensor, mask: Tensor) -> Tensor:
    """(N,3): log2 of brightness, of red over green and of blue over green, by which pictures changed under a mask."""

    def colours(pictures: Tensor) -> Tensor:
        sums = (pictures.clamp(0, 1) ** 2.2 * mask).sum((2, 3))
        return torch.log2(sums / (mask.sum((2, 3)) + 1e-6) + 2e-3)

    stops = colours(after) - colours(before)
    return torch.stack([stops.mean(1), stops[:, 0] - stops[:, 1], stops[:, 2] - stops[:, 1]], 1)


class Composer:
    """Makes batches from an album."""

    def __init__(self, album: Album, plan: CompositePlan) -> None:
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
        """Make `count` samples of size x size pixels; `indices` chooses the pictures instead of a draw."""
        rng = np.random.default_rng(list(seed))
        if self.plan.in_layers:
            return self._layered(size, count, rng, indices)
        real, mask = self._photos(size, count, rng, indices)
        mask = self._hardened(mask, rng)
        if self.plan.regraded:
            strength = rng.uniform(*self.plan.regrading, count)
            settings = tone_of(count, strength, rng, self.plan.white_balance, self.plan.exposures)
            real = chosen_by_lot(rng, self.plan.regraded, in_8_bits(appearance.tone(real, **settings)), real)
        kinds = self._kinds(count, rng)
        changed = self._changed(real, mask, kinds, rng, lambda chosen: self._others(real, mask, chosen, rng))
        return self._with_edges(Batch(_composed(real, changed, mask), mask, real, kinds), rng)

    def _photos(
        self, size: int, count: int, rng: np.random.Generator, indices: Sequence[int] | None
    ) -> tuple[Tensor, Tensor]:
        samples = [self._sample(size, rng, None if indices is None else indices[n]) for n in range(count)]
        photos, masks = zip(*samples, strict=True)
        real = torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).contiguous().float() / 255
        return real, torch.from_numpy(np.stack(masks))[:, None].float() / 255

    def _hardened(self, mask: Tensor, rng: np.random.Generator) -> Tensor:
        hard = torch.from_numpy(rng.random(len(mask)) < self.plan.hard_edges).view(-1, 1, 1, 1)
        return torch.where(hard, (mask > 0.5).float(), mask)

    def _layered(self, size: int, count: int, rng: np.random.Generator, indices: Sequence[int] | None) -> Batch:
        """Layers of each object, over as many scenes as the plan says, regraded and changed before they are joined."""
        made = self.layered(size, count, rng, indices)
        names = [f"{kind}, {way}" for kind, way in zip(made.kinds, made.layers.ways, strict=True)]
        mask = self._hardened(made.layers.alpha, rng)
        return self._with_edges(Batch(made.composite(), mask, made.real(), names, lights=made.lights), rng)

    def layered(self, size: int, count: int, rng: np.random.Generator, indices: Sequence[int] | None = None) -> Layered:
        """What :meth:`batch` joins."""
        plan = self.plan
        photos, masks = self._photos(size, -(-count // plan.scenes), rng, indices)
        single = taken_apart(photos, masks, rng, plan.moved, plan.in_place)
        photo = single.over_scenes(plan.scenes, count)
        strength = rng.uniform(*plan.regrading, count) * (rng.random(count) < plan.regraded)
        settings = tone_of(count, strength, rng, plan.white_balance, plan.exposures)
        scene, layer = (appearance.tone(part, **settings).clamp(0, 1) for part in (photo.scene, photo.layer))
        layers = Layers(scene, layer, photo.alpha, photo.ways)
        kinds = self._kinds(count, rng)
        others = lambda chosen: self._others(layer, layers.alpha, chosen, rng)  # noqa: E731
        changed = self._changed(layer, layers.alpha, kinds, rng, others)
        if plan.independent:
            changed = self._with_looks(changed, layers, single, kinds, rng)
        of_object = light_of(photo.layer, changed, photo.alpha)
        of_scene = light_of(photo.scene, scene, 1 - photo.alpha)
        return Layered(layers, changed, kinds, torch.cat([of_object, of_scene], 1))

    def _with_looks(
        self, changed: Tensor, layers: Layers, single: Layers, kinds: list[str], rng: np.random.Generator
    ) -> Tensor:
        """Objects of the plan's share in a look that is the same in all of their scenes; `kinds` is updated."""
        plan, objects = self.plan, len(single.layer)
        drawn = tone_of(objects, rng.uniform(*plan.looks, objects), rng, plan.white_balance, plan.exposures)
        looks = appearance.tone(single.layer, **drawn).clamp(0, 1)
        chosen = rng.random(objects) < plan.independent
        changed = changed.clone()
        for n, kind in enumerate(kinds):
            if chosen[n // plan.scenes] and kind != "same":
                changed[n], kinds[n] = looks[n // plan.scenes], "look"
        return self._bounded(layers.layer, changed, layers.alpha, least=None)

    def _with_edges(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Masks and edges as in practice, on the plan's share of samples."""
        if not self.plan.spoilt_edges:
            return batch
        count = len(batch.mask)
        spoilt = rng.random(count) < self.plan.spoilt_edges
        plain = np.array([not kind.endswith("moved") for kind in batch.kinds])
        share = torch.from_numpy(np.where(plain, 0.65, 0.25) * spoilt)
        composite, real = stripped(batch.composite, batch.real, batch.mask, rng, share)
        given = given_masks(batch.mask, rng, 0.7)
        given = torch.where(torch.from_numpy(spoilt).view(-1, 1, 1, 1), given, batch.mask)
        agreed = ((batch.mask > 0.5) & (given > 0.5)).float()
        return Batch(in_8_bits(composite), given, in_8_bits(real), batch.kinds, agreed, batch.lights)

    def change(self, real: Tensor, mask: Tensor, rng: np.random.Generator) -> Tensor:
        """Composite (1,3,H,W) of one photo of any size; colour statistics come from a random picture of the album."""

        def others(chosen: list[int]) -> Others:
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
        others_of: Callable[[list[int]], Others],
    ) -> Tensor:
        changed = real.clone()
        for kind, change in CHANGES.items():
            chosen = [n for n, name in enumerate(kinds) if name == kind]
            if chosen:
                changed[chosen] = change(real[chosen], mask[chosen], others_of(chosen), self.plan, rng)
        meant = torch.tensor([kind not in ("slight", "same") for kind in kinds])
        return self._bounded(real, changed, mask, meant)

    def _bounded(self, real: Tensor, changed: Tensor, mask: Tensor, least: Tensor | None) -> Tensor:
        """Changes scaled to the plan's largest error and, where `least` (N,) is set, to its smallest."""
        changed = changed.nan_to_num(0.0).clamp(0, 1)
        error = (changed - real).square()
        fmse = (error * mask).sum((1, 2, 3)) / (3 * mask.sum((1, 2, 3)).clamp(min=1)) * 255**2
        scale = torch.sqrt(self.plan.max_fmse / fmse.clamp(min=1)).clamp(max=1)
        if least is not None:
            larger = torch.maximum(scale, torch.sqrt(self.plan.min_fmse / fmse).clamp(max=4))
            scale = torch.where(least, larger, scale)
        return (real + (changed - real) * scale.nan_to_num(1.0).view(-1, 1, 1, 1)).clamp(0, 1)

    def _others(self, real: Tensor, mask: Tensor, chosen: list[int], rng: np.random.Generator) -> Others:
        """For each chosen sample another sample of the batch and a region in it: its foreground, or all of it."""
        count = len(real)
        other = [(n + int(rng.integers(1, max(count, 2)))) % count for n in chosen]
        whole = torch.from_numpy(rng.random(len(chosen)) < 0.4).view(-1, 1, 1, 1)
        return real[other], torch.where(whole, torch.ones(()), mask[other])


def _composed(real: Tensor, changed: Tensor, mask: Tensor) -> Tensor:
    """Changed under the mask, in 8 bits, as a composite on disk would be."""
    return in_8_bits(real + (changed - real) * mask)


def _shares(weights) -> np.ndarray:
    weights = np.asarray(list(weights), np.float64)
    return weights / weights.sum()
