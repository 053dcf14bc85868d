"""Blocks that the VAE, the refiner and the denoising UNet share; tensor names are those of released checkpoints."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResnetBlock(nn.Module):
    """GN-SiLU-conv, an optional shift for the time step, GN-SiLU-conv, plus the input.

    Args:
        inputs: channels of the input.
        outputs: channels of the output; a 1x1 convolution carries the input across where they differ.
        groups: groups of the two normalisations.
        eps: their epsilon.
        time_width: width of the time embedding; None for networks without time (VAE, refiner).
    """

    def __init__(self, inputs: int, outputs: int, groups: int, eps: float, time_width: int | None = None) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        if time_width is not None:
            self.time_emb_proj = nn.Linear(time_width, outputs)
        self.norm2 = nn.GroupNorm(groups, outputs, eps)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        """(B,inputs,H,W), shift (B or 1,outputs,1,1) -> (B,outputs,H,W)."""
        hidden = self.conv1(F.silu(self.norm1(x)))
        if shift is not None:
            hidden = hidden + shift
        hidden = self.conv2(F.silu(self.norm2(hidden)))
        return (x if self.conv_shortcut is None else self.conv_shortcut(x)) + hidden


class Downsample(nn.Module):
    """3x3 convolution of stride 2: padded on all sides (denoising UNet), or only right and below (VAE, refiner)."""

    def __init__(self, channels: int, symmetric: bool) -> None:
        super().__init__()
        self.symmetric = symmetric
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1 if symmetric else 0)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x if self.symmetric else F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Nearest neighbour to twice the size (or to `size`, where an odd size was halved), then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: Sequence[int] | None = None) -> Tensor:
        doubled = [2 * x.shape[-2], 2 * x.shape[-1]]
        if size is None or list(size) == doubled:
            return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.conv(F.interpolate(x, size=list(size), mode="nearest"))


class SpatialAttention(nn.Module):
    """Self-attention between all positions, one head as wide as the channels, plus the input."""

    attend = staticmethod(F.scaled_dot_product_attention)
    """(query, key, value) -> mixed values; whoever needs the same function computed otherwise puts theirs here."""

    def __init__(self, channels: int, groups: int, eps: float) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, eps)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)
        query, key, value = (project(tokens)[:, None] for project in (self.to_q, self.to_k, self.to_v))
        mixed = self.attend(query, key, value)[:, 0]
        return x + self.to_out[0](mixed).transpose(1, 2).reshape(x.shape)


class MidBlock(nn.Module):
    """Resnet, self-attention, resnet at the lowest resolution."""

    def __init__(self, channels: int, groups: int, eps: float) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([SpatialAttention(channels, groups, eps)])
        self.resnets = nn.ModuleList([ResnetBlock(channels, channels, groups, eps) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class DownBlock(nn.Module):
    """Resnets, then an asymmetric downsampling except in the last block (VAE encoder, refiner)."""

    def __init__(self, inputs: int, outputs: int, layers: int, groups: int, eps: float, last: bool) -> None:
        super().__init__()
        widths = [inputs] + [outputs] * layers
        self.resnets = nn.ModuleList(ResnetBlock(a, b, groups, eps) for a, b in itertools.pairwise(widths))
        self.downsamplers = nn.ModuleList([] if last else [Downsample(outputs, symmetric=False)])

    def forward(self, x: Tensor) -> list[Tensor]:
        """Every feature in order: after each resnet, and after the downsampling where there is one."""
        features = []
        for layer in (*self.resnets, *self.downsamplers):
            x = layer(x)
            features.append(x)
        return features


class UpBlock(nn.Module):
    """Resnets, then an upsampling except in the last block.

    Args:
        inputs: channels that each resnet takes (with what is concatenated to its input).
        outputs: channels of each resnet's output.
        groups: groups of the normalisations.
        eps: their epsilon.
        last: no upsampling.
    """

    def __init__(self, inputs: Sequence[int], outputs: int, groups: int, eps: float, last: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(width, outputs, groups, eps) for width in inputs)
        self.upsamplers = nn.ModuleList([] if last else [Upsample(outputs)])


def up_widths(widths: Sequence[int], layers: int) -> list[tuple[list[int], int]]:
    """Channels of a UNet's up blocks: for each, what its resnets take with the skip concatenated, and its outputs.

    The skip of a block's last resnet comes from the next finer level.
    """
    blocks = []
    coming = widths[-1]
    for level in reversed(range(len(widths))):
        width, finer = widths[level], widths[max(level - 1, 0)]
        skips = [width] * layers + [finer]
        blocks.append(([own + skip for own, skip in zip([coming] + [width] * layers, skips, strict=True)], width))
        coming = width
    return blocks


def concatenated(x: Tensor, skip: Tensor) -> Tensor:
    """Decoder feature first, encoder feature second."""
    return torch.cat([x, skip], dim=1)
