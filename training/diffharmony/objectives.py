"""What each stage of DiffHarmony is trained to do: the draws of a batch, and the loss of a part of it.

Frozen networks belong to the objective; the network that is trained is given to it. Every random number is among the
batch's tensors, so a batch divided among processes is the same batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harmonyrt.models.diffharmony import AutoencoderKL, DiffHarmony, HarmonyVAE, Noise
from harmonyrt.models.diffharmony.noise_loss import add_noise, foreground_noise_loss

Tensors = tuple[Tensor, ...]
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pictures that published classifiers were trained on, RGB in [0, 1]."""


class Objective:
    """A stage's loss. Parts of a batch are the pictures of :mod:`.pairs`, then :meth:`draws`."""

    def draws(self, composite: Tensor, generator: torch.Generator) -> Tensors:
        """The random tensors of a batch whose composites are (B,3,S,S), if any; the first axis is the sample."""
        return ()

    def to(self, device: str) -> None:
        """Move the frozen networks, if there are any."""

    def __call__(self, network: nn.Module, part: Tensors) -> Tensor:
        """Mean loss of a part."""
        raise NotImplementedError


@dataclass
class Autocast:
    """Whether the network that is trained computes in bfloat16."""

    kind: str = "cpu"
    mixed: bool = False

    def __call__(self) -> torch.autocast:
        return torch.autocast(self.kind, torch.bfloat16, enabled=self.mixed)


@dataclass
class NoiseObjective(Objective):
    """Stage one: predict the noise in the real picture's latents, given composite and mask (DiffHarmony, 3.2).

    Attributes:
        vae: frozen; both pictures are samples of its posterior.
        text: the empty prompt's embedding (1,tokens,width).
        kept: share of the signal's energy at each time step, of the noise's schedule.
        side: pixels at which pictures are encoded; smaller ones are enlarged.
        foreground: count the foreground alone.
        inverse: swap composite and real picture.
        autocast: of the UNet.
    """

    vae: AutoencoderKL
    text: Tensor
    kept: np.ndarray
    side: int
    foreground: bool = True
    inverse: bool = False
    autocast: Autocast = field(default_factory=Autocast)

    def draws(self, composite: Tensor, generator: torch.Generator) -> Tensors:
        count, small = len(composite), self.side // self.vae.factor
        shape = (3, count, self.vae.config.latent_channels, small, small)
        target, condition, noise = torch.randn(shape, generator=generator)
        return target, condition, noise, torch.randint(len(self.kept), (count,), generator=generator)

    def to(self, device: str) -> None:
        self.vae.to(device)
        self.text = self.text.to(device)

    def __call__(self, network: nn.Module, part: Tensors) -> Tensor:
        composite, mask, real, target_draw, condition_draw, noise, timesteps = part
        if self.inverse:
            composite, real = real, composite
        composite, mask, real = enlarged(composite, mask, real, self.side)
        with torch.no_grad():
            scaling = self.vae.config.scaling_factor
            clean = self.vae.encode(real).sample(target_draw) * scaling
            condition = self.vae.encode(composite).sample(condition_draw) * scaling
            small_mask = mask[:, :, :: self.vae.factor, :: self.vae.factor]
            noisy = add_noise(clean, noise, timesteps, self.kept)
            text = self.text.expand(len(composite), -1, -1)
        with self.autocast():
            answer: Any = network(torch.cat([noisy, small_mask, condition], 1), timesteps, text)
        predicted = (answer if isinstance(answer, Tensor) else answer.sample).float()
        return noise_loss(predicted, noise, small_mask, self.foreground)


def noise_loss(predicted: Tensor, noise: Tensor, mask: Tensor, foreground: bool) -> Tensor:
    """The released loss of stage one: of the foreground, or of everything (``--nofg``)."""
    return foreground_noise_loss(predicted, noise, mask) if foreground else F.mse_loss(predicted, noise)


def enlarged(composite: Tensor, mask: Tensor, real: Tensor, side: int) -> Tensors:
    """Pictures at the size of stage one: bilinear with antialias, and a mask that is 1 above one half."""
    if composite.shape[-1] == side:
        return composite, mask, real
    large = [
        F.interpolate(x, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
        for x in (composite, mask, real)
    ]
    return large[0].clamp(-1, 1), (large[1] > 0.5).to(mask), large[2].clamp(-1, 1)


@dataclass
class RefinerObjective(Objective):
    """Stage two: squared error of the refined picture against the real one, over the whole picture."""

    channels: int = 7
    autocast: Autocast = field(default_factory=Autocast)

    def __call__(self, network: nn.Module, part: Tensors) -> Tensor:
        composite, mask, real, harmonised = part
        with self.autocast():
            refined = network(torch.cat([harmonised, mask, composite], 1)[:, : self.channels])
        return F.mse_loss(refined.float(), real)


@dataclass
class HarmonyVAEObjective(Objective):
    """DiffHarmony++'s autoencoder: absolute error of the real picture, decoded with the composite as condition.

    What is decoded is the encoded real picture, or (the online variant) what stage one makes of the composite, with
    new noise each time: the errors of the latents that the decoder will meet. All posteriors are sampled; no other
    term.

    Attributes:
        latent_channels, factor: of the autoencoder.
        autocast: of the autoencoder.
        stage_one: frozen, for the online variant; None for the encoded real picture.
        denoising_steps: of stage one.
    """

    latent_channels: int
    factor: int
    autocast: Autocast = field(default_factory=Autocast)
    stage_one: DiffHarmony | None = None
    denoising_steps: int = 5

    def draws(self, composite: Tensor, generator: torch.Generator) -> Tensors:
        side = composite.shape[-1] // self.factor
        # of the latents' posterior, or of stage one (start, composite's posterior, steps); then of the condition's
        count = 2 if self.stage_one is None else 3 + self.denoising_steps
        shape = (count, len(composite), self.latent_channels, side, side)
        return tuple(torch.randn(shape, generator=generator))

    def to(self, device: str) -> None:
        if self.stage_one is not None:
            for _, part in self.stage_one.parts():
                part.to(device)
            self.stage_one = replace(self.stage_one, text=self.stage_one.text.to(device))

    def __call__(self, network: nn.Module, part: Tensors) -> Tensor:
        composite, mask, real, first_draw, *draws, condition_draw = part
        assert isinstance(network, HarmonyVAE)
        with torch.no_grad():
            if self.stage_one is None:
                latents = network.encode(real).sample(first_draw)
            else:
                noise = Noise(first_draw, draws[0], tuple(draws[1:]))
                scaled = self.stage_one.denoise(composite, mask, noise).latents[-1]
                latents = scaled / self.stage_one.vae.config.scaling_factor
        with self.autocast():
            decoded = network.decode_with(latents, torch.cat([composite, mask], 1), condition_draw)
        return F.l1_loss(decoded.float(), real)


@dataclass
class ClassifierObjective(Objective):
    """Tells composites (class 0) from real photos (class 1): cross-entropy over both pictures of each pair.

    The pictures are normalised as ImageNet's are, so networks that were trained on it can be started from.
    """

    autocast: Autocast = field(default_factory=Autocast)

    def __call__(self, network: nn.Module, part: Tensors) -> Tensor:
        composite, _, real = part
        with self.autocast():
            logits = network(imagenet_normalised(torch.cat([composite, real]))).logits
        classes = torch.arange(2, device=real.device).repeat_interleave(len(real))
        return F.cross_entropy(logits.float(), classes)


def imagenet_normalised(picture: Tensor) -> Tensor:
    """Pictures (B,3,S,S) in [-1, 1] with ImageNet's mean and deviation taken out."""
    mean = torch.tensor(IMAGENET_MEAN, device=picture.device).view(1, 3, 1, 1)
    deviation = torch.tensor(IMAGENET_DEVIATION, device=picture.device).view(1, 3, 1, 1)
    return (picture / 2 + 0.5 - mean) / deviation
