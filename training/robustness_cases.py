"""The cases of the robustness suite: fixed composites, and each of them as it occurs in practice.

Pixels are given for pictures of 128 x 128 and grow with the size.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from harmonyrt.training.composites import Composer
from harmonyrt.training.edges import NOMINAL_SIDE, off_by
from harmonyrt.training.filters import blurred, grown, rolled
from harmonyrt.training.layers import Layers, in_8_bits
from harmonyrt.training.pictures import Album
from harmonyrt.training.plan import TEST_PLAN

SEED = 20
"""Of the layered composites; figures are comparable only as long as it stays."""
LAYERED_PLAN = replace(TEST_PLAN, min_fmse=100.0, max_fmse=10000.0, tones=(0.5, 1.43), in_place=1.0)
MOVED_PLAN = replace(LAYERED_PLAN, in_place=0.0, moved=1.0)
GREY = 0.5
Reframe = Callable[[Tensor], Tensor]


@dataclass
class Case:
    """One situation for every picture.

    Attributes:
        name: as in the table.
        composite, real: (N,3,H,W), 8 bits in [0, 1].
        mask: (N,1,H,W), as the network is given it.
        scored: (N,1,H,W), where the truth is known.
        base: name of the case whose answer this one's is compared with, or None.
        reframe: brings the base's answer into this case's frame.
    """

    name: str
    composite: Tensor
    mask: Tensor
    real: Tensor
    scored: Tensor
    base: str | None = None
    reframe: Reframe = lambda answer: answer


@dataclass
class Materials:
    """What all cases are made of.

    Attributes:
        plain: composite, mask and real of the old test: each photo under its exact hard mask, fringe and all.
        placed, moved: layers of the objects in place and elsewhere, and the changed objects.
    """

    plain: tuple[Tensor, Tensor, Tensor]
    placed: tuple[Layers, Tensor]
    moved: tuple[Layers, Tensor]

    @property
    def side(self) -> int:
        return self.plain[0].shape[-1]


def materials(album: Album, size: int, seed: int = SEED) -> Materials:
    """One sample for every picture of an album; objects that cannot be moved are left out of `moved`."""
    every = range(len(album))
    plain = Composer(album, TEST_PLAN).batch(size, len(album), [7], every)  # 7: the old test's seed
    placed, moved = (
        Composer(album, plan).layered(size, len(album), np.random.default_rng([seed, n]), every)
        for n, plan in enumerate((LAYERED_PLAN, MOVED_PLAN))
    )
    return Materials(
        (plain.composite, plain.mask, plain.real),
        _only("in place", placed.layers, placed.changed),
        _only("moved", moved.layers, moved.changed),
    )


def _only(way: str, layers: Layers, changed: Tensor) -> tuple[Layers, Tensor]:
    chosen = [n for n, found in enumerate(layers.ways) if found == way]
    scene, layer, alpha = (t[chosen] for t in (layers.scene, layers.layer, layers.alpha))
    return Layers(scene, layer, alpha, [way] * len(chosen)), changed[chosen]


def cases(made: Materials) -> Iterator[Case]:
    """Every case, one after another; a base comes before those that are compared with it."""
    yield from _plain_cases(made)
    yield from _layered_cases(made)
    yield from _unchanged(made)
    yield from _probes(made)


def _case(name: str, composite: Tensor, mask: Tensor, real: Tensor, own: Tensor, **more) -> Case:
    scored = ((own > 0.5) & (mask > 0.5)).float()
    return Case(name, in_8_bits(composite), mask, in_8_bits(real), scored, **more)


def _scaled(pixels: float, side: int) -> float:
    return pixels * side / NOMINAL_SIDE


def masks_off(mask: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Masks as users have them, by name."""
    side, count = mask.shape[-1], len(mask)
    for pixels in (1, 2, 4):
        for sign, word in ((-1, "shrunk"), (1, "grown")):
            by = torch.full((count,), sign * max(1.0, _scaled(pixels, side)))
            yield f"mask {word} by {pixels}", off_by(mask, by)
    yield "mask blurred", blurred(mask, torch.full((count,), _scaled(1.5, side)))
    yield "mask a polygon", torch.stack([_polygon(one[0].numpy()) for one in mask])


def _polygon(mask: np.ndarray) -> Tensor:
    """The outline by points every 24 degrees from its centre, joined by straight lines: a mask drawn hastily."""
    rows, columns = np.nonzero(mask > 0.5)
    y, x = rows.mean(), columns.mean()
    angle, away = np.arctan2(rows - y, columns - x), np.hypot(rows - y, columns - x)
    sector = np.floor((angle + np.pi) / (2 * np.pi) * 15).astype(int).clip(0, 14)
    points = []
    for n in range(15):
        far = away[sector == n].max() if (sector == n).any() else 1.0
        middle = (n + 0.5) / 15 * 2 * np.pi - np.pi
        points.append((x + far * np.cos(middle), y + far * np.sin(middle)))
    image = Image.new("L", mask.shape[::-1])
    ImageDraw.Draw(image).polygon(points, fill=1)
    return torch.from_numpy(np.asarray(image).astype(np.float32))[None]


def _plain_cases(made: Materials) -> Iterator[Case]:
    composite, mask, real = made.plain
    yield _case("exact, leaking", composite, mask, real, mask)
    for name, off in masks_off(mask):
        yield _case(f"exact, {name}", composite, off, real, mask, base="exact, leaking")
    side, count = made.side, len(mask)
    wide = torch.full((count,), _scaled(2, side))
    ring = grown(mask, wide) - grown(mask, -wide)
    replaced = {
        "greyed": lambda picture: torch.full_like(picture, GREY),
        "blurred": lambda picture: blurred(picture, torch.full((count,), _scaled(4, side))),
        "foreign": lambda picture: rolled(picture, torch.full((count,), side // 3), torch.full((count,), side // 4)),
    }
    for word, other in replaced.items():
        pair = [picture * (1 - ring) + other(picture) * ring for picture in (composite, real)]
        inner = grown(mask, -wide)  # the strip is the same in both
        scored = torch.where(inner.sum((1, 2, 3), keepdim=True) > 30, inner, mask)
        yield replace(_case(f"exact, edge {word}", pair[0], mask, pair[1], mask, base="exact, leaking"), scored=scored)


def _layered_cases(made: Materials) -> Iterator[Case]:
    layers, changed = made.placed
    hard = (layers.alpha > 0.5).float()
    composite, real = layers.over(changed, layers.scene), layers.over(layers.layer, layers.scene)
    yield _case("in place", composite, hard, real, hard)
    layers, changed = made.moved
    hard = (layers.alpha > 0.5).float()
    composite, real = layers.over(changed, layers.scene), layers.over(layers.layer, layers.scene)
    yield _case("moved", composite, hard, real, hard)
    yield _case("moved, soft mask", composite, layers.alpha, real, hard, base="moved")
    for name, off in masks_off(hard):
        yield _case(f"moved, {name}", composite, off, real, hard, base="moved")
    yield _case("moved, mask off by 2 of 768", composite, fine_off(hard), real, hard, base="moved")
    leaking = in_8_bits(real + (changed - real) * hard)
    yield _case("moved, true fringe", leaking, hard, real, hard)
    yield _case("moved, JPEG", _jpeg(composite), hard, real, hard, base="moved")
    for share in (0.03, 0.1):
        cut = _crop(share)
        cut_mask = (cut(hard) > 0.5).float()
        yield _case(
            f"moved, cropped by {share:.0%}", cut(composite), cut_mask, cut(real), cut_mask, base="moved", reframe=cut
        )
    flip = lambda t: t.flip(3)  # noqa: E731
    yield _case("moved, mirrored", flip(composite), flip(hard), flip(real), flip(hard), base="moved", reframe=flip)
    small = _resized(made.side * 3 // 4 // 8 * 8)
    small_mask = (small(hard) > 0.5).float()
    yield _case(
        "moved, at three quarters", small(composite), small_mask, small(real), small_mask, base="moved", reframe=small
    )
    other = layers.scene.roll(1, 0)
    yield _case("moved, foreign scene", layers.over(changed, other), hard, layers.over(layers.layer, other), hard)
    grey = torch.full_like(layers.scene, GREY)
    yield _case("moved, grey scene", layers.over(changed, grey), hard, layers.over(layers.layer, grey), hard)


def _unchanged(made: Materials) -> Iterator[Case]:
    _, mask, real = made.plain
    yield _case("unchanged", real, mask, real, mask)
    layers, _ = made.moved
    hard = (layers.alpha > 0.5).float()
    real = layers.over(layers.layer, layers.scene)
    yield _case("unchanged, moved", real, hard, real, hard)


def _probes(made: Materials) -> Iterator[Case]:
    """All but a ring of 3 pixels round the edge turned grey: what a network still gets right, it reads at the edge."""
    composite, mask, real = made.plain
    yield _probe("leak probe, exact", composite, mask, real)
    layers, changed = made.moved
    hard = (layers.alpha > 0.5).float()
    yield _probe("leak probe, moved", layers.over(changed, layers.scene), hard, layers.over(layers.layer, layers.scene))


def _probe(name: str, composite: Tensor, mask: Tensor, real: Tensor) -> Case:
    wide = torch.full((len(mask),), _scaled(3, mask.shape[-1]))
    ring = grown(mask, wide) - grown(mask, -wide)
    hidden = [in_8_bits(GREY + (picture - GREY) * ring) for picture in (composite, real)]
    return Case(name, hidden[0], mask, hidden[1], ring * mask)


def fine_off(mask: Tensor, pixels: int = 2, of: int = 768) -> Tensor:
    """Masks grown by some pixels of a larger picture, then scaled back: the effect of a slip in a full-size mask."""
    side = mask.shape[-1]
    times = max(1, round(of / side))
    large = functional.interpolate(blurred(mask, torch.full((len(mask),), 0.5)), scale_factor=times, mode="bilinear")
    return functional.avg_pool2d(grown((large > 0.5).float(), torch.full((len(mask),), pixels)), times)


def _jpeg(pictures: Tensor, quality: int = 75) -> Tensor:
    results = []
    for picture in (pictures * 255).round().byte().permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        results.append(torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 255)
    return torch.stack(results)


def _resized(side: int) -> Reframe:
    return lambda t: functional.interpolate(t, size=(side, side), mode="bilinear", antialias=True).clamp(0, 1)


def _crop(share: float) -> Reframe:
    def cut(t: Tensor) -> Tensor:
        side = t.shape[-1]
        edge = max(1, round(side * share / 2))
        return functional.interpolate(t[..., edge:-edge, edge:-edge], size=(side, side), mode="bilinear").clamp(0, 1)

    return cut
