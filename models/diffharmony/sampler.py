"""Euler-ancestral sampling with fractional time steps (Karras et al., arXiv 2206.00364; facts: diffusers' scheduler).

Two schedules exist in practice. Published scheduler files name no ``timestep_spacing``; then *linspace* applies
(999, 749.25, ... 0). A file that a newer diffusers re-saved says *leading* (801, 601, ... 1). The file decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SPACINGS = ("linspace", "leading", "trailing")
DEFAULT_STEPS = 5


@dataclass(frozen=True)
class SamplerConfig:
    """What a ``scheduler_config.json`` says; defaults as published for SD-inpainting."""

    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    num_train_timesteps: int = 1000
    timestep_spacing: str = "linspace"
    steps_offset: int = 1
    prediction_type: str = "epsilon"


@dataclass(frozen=True)
class Step:
    """One step's numbers.

    Attributes:
        timestep: the UNet's time argument, with its fraction.
        sigma: noise level before the step.
        input_scale: what the latents are multiplied by before the UNet: 1/sqrt(sigma^2+1).
        drift: what the predicted noise is multiplied by: sigma_down - sigma.
        noise_scale: what the step's fresh noise is multiplied by (0 in the last step).
    """

    timestep: float
    sigma: float
    input_scale: float
    drift: float
    noise_scale: float


def alphas_cumprod(config: SamplerConfig) -> np.ndarray:
    """Share of the signal's energy that is left at each training time step, float32 (1000,)."""
    if config.beta_schedule == "scaled_linear":
        betas = torch.linspace(config.beta_start**0.5, config.beta_end**0.5, config.num_train_timesteps) ** 2
    else:
        betas = torch.linspace(config.beta_start, config.beta_end, config.num_train_timesteps)
    return torch.cumprod(1.0 - betas, dim=0).numpy()


def time_steps(config: SamplerConfig, count: int) -> np.ndarray:
    """Float32 time steps, descending."""
    total = config.num_train_timesteps
    if config.timestep_spacing == "linspace":
        return np.linspace(0, total - 1, count, dtype=np.float32)[::-1].copy()
    if config.timestep_spacing == "leading":
        return (np.arange(count) * (total // count)).round()[::-1].astype(np.float32) + np.float32(config.steps_offset)
    return np.arange(total, 0, -total / count).round().astype(np.float32) - np.float32(1)


def sigmas(config: SamplerConfig, count: int) -> np.ndarray:
    """Noise levels at the time steps, interpolated where they are fractional, and a closing 0: float32 (count+1,)."""
    kept = alphas_cumprod(config)
    levels = np.interp(time_steps(config, count), np.arange(len(kept)), ((1 - kept) / kept) ** 0.5)
    return np.append(levels, 0.0).astype(np.float32)


def initial_scale(config: SamplerConfig, count: int) -> float:
    """Standard deviation of the initial latents (``init_noise_sigma``)."""
    largest = float(sigmas(config, count).max())
    return largest if config.timestep_spacing != "leading" else (largest**2 + 1) ** 0.5


def steps(config: SamplerConfig, count: int = DEFAULT_STEPS) -> list[Step]:
    """The numbers of each step, computed in float32 as published."""
    levels = torch.from_numpy(sigmas(config, count))
    result = []
    for timestep, now, after in zip(time_steps(config, count), levels[:-1], levels[1:], strict=True):
        up = (after**2 * (now**2 - after**2) / now**2) ** 0.5
        down = (after**2 - up**2) ** 0.5
        scale = 1 / (now**2 + 1) ** 0.5
        result.append(Step(float(timestep), float(now), float(scale), float(down - now), float(up)))
    return result


def advance(latents: Tensor, predicted: Tensor, step: Step, noise: Tensor) -> Tensor:
    """One Euler-ancestral step: latents of this noise level -> latents of the next, in float32."""
    return latents + predicted * step.drift + noise * step.noise_scale
