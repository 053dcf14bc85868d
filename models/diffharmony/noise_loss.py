"""Stage one's training objective: squared error of the predicted noise inside the foreground (DiffHarmony, 3.2)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SCALE_RANGE = (1.0, 5.0)  # small foregrounds count more, at most fivefold


def foreground_noise_loss(predicted: Tensor, noise: Tensor, mask: Tensor) -> Tensor:
    """Loss of a batch.

    Args:
        predicted: (B,4,h,w), the UNet's output.
        noise: (B,4,h,w), what was added to the latents.
        mask: (B,1,h,w), latent-size foreground, 0 or 1; an empty one contributes 0.
    """
    area = mask.sum(dim=(1, 2, 3), keepdim=True)
    scale = (mask.shape[-2] * mask.shape[-1] / area).clamp(*SCALE_RANGE)
    squared = (predicted * mask - noise * mask) ** 2
    return (squared.mean(dim=(2, 3), keepdim=True) * scale).mean()


def add_noise(latents: Tensor, noise: Tensor, timesteps: Tensor, kept: np.ndarray) -> Tensor:
    """Latents as they are at integer training time steps (B,).

    Args:
        latents: (B,4,h,w), clean and scaled.
        noise: standard normal of the same shape.
        timesteps: integers (B,).
        kept: :func:`sampler.alphas_cumprod`.
    """
    signal = torch.from_numpy(kept).to(latents)[timesteps].reshape(-1, 1, 1, 1)
    return signal**0.5 * latents + (1 - signal) ** 0.5 * noise
