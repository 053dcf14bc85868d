"""DiffHarmony with random weights, for latency work and tests that need no checkpoint. Its pictures are noise."""

from __future__ import annotations

import torch
from torch import nn

from harmonyrt.models.diffharmony import (
    AutoencoderKL,
    DiffHarmony,
    HarmonyVAE,
    Refiner,
    RefinerConfig,
    UNet,
    UNetConfig,
    VAEConfig,
)

SEED = 0
_TINY_WIDTHS = (32, 64, 64, 64)


def random_diffharmony(size: str, harmony_vae: bool = False, refiner: bool = True) -> DiffHarmony:
    """Build every network, with normal weights that keep activations at about their size.

    Args:
        size: ``"tiny"`` (same blocks, narrow) or ``"full"`` (as released: 860 M parameters in the UNet alone).
        harmony_vae: with the VAE of DiffHarmony++.
        refiner: with the refiner, base size where the rest is full.
    """
    unet, vae, refinement = configs(size, harmony_vae)
    generator = torch.Generator().manual_seed(SEED)
    text = torch.randn(1, 77, unet.cross_attention_dim, generator=generator)
    return DiffHarmony(
        unet=_filled(UNet, unet, generator),
        vae=_filled(HarmonyVAE if harmony_vae else AutoencoderKL, vae, generator),
        text=text,
        refiner=_filled(Refiner, refinement, generator) if refiner else None,
    )


def configs(size: str, harmony_vae: bool = False) -> tuple[UNetConfig, VAEConfig, RefinerConfig]:
    """The shapes behind :func:`random_diffharmony`."""
    tiny = size == "tiny"
    unet = UNetConfig(block_out_channels=_TINY_WIDTHS, cross_attention_dim=32) if tiny else UNetConfig()
    widths = (32, 32, 64, 64) if tiny else VAEConfig.block_out_channels
    vae = VAEConfig(block_out_channels=widths, additional_in_channels=int(harmony_vae))
    return unet, vae, RefinerConfig(block_out_channels=_TINY_WIDTHS) if tiny else RefinerConfig()


def _filled(kind, config, generator: torch.Generator):
    with torch.device("meta"):
        network: nn.Module = kind(config)
    network.to_empty(device="cpu")
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.weight.normal_(std=module.weight[0].numel() ** -0.5, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, (nn.GroupNorm, nn.LayerNorm)):
                module.weight.fill_(1)
                module.bias.zero_()
    return network.eval().requires_grad_(False)
