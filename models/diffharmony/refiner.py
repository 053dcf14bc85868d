"""The refinement UNet of stage two (DiffHarmony, 3.3): predicts what the latent space lost, as a residual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from harmonyrt.models.diffharmony.blocks import DownBlock, MidBlock, UpBlock, concatenated, up_widths


@dataclass(frozen=True)
class RefinerConfig:
    """Shape of a refiner.

    Attributes:
        in_channels: 7 = harmonised (3), mask (1), composite (3); 4 = harmonised, mask; 3 = harmonised.
        block_out_channels: widths of the levels.
        layers_per_block: resnets of a down block; up blocks have one more.
    """

    in_channels: int = 7
    out_channels: int = 3
    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    norm_num_groups: int = 32
    norm_eps: float = 1e-6


SMALL = RefinerConfig(block_out_channels=(64, 128, 256, 256))
BASE = RefinerConfig(block_out_channels=(128, 256, 512, 512))
LARGE = RefinerConfig(block_out_channels=(256, 512, 1024, 1024))


class Refiner(nn.Module):
    """UNet without time and text. Released as ``UNet2DCustom``, whose tensor names it keeps."""

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        self.config = config
        widths, layers = config.block_out_channels, config.layers_per_block
        groups, eps, last = config.norm_num_groups, config.norm_eps, len(widths) - 1
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            DownBlock(widths[max(level - 1, 0)], width, layers, groups, eps, level == last)
            for level, width in enumerate(widths)
        )
        self.mid_block = MidBlock(widths[-1], groups, eps)
        self.up_blocks: Any = nn.ModuleList(
            UpBlock(inputs, width, groups, eps, index == last)
            for index, (inputs, width) in enumerate(up_widths(widths, layers))
        )
        self.conv_norm_out = nn.GroupNorm(groups, widths[0], eps)
        self.conv_out = nn.Conv2d(widths[0], config.out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Refine.

        Args:
            x: (B,in_channels,H,W), H and W multiples of 8: pictures in [-1, 1], mask 0 or 1.

        Returns:
            (B,3,H,W), about [-1, 1], not clamped.
        """
        picture = x[:, :3]
        x = self.conv_in(x)
        skips = [x]
        for block in self.down_blocks:
            features = block(x)
            x = features[-1]
            skips += features
        x = self.mid_block(x)
        for block in self.up_blocks:
            for resnet in block.resnets:
                x = resnet(concatenated(x, skips.pop()))
            for upsample in block.upsamplers:
                x = upsample(x)
        return picture + self.conv_out(F.silu(self.conv_norm_out(x)))
