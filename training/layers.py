"""Composites in layers: the object is taken out of its photo, its place is filled, and it is laid over again.

Its colour is changed before it is laid over, so no pixel outside the mask ever shows the object's true colour. (Under a
hard mask on a photo, the fringe outside does, and a network learns to read the answer there.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harmonyrt.training.filters import blurred, filled, grown, rolled

LARGEST_LAYER = 0.6
"""Share of the picture from which on an object is left as it is: little scene remains to be filled from."""
LARGEST_MOVED, SMALLEST_MOVED = 0.4, 0.008
MARGIN = 3
"""Pixels by which the hole is larger than the mask: the fringe shows the object too."""


@dataclass
class Layers:
    """`scene` and `layer` (N,3,S,S), `alpha` (N,1,S,S); `ways` says of each sample: moved, in place, or plain."""

    scene: Tensor
    layer: Tensor
    alpha: Tensor
    ways: list[str]

    def over_scenes(self, scenes: int, count: int) -> Layers:
        """Every sample `scenes` times, one after another; the first `count` of all."""
        scene, layer, alpha = (t.repeat_interleave(scenes, 0)[:count] for t in (self.scene, self.layer, self.alpha))
        return Layers(scene, layer, alpha, [way for way in self.ways for _ in range(scenes)][:count])

    def over(self, layer: Tensor, scene: Tensor) -> Tensor:
        """The composite, in 8 bits, of a layer over a scene."""
        return in_8_bits(scene + (layer - scene) * self.alpha)


def in_8_bits(pictures: Tensor) -> Tensor:
    """As pictures on disk would be."""
    return (pictures * 255).round().clamp(0, 255) / 255


def taken_apart(photos: Tensor, masks: Tensor, rng: np.random.Generator, moved: float, in_place: float) -> Layers:
    """Photos (N,3,S,S) as layers.

    Args:
        photos: real photos.
        masks: (N,1,S,S), soft or hard.
        rng: decides all.
        moved: share of the samples whose object goes elsewhere in its photo, mirrored or not, at 0.7 to 1.3 its size.
        in_place: share whose object stays; what remains is plain: the photo itself under its hard mask.
    """
    area = masks.mean((1, 2, 3)).numpy()
    draw = rng.random(len(photos))
    ways = []
    for n, (share, where) in enumerate(zip(area, draw, strict=True)):
        way = "moved" if where < moved else "in place" if where < moved + in_place else "plain"
        if way == "moved" and not SMALLEST_MOVED <= share <= LARGEST_MOVED:
            way = "in place"
        ways.append("plain" if share > LARGEST_LAYER or float(masks[n].sum()) < 30 else way)
    layer, alpha = _moved(photos, masks, ways, rng)
    layered = torch.tensor([way != "plain" for way in ways]).view(-1, 1, 1, 1)
    scene = torch.where(layered, without_object(photos, masks, rng), photos)
    alpha = torch.where(layered, _soft_edge(alpha, rng), (masks > 0.5).float())
    return Layers(scene, layer, alpha, ways)


def without_object(photos: Tensor, masks: Tensor, rng: np.random.Generator, textured: float = 0.6) -> Tensor:
    """Photos whose objects are gone: filled from around them, a share of them with texture from elsewhere over it."""
    holes = (grown(masks, torch.full((len(masks),), MARGIN)) > 0.05).float()
    result = filled(photos, holes)
    side = photos.shape[-1]
    small = functional.max_pool2d(holes, 4)
    across, down, found = (np.zeros(len(photos), np.int64) for _ in range(3))
    wanted = rng.random(len(photos)) < textured
    for n in np.flatnonzero(wanted):
        for _ in range(6):
            x, y = rng.integers(side // 8, side - side // 8, 2)
            shifted = torch.roll(small[n], (int(y) // 4, int(x) // 4), (1, 2))
            if float((shifted * small[n]).sum()) < 0.15 * float(small[n].sum()):
                across[n], down[n], found[n] = x, y, 1
                break
    x, y = torch.from_numpy(across), torch.from_numpy(down)
    free = 1 - rolled(holes, x, y)
    cover = blurred(holes, torch.full((len(holes),), 1.5)) * holes * free
    cover = cover * torch.from_numpy(found).view(-1, 1, 1, 1)
    return result * (1 - cover) + rolled(photos, x, y) * cover


def _moved(photos: Tensor, masks: Tensor, ways: list[str], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The objects of samples whose way is "moved", at another place; a way turns to "in place" where none is found."""
    side = photos.shape[-1]
    small = functional.avg_pool2d(masks, 4, ceil_mode=True)
    maps = torch.eye(2, 3).repeat(len(photos), 1, 1)
    for n, way in enumerate(ways):
        if way != "moved":
            continue
        found = _new_place(small[n : n + 1], rng)
        if found is None:
            ways[n] = "in place"
        else:
            maps[n] = found
    chosen = [n for n, way in enumerate(ways) if way == "moved"]
    layer, alpha = photos.clone(), masks.clone()
    if chosen:
        grid = functional.affine_grid(maps[chosen], [len(chosen), 1, side, side], align_corners=False)
        layer[chosen] = functional.grid_sample(photos[chosen], grid, padding_mode="border", align_corners=False)
        alpha[chosen] = functional.grid_sample(masks[chosen], grid, align_corners=False).clamp(0, 1)
    return layer, alpha


def _new_place(mask: Tensor, rng: np.random.Generator) -> Tensor | None:
    """A map (2,3) from places in the result to places in the photo that keeps 60 % of the object inside."""
    side = mask.shape[-1]
    weight = mask[0, 0] / mask.sum()
    places = (torch.arange(side) + 0.5) / side * 2 - 1
    x, y = float((weight.sum(0) * places).sum()), float((weight.sum(1) * places).sum())
    for _ in range(8):
        size, mirrored = rng.uniform(0.7, 1.3), rng.choice((-1.0, 1.0))
        distance, angle = rng.uniform(0.2, 1.2), rng.uniform(0, 2 * math.pi)  # 2 is the side
        new_x, new_y = x + distance * math.cos(angle), y + distance * math.sin(angle)
        found = torch.tensor(
            [[mirrored / size, 0, x - mirrored * new_x / size], [0, 1 / size, y - new_y / size]], dtype=torch.float32
        )
        grid = functional.affine_grid(found[None], [1, 1, side, side], align_corners=False)
        inside = functional.grid_sample(mask, grid, align_corners=False).sum()
        if float(inside) >= 0.6 * size * size * float(mask.sum()):
            return found
    return None


def _soft_edge(alpha: Tensor, rng: np.random.Generator) -> Tensor:
    """As cut-outs have it: some a pixel tighter, most a little soft."""
    count = len(alpha)
    tighter = grown(alpha, torch.from_numpy(-rng.integers(0, 2, count)))
    alpha = torch.where(tighter.sum((1, 2, 3), keepdim=True) > 60, tighter, alpha)
    sigma = rng.uniform(0.5, 1.0, count) * (rng.random(count) < 0.6)
    return blurred(alpha, torch.from_numpy(sigma.astype(np.float32)))
