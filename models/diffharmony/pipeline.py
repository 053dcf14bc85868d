"""DiffHarmony in PyTorch, both stages, with its noise as an argument: the reference for every engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from harmonyrt.common import HarmonyError
from harmonyrt.models.diffharmony import sampler
from harmonyrt.models.diffharmony.refiner import Refiner
from harmonyrt.models.diffharmony.sampler import SamplerConfig
from harmonyrt.models.diffharmony.unet import UNet
from harmonyrt.models.diffharmony.vae import AutoencoderKL, HarmonyVAE


@dataclass(frozen=True)
class Noise:
    """Every random draw of one run, standard normal (B,4,h,w), in the order in which one generator gives them.

    Attributes:
        initial: the latents at the start, before scaling.
        posterior: for the sample of the composite's posterior.
        ancestral: one for each step; the last is drawn and not used.
        condition: for the sample of the condition's posterior; only with the harmony VAE.
    """

    initial: Tensor
    posterior: Tensor
    ancestral: tuple[Tensor, ...]
    condition: Tensor | None = None


@dataclass
class Trace:
    """Intermediate results of a run, in the order in which to compare them."""

    unet_inputs: list[Tensor] = field(default_factory=list)
    predictions: list[Tensor] = field(default_factory=list)
    latents: list[Tensor] = field(default_factory=list)
    decoded: Tensor | None = None
    image: Tensor | None = None
    resized: Tensor | None = None
    refined: Tensor | None = None
    final: Tensor | None = None


@dataclass
class DiffHarmony:
    """The networks of one DiffHarmony and its schedule.

    Attributes:
        text: the empty prompt's embedding (1,tokens,width).
        vae: an :class:`AutoencoderKL`, or a :class:`HarmonyVAE` (DiffHarmony++).
        refiner: None for stage one alone.
    """

    unet: UNet
    vae: AutoencoderKL
    text: Tensor
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    refiner: Refiner | None = None

    @property
    def conditional(self) -> bool:
        """Whether the decoder sees the composite again."""
        return isinstance(self.vae, HarmonyVAE)

    def draw(self, size: tuple[int, int], batch: int, steps: int, generator: torch.Generator) -> Noise:
        """Draw a run's noise from one generator, in the published order. `size` is [height, width] in pixels."""
        shape = (batch, self.vae.config.latent_channels, size[0] // self.vae.factor, size[1] // self.vae.factor)

        def normal() -> Tensor:
            return torch.randn(shape, generator=generator)

        initial, posterior = normal(), normal()
        ancestral = tuple(normal() for _ in range(steps))
        return Noise(initial, posterior, ancestral, normal() if self.conditional else None)

    @torch.no_grad()
    def harmonize(self, composite: Tensor, mask: Tensor, noise: Noise) -> Trace:
        """Stage one.

        Args:
            composite: (B,3,H,W) in [-1, 1], H and W multiples of 8.
            mask: (B,1,H,W); 1 = foreground; 0.5 and above count as 1.
            noise: as many steps are run as it has ancestral draws.

        Returns:
            The run; `image` is the result in [0, 1].

        Raises:
            HarmonyError: sizes or values outside these ranges.
        """
        mask = self._checked(composite, mask)
        trace = self.denoise(composite, mask, noise)
        latents = trace.latents[-1] / self.vae.config.scaling_factor
        if isinstance(self.vae, HarmonyVAE):
            if noise.condition is None:
                raise HarmonyError(
                    "the harmony VAE needs a further posterior draw and the noise has none; draw it with this pipeline"
                )
            trace.decoded = self.vae.decode_with(latents, torch.cat([composite, mask], 1), noise.condition)
        else:
            trace.decoded = self.vae.decode(latents)
        trace.image = (trace.decoded / 2 + 0.5).clamp(0, 1)
        return trace

    @torch.no_grad()
    def denoise(self, composite: Tensor, mask: Tensor, noise: Noise) -> Trace:
        """Stage one up to its decoder, which takes ``latents[-1]`` over the scaling factor.

        Arguments are those of :meth:`harmonize`, and nothing is checked: the mask is 0 or 1.
        """
        steps = len(noise.ancestral)
        scaling = self.vae.config.scaling_factor
        latents = noise.initial * sampler.initial_scale(self.sampler, steps)
        # The full composite is encoded: "masked image" is only what the published code calls it.
        condition = self.vae.encode(composite).sample(noise.posterior) * scaling
        small_mask = mask[:, :, :: self.vae.factor, :: self.vae.factor]
        text = self.text.expand(composite.shape[0], -1, -1)
        trace = Trace()
        for step, fresh in zip(sampler.steps(self.sampler, steps), noise.ancestral, strict=True):
            unet_input = torch.cat([latents * step.input_scale, small_mask, condition], dim=1)
            predicted = self.unet(unet_input, torch.tensor(step.timestep, device=latents.device), text)
            latents = sampler.advance(latents, predicted, step, fresh)
            trace.unet_inputs.append(unet_input)
            trace.predictions.append(predicted)
            trace.latents.append(latents)
        return trace

    @torch.no_grad()
    def refine(self, trace: Trace, composite: Tensor, mask: Tensor) -> Trace:
        """Stage two.

        Args:
            trace: of stage one; its `image` is resized to the composite's size.
            composite: (B,3,h,w) in [-1, 1] at output resolution, resized from the original picture.
            mask: (B,1,h,w), 0 or 1.

        Returns:
            The same trace with `resized`, `refined` and `final` (in [0, 1]).
        """
        if self.refiner is None or trace.image is None:
            raise HarmonyError("stage two needs a refiner and stage one's picture; load a refiner, then harmonize")
        resized = F.interpolate(
            2 * trace.image - 1, size=composite.shape[-2:], mode="bilinear", antialias=True, align_corners=False
        )
        trace.resized = resized.clamp(-1, 1)
        channels = self.refiner.config.in_channels
        trace.refined = self.refiner(torch.cat([trace.resized, mask, composite], dim=1)[:, :channels])
        trace.final = ((trace.refined.clamp(-1, 1) + 1) / 2).clamp(0, 1)
        return trace

    def _checked(self, composite: Tensor, mask: Tensor) -> Tensor:
        """The mask as 0 and 1, in a new tensor: the caller's stays as it is."""
        height, width = composite.shape[-2:]
        if height % self.vae.factor or width % self.vae.factor:
            raise HarmonyError(
                f"a composite of {width}x{height} does not fit the VAE; give sides that {self.vae.factor} divides"
            )
        if mask.shape[-2:] != composite.shape[-2:] or mask.shape[0] != composite.shape[0]:
            raise HarmonyError(
                f"the mask has shape {list(mask.shape)}, the composite {list(composite.shape)}; give one of equal size"
            )
        if composite.min() < -1 or composite.max() > 1:
            raise HarmonyError(
                f"the composite has values from {composite.min():.3g} to {composite.max():.3g}; give [-1, 1]"
            )
        return (mask >= 0.5).to(composite.dtype)

    def parts(self) -> Iterator[tuple[str, torch.nn.Module]]:
        """The networks by name."""
        yield "unet", self.unet
        yield "vae", self.vae
        if self.refiner is not None:
            yield "refiner", self.refiner
