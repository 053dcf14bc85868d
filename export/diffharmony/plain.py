"""The networks unspecialised, with the interfaces of Hugging Face's ONNX pipelines: the yardstick for specialisation.

Names as optimum has them: ``unet`` (sample, timestep, encoder_hidden_states -> out_sample), ``vae_encoder`` (sample ->
latent_parameters), ``vae_decoder`` (latent_sample -> sample). diffusers' own ONNX pipeline takes the encoder's first
output for latents, so the means stand there. Sizes are static, unlike optimum's.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from harmonyrt.export.diffharmony.components import Component
from harmonyrt.models.diffharmony import AutoencoderKL, DiffHarmony


class PlainEncoder(nn.Module):
    """Picture in [-1, 1] -> means; means and log-variances together."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.encoder, self.quant_conv = vae.encoder, vae.quant_conv

    def forward(self, sample: Tensor) -> tuple[Tensor, Tensor]:
        moments = self.quant_conv(self.encoder(sample))
        return moments.chunk(2, dim=1)[0], moments


class PlainDecoder(nn.Module):
    """Unscaled latents -> picture, about [-1, 1]."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.post_quant_conv, self.decoder = vae.post_quant_conv, vae.decoder

    def forward(self, latent_sample: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(latent_sample))


def plain_components(model: DiffHarmony, size: tuple[int, int]) -> Iterator[Component]:
    """The components one after another; a harmony VAE comes as the plain autoencoder inside it.

    Args:
        model: the PyTorch networks.
        size: [height, width] of the picture, multiples of 8.
    """
    height, width = size
    latent = (model.vae.config.latent_channels, height // model.vae.factor, width // model.vae.factor)
    picture = {"sample": (1, 3, height, width)}
    yield Component("vae_encoder", PlainEncoder(model.vae).eval(), picture, ("latent_sample", "latent_parameters"))
    inputs = {
        "sample": (1, model.unet.config.in_channels, *latent[1:]),
        "timestep": (1,),
        "encoder_hidden_states": tuple(model.text.shape),
    }
    yield Component("unet", model.unet, inputs, ("out_sample",))
    yield Component("vae_decoder", PlainDecoder(model.vae).eval(), {"latent_sample": (1, *latent)}, ("sample",))
