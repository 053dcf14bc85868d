"""A colour map for the whole object, from what object and scene look like: added to PHNet if its config asks for it.

PHNet's encoder normalises every picture, does not see the mask, and has a receptive field of about 130 pixels, so it
can hardly know the scene's light. This head sees both, in their absolute colours, on 64 x 64 cells whatever the
picture's size, estimates the light of each, and predicts one map of colours, which is applied to the object before
PHNet sees it. Released checkpoints have none. Maps instead of pixels, as in PCT-Net (Guerreiro et al. 2023), here one
for the object.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from harmonyrt.models.patch_statistics import in_float32

CELLS = 64
WIDTHS = (24, 48, 96, 128)
HIDDEN = 160
LIGHT = 3
"""What an estimate of light holds: log2 of brightness, of red over green, of blue over green."""
COEFFICIENTS = 15
"""Of the map: a 3x4 matrix, and for each channel how much its middle tones are lifted."""
_STATISTICS = 9  # mean, deviation and logarithm of the mean, by channel


def areas(length: int, cells: int, like: Tensor) -> Tensor:
    """(cells, length): which share of each cell every one of `length` pixels makes up; rows sum to 1."""
    first = torch.arange(cells, device=like.device)[:, None] * length  # a pixel is `cells` long, a cell `length`
    pixel = torch.arange(length, device=like.device)[None] * cells
    overlap = torch.minimum(first + length, pixel + cells) - torch.maximum(first, pixel)
    return overlap.clamp(min=0).to(like.dtype) / length


class ColourHead(nn.Module):
    """Object and scene -> the change of the object's colours, by one map for each picture."""

    def __init__(self) -> None:
        super().__init__()
        tower: list[nn.Module] = []
        for level, (inputs, outputs) in enumerate(zip((7, *WIDTHS), WIDTHS, strict=False)):
            tower += [nn.Conv2d(inputs, outputs, 3, 2 if level < 3 else 1, 1), nn.LeakyReLU(0.1)]
        self.tower = nn.Sequential(*tower)
        described = 2 * WIDTHS[-1] + _STATISTICS
        self.object = nn.Sequential(nn.Dropout(0.1), nn.Linear(described, HIDDEN), nn.LeakyReLU(0.1))
        self.scene = nn.Sequential(nn.Dropout(0.1), nn.Linear(described, HIDDEN), nn.LeakyReLU(0.1))
        self.object_light = nn.Linear(HIDDEN, LIGHT)
        self.scene_light = nn.Linear(HIDDEN, LIGHT)
        joined = 2 * (HIDDEN + LIGHT + _STATISTICS) + 1
        self.join = nn.Sequential(
            nn.Linear(joined, HIDDEN), nn.LeakyReLU(0.1), nn.Linear(HIDDEN, HIDDEN), nn.LeakyReLU(0.1)
        )
        self.map = nn.Linear(HIDDEN, COEFFICIENTS)
        nn.init.zeros_(self.map.weight)  # start as the identity
        nn.init.zeros_(self.map.bias)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """The change (B,3,H,W) of a composite (B,3,H,W) under its mask (B,1,H,W); unclamped, and defined everywhere."""
        return self.change(image, self.estimates(image, mask)[0])

    def estimates(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The map's coefficients (B,15), and the light of object and scene (B,3), each relative to the average."""
        of_object, object_statistics = self._described(image, mask)
        of_scene, scene_statistics = self._described(image, 1 - mask)
        one, other = self.object(of_object), self.scene(of_scene)
        lights = self.object_light(one), self.scene_light(other)
        share = mask.mean((1, 2, 3))[:, None].clamp(min=1e-3).log() / 3 + 1
        parts = [one, other, *lights, object_statistics, scene_statistics, share]
        return self.map(self.join(torch.cat([part.float() for part in parts], 1))), *lights

    def _described(self, image: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """What a layer of the composite looks like, and the colours' statistics, each (B,N)."""
        cells, covered, statistics = self._cells(image, weight)
        features = self.tower(cells).float()
        covered = functional.avg_pool2d(covered, 8) + 1e-4
        mean = (features * covered).sum((2, 3)) / covered.sum((2, 3))
        most = (features * (covered / (covered + 0.02))).amax((2, 3))
        return torch.cat([mean, most, statistics], 1), statistics

    @in_float32
    def _cells(self, image: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A layer on cells (B,7,64,64), how far it covers each (B,1,64,64), and its statistics (B,9)."""
        rows = areas(image.shape[-2], CELLS, image)
        columns = areas(image.shape[-1], CELLS, image)
        sums = rows @ (torch.cat([image * weight, image * image * weight, weight], 1) @ columns.T)
        covered = sums[:, 6:7]
        area = covered.sum((2, 3)) + 1e-5
        mean = sums[:, :3].sum((2, 3)) / area
        deviation = ((sums[:, 3:6].sum((2, 3)) / area - mean * mean).clamp(min=0) + 1e-4).sqrt()
        statistics = torch.cat([mean * 2 - 1, deviation * 4 - 1, (mean.clamp(min=1e-3) + 0.02).log() + 1], 1)
        colour = sums[:, :3] / (covered + 1e-3)
        logarithm = (colour.clamp(min=0) + 0.05).log() + 1
        cells = torch.cat([(colour - 0.45) * covered * 4, logarithm * covered, covered - 0.5], 1)
        return cells, covered, statistics

    @in_float32
    def change(self, image: Tensor, coefficients: Tensor) -> Tensor:
        """(B,3,H,W): what the map (B,15) adds to a picture."""
        matrix = coefficients[:, :12].reshape(-1, 3, 4)
        linear = torch.cat([matrix[:, :, k, None, None] * image[:, k : k + 1] for k in range(3)], 1)
        linear = linear[:, :3] + linear[:, 3:6] + linear[:, 6:] + matrix[:, :, 3, None, None]
        return linear + coefficients[:, 12:, None, None] * 4 * image * (1 - image)
