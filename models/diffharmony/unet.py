"""The denoising UNet: Stable Diffusion's, with nine inputs (Rombach et al., arXiv 2112.10752; DiffHarmony, 3.1).

Equal to diffusers' ``UNet2DConditionModel`` and named like it, so the folders that users have load as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harmonyrt.models.diffharmony.blocks import Downsample, ResnetBlock, Upsample, concatenated, up_widths

TRANSFORMER_NORM_EPS = 1e-6
TIME_PERIOD = 10_000.0  # longest period of the sinusoidal time embedding


@dataclass(frozen=True)
class UNetConfig:
    """Shape of a denoising UNet; the names are those of its ``config.json``.

    Attributes:
        in_channels: 9 = latents (4), mask (1), composite latents (4).
        block_out_channels: widths of the levels.
        attention: for each level, whether its blocks have transformers.
        heads: for each level, attention heads. (Published files call this number ``attention_head_dim``.)
        layers_per_block: resnets of a down block; up blocks have one more.
        cross_attention_dim: width of the text embedding.
        use_linear_projection: the transformers' projections are linear layers instead of 1x1 convolutions.
    """

    in_channels: int = 9
    out_channels: int = 4
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    attention: tuple[bool, ...] = (True, True, True, False)
    heads: tuple[int, ...] = (8, 8, 8, 8)
    layers_per_block: int = 2
    cross_attention_dim: int = 768
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    use_linear_projection: bool = False


class Attention(nn.Module):
    """Multi-head attention from `x` to `context` (to itself where there is none)."""

    attend = staticmethod(F.scaled_dot_product_attention)
    """(query, key, value) -> mixed values; whoever needs the same function computed otherwise puts theirs here."""

    def __init__(self, channels: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(context, channels, bias=False)
        self.to_v = nn.Linear(context, channels, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def split(self, x: Tensor) -> Tensor:
        """(B,tokens,channels) -> (B,heads,tokens,channels/heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        context = x if context is None else context
        query, key, value = self.split(self.to_q(x)), self.split(self.to_k(context)), self.split(self.to_v(context))
        mixed = self.attend(query, key, value)
        return self.to_out[0](mixed.transpose(1, 2).flatten(2))


class GatedGelu(nn.Module):
    """Linear layer whose second half gates the first."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * hidden)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Two layers, four times as wide inside; `net.1` is a dropout in training code and keeps its number."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([GatedGelu(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](self.net[0](x))


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention to the text, feed-forward; each after a LayerNorm and added to its input."""

    def __init__(self, channels: int, context: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = Attention(channels, channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = Attention(channels, context, heads)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(self, x: Tensor, text: Tensor | None) -> Tensor:
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), text)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """A transformer block over all positions, between two projections, plus the input."""

    def __init__(self, channels: int, context: int, heads: int, groups: int, linear: bool) -> None:
        super().__init__()
        self.linear = linear
        self.norm = nn.GroupNorm(groups, channels, TRANSFORMER_NORM_EPS)
        self.proj_in = nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, context, heads)])
        self.proj_out = nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, text: Tensor | None) -> Tensor:
        tokens = self.norm(x)
        tokens = tokens if self.linear else self.proj_in(tokens)
        tokens = tokens.flatten(2).transpose(1, 2)
        tokens = self.transformer_blocks[0](self.proj_in(tokens) if self.linear else tokens, text)
        tokens = self.proj_out(tokens) if self.linear else tokens
        hidden = tokens.transpose(1, 2).reshape(x.shape)
        return x + (hidden if self.linear else self.proj_out(hidden))


class Level(nn.Module):
    """One block of the UNet: resnets, a transformer after each where the level has attention, a change of size."""

    def __init__(self, inputs: Sequence[int], level: int, config: UNetConfig) -> None:
        super().__init__()
        width, groups = config.block_out_channels[level], config.norm_num_groups
        time_width = 4 * config.block_out_channels[0]
        if config.attention[level]:
            self.attentions = nn.ModuleList(
                SpatialTransformer(
                    width, config.cross_attention_dim, config.heads[level], groups, config.use_linear_projection
                )
                for _ in inputs
            )
        self.resnets = nn.ModuleList(
            ResnetBlock(channels, width, groups, config.norm_eps, time_width) for channels in inputs
        )

    def layer(self, index: int, x: Tensor, shift: Tensor, text: Tensor | None) -> Tensor:
        """One resnet and, where the level has attention, one transformer."""
        x = self.resnets[index](x, shift)
        return self.attentions[index](x, text) if hasattr(self, "attentions") else x


class Middle(nn.Module):
    """Resnet, transformer, resnet at the lowest resolution."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        width, groups = config.block_out_channels[-1], config.norm_num_groups
        self.attentions = nn.ModuleList(
            [
                SpatialTransformer(
                    width, config.cross_attention_dim, config.heads[-1], groups, config.use_linear_projection
                )
            ]
        )
        self.resnets = nn.ModuleList(
            ResnetBlock(width, width, groups, config.norm_eps, 4 * config.block_out_channels[0]) for _ in range(2)
        )


class TimeEmbedding(nn.Module):
    """Two linear layers over the sinusoids of the time step."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(channels, 4 * channels)
        self.linear_2 = nn.Linear(4 * channels, 4 * channels)

    def forward(self, timestep: Tensor) -> Tensor:
        """Float time steps (B,) -> (B,4*channels); fractions count, nothing is rounded."""
        half = self.linear_1.in_features // 2
        steps = torch.arange(half, dtype=torch.float32, device=timestep.device)
        angles = timestep.float()[:, None] * torch.exp(-math.log(TIME_PERIOD) * steps / half)
        return self.linear_2(F.silu(self.linear_1(torch.cat([angles.cos(), angles.sin()], dim=1))))


class UNet(nn.Module):
    """Predicts the noise in latents, given the time step, the text and (as further input channels) the condition."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths, layers = config.block_out_channels, config.layers_per_block
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(widths[0])
        self.down_blocks: Any = nn.ModuleList()
        for level, width in enumerate(widths):
            block = Level([widths[max(level - 1, 0)]] + [width] * (layers - 1), level, config)
            block.downsamplers = nn.ModuleList([Downsample(width, True)] if level < len(widths) - 1 else [])
            self.down_blocks.append(block)
        self.mid_block: Any = Middle(config)
        self.up_blocks: Any = nn.ModuleList()
        for index, (inputs, width) in enumerate(up_widths(widths, layers)):
            block = Level(inputs, len(widths) - 1 - index, config)
            block.upsamplers = nn.ModuleList([Upsample(width)] if index < len(widths) - 1 else [])
            self.up_blocks.append(block)
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, widths[0], config.norm_eps)
        self.conv_out = nn.Conv2d(widths[0], config.out_channels, 3, padding=1)

    def forward(self, x: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        """Predict noise.

        Args:
            x: (B,in_channels,h,w): scaled latents, mask, composite latents.
            timestep: float time steps (B,) or ().
            text: (B,tokens,cross_attention_dim).

        Returns:
            (B,out_channels,h,w).
        """
        embedding = F.silu(self.time_embedding(timestep.reshape(-1).expand(x.shape[0])))
        shifts = (resnet.time_emb_proj(embedding)[:, :, None, None] for resnet in self.resnets())
        return self.body(x, shifts, text)

    def resnets(self) -> Iterator[ResnetBlock]:
        """All resnets in the order in which :meth:`body` runs them."""
        for block in self.down_blocks:
            yield from block.resnets
        yield from self.mid_block.resnets
        for block in self.up_blocks:
            yield from block.resnets

    def body(self, x: Tensor, shifts: Iterator[Tensor], text: Tensor | None) -> Tensor:
        """The UNet with each resnet's time shift given, in the order of :meth:`resnets`."""
        shifts = iter(shifts)
        x = self.conv_in(x)
        skips = [x]
        for block in self.down_blocks:
            for index in range(len(block.resnets)):
                x = block.layer(index, x, next(shifts), text)
                skips.append(x)
            for downsample in block.downsamplers:
                x = downsample(x)
                skips.append(x)
        first, second = self.mid_block.resnets
        x = second(self.mid_block.attentions[0](first(x, next(shifts)), text), next(shifts))
        for block in self.up_blocks:
            for index in range(len(block.resnets)):
                x = block.layer(index, concatenated(x, skips.pop()), next(shifts), text)
            for upsample in block.upsamplers:
                x = upsample(x, skips[-1].shape[-2:])
        return self.conv_out(F.silu(self.conv_norm_out(x)))
