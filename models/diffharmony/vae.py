"""Pictures to latents and back: the KL-f8 autoencoder, and the harmony VAE whose decoder sees the composite again.

The autoencoder equals diffusers' ``AutoencoderKL`` and is named like it. The harmony VAE (DiffHarmony++) adds a
conditional encoder, with 1x1 skip convolutions into the decoder, and one on the latents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harmonyrt.models.diffharmony.blocks import DownBlock, MidBlock, UpBlock

EPS = 1e-6
LOG_VARIANCE_RANGE = (-30.0, 20.0)


@dataclass(frozen=True)
class VAEConfig:
    """Shape of an autoencoder.

    Attributes:
        block_out_channels: widths of the levels; a latent pixel covers 2^(levels-1) picture pixels.
        layers_per_block: resnets of an encoder block; decoder blocks have one more.
        scaling_factor: latents are multiplied by it after encoding.
        additional_in_channels: further channels of the condition (the mask); 0 for the plain autoencoder.
    """

    in_channels: int = 3
    out_channels: int = 3
    latent_channels: int = 4
    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    norm_num_groups: int = 32
    scaling_factor: float = 0.18215
    additional_in_channels: int = 0


class Posterior:
    """The encoder's output: a normal distribution of latents.

    Args:
        moments: (B,2*latent_channels,h,w), means then log-variances.
    """

    def __init__(self, moments: Tensor) -> None:
        self.mean, log_variance = moments.chunk(2, dim=1)
        self.std = torch.exp(0.5 * log_variance.clamp(*LOG_VARIANCE_RANGE))

    def sample(self, noise: Tensor) -> Tensor:
        """Latents from standard normal noise of the same shape; DiffHarmony samples, it never takes the mode."""
        return self.mean + self.std * noise


class EncoderLayers(nn.Module):
    """The layers that both encoders share."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        widths, groups = config.block_out_channels, config.norm_num_groups
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            DownBlock(widths[max(level - 1, 0)], width, config.layers_per_block, groups, EPS, level == len(widths) - 1)
            for level, width in enumerate(widths)
        )
        self.mid_block = MidBlock(widths[-1], groups, EPS)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], EPS)
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.latent_channels, 3, padding=1)

    def features(self, x: Tensor) -> list[Tensor]:
        """Outputs of `conv_in` (given as `x`), of each resnet and of each downsampling."""
        features = [x]
        for block in self.down_blocks:
            features += block(features[-1])
        return features

    def head(self, x: Tensor) -> Tensor:
        """The mid block's output -> moments before `quant_conv`."""
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class Encoder(EncoderLayers):
    """Picture in [-1, 1] -> moments before `quant_conv`."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mid_block(self.features(self.conv_in(x))[-1]))


class ConditionalEncoder(EncoderLayers):
    """Encoder of picture and mask that also hands its features to the decoder, each through a 1x1 convolution."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__(config)
        widths = config.block_out_channels
        self.add_conv_in = nn.Conv2d(config.additional_in_channels, widths[0], 3, padding=1)
        skips = [(widths[0], widths[0])]
        for level, width in enumerate(widths):
            skips += [(width, width)] * config.layers_per_block
            if level < len(widths) - 1:
                skips.append((width, widths[level + 1]))
        self.down_block_skip_convs = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in skips)
        self.mid_block_skip_conv = nn.Conv2d(widths[-1], widths[-1], 1)

    def forward(self, condition: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Encode the condition.

        Args:
            condition: (B,3+additional_in_channels,H,W): composite in [-1, 1], then the mask 0 or 1.

        Returns:
            Moments before `quant_conv`, the skips from fine to coarse, and the skip of the mid block.
        """
        picture, more = condition[:, :3], condition[:, 3:]
        features = self.features(self.conv_in(picture) + self.add_conv_in(more))
        middle = self.mid_block(features[-1])
        skips = [conv(feature) for conv, feature in zip(self.down_block_skip_convs, features, strict=True)]
        return self.head(middle), skips, self.mid_block_skip_conv(middle)


class Decoder(nn.Module):
    """Latents after `post_quant_conv` -> picture, about [-1, 1], not clamped."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        widths, groups = config.block_out_channels[::-1], config.norm_num_groups
        self.conv_in = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.mid_block = MidBlock(widths[0], groups, EPS)
        self.up_blocks: Any = nn.ModuleList(
            UpBlock(
                [widths[max(index - 1, 0)]] + [width] * config.layers_per_block,
                width,
                groups,
                EPS,
                index == len(widths) - 1,
            )
            for index, width in enumerate(widths)
        )
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], EPS)
        self.conv_out = nn.Conv2d(widths[-1], config.out_channels, 3, padding=1)

    def forward(self, z: Tensor, skips: list[Tensor] | None = None, mid_skip: Tensor | None = None) -> Tensor:
        x = self.mid_block(self.conv_in(z))
        if mid_skip is not None:
            x = x + mid_skip
        remaining = list(skips or [])
        for block in self.up_blocks:
            for resnet in block.resnets:
                x = resnet(x)
                if remaining:
                    x = x + remaining.pop()
            for upsample in block.upsamplers:
                x = upsample(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class AutoencoderKL(nn.Module):
    """The plain autoencoder of Stable Diffusion."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        moments, latents = 2 * config.latent_channels, config.latent_channels
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant_conv = nn.Conv2d(moments, moments, 1)
        self.post_quant_conv = nn.Conv2d(latents, latents, 1)

    @property
    def factor(self) -> int:
        """Picture pixels per latent pixel, along a side."""
        return 2 ** (len(self.config.block_out_channels) - 1)

    def encode(self, picture: Tensor) -> Posterior:
        """(B,3,H,W) in [-1, 1] -> posterior of unscaled latents (B,4,H/8,W/8)."""
        return Posterior(self.quant_conv(self.encoder(picture)))

    def decode(self, z: Tensor) -> Tensor:
        """Unscaled latents -> (B,3,H,W), about [-1, 1]."""
        return self.decoder(self.post_quant_conv(z))


class HarmonyVAE(AutoencoderKL):
    """The autoencoder of DiffHarmony++ (``ConditionVAE``): decodes with the composite and the mask as condition."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__(config)
        self.conditional_encoder = ConditionalEncoder(config)
        self.latent_skip_conv = nn.Conv2d(config.latent_channels, config.latent_channels, 1)

    def decode_with(self, z: Tensor, condition: Tensor, noise: Tensor) -> Tensor:
        """Decode with condition.

        Args:
            z: unscaled latents (B,4,h,w).
            condition: (B,4,H,W): composite in [-1, 1], then the mask at full resolution, 0 or 1.
            noise: standard normal, shaped like `z`, for the sample of the condition's posterior.
        """
        moments, skips, mid_skip = self.conditional_encoder(condition)
        latent = Posterior(self.quant_conv(moments)).sample(noise)
        mixed = self.post_quant_conv(z) + self.latent_skip_conv(self.post_quant_conv(latent))
        return self.decoder(mixed, skips, mid_skip)
