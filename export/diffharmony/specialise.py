"""What an engine of DiffHarmony needs differently from the networks; every change keeps the function.

* The text is always the empty prompt, so each cross-attention's keys and values are constants. Text encoder, `to_k`
  and `to_v` vanish.
* The time steps are known, so each resnet's shift is a row of a table. The time embedding and its projections vanish.
* The sampler's numbers of a step stand in the same table: a step takes latents and gives latents, on one device.
* VAE scaling, `quant_conv`, the way to [0, 1] and back, and the harmony VAE's pair of 1x1 convolutions go into their
  neighbours' weights. (`post_quant_conv` stays: its bias meets the zero padding of the next convolution.)
* Attention whose scores would pass 1 GB is computed in slices (see :mod:`.sliced_attention`).
* The antialiased resize before the refiner is a product with two constant matrices, since no engine has it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harmonyrt.export.diffharmony.sliced_attention import slice_attention
from harmonyrt.models.diffharmony import sampler
from harmonyrt.models.diffharmony.refiner import Refiner
from harmonyrt.models.diffharmony.sampler import SamplerConfig
from harmonyrt.models.diffharmony.unet import Attention, UNet
from harmonyrt.models.diffharmony.vae import LOG_VARIANCE_RANGE, AutoencoderKL, HarmonyVAE
from harmonyrt.runtime.diffusion.schedule import Program


def programs(config: SamplerConfig, counts: Sequence[int]) -> tuple[list[sampler.Step], dict[int, Program]]:
    """All rows of a step table, and which of them each step count uses."""
    rows: list[sampler.Step] = []
    result = {}
    for count in sorted(set(counts)):
        steps, scale = sampler.steps(config, count), sampler.initial_scale(config, count)
        result[count] = Program(count, tuple(range(len(rows), len(rows) + count)), scale)
        rows += steps
    return rows, result


class ConstantCrossAttention(nn.Module):
    """Cross-attention to a text that never changes: its keys (scaled, transposed) and values are constants."""

    keys: Tensor
    values: Tensor

    def __init__(self, attention: Attention, text: Tensor) -> None:
        super().__init__()
        self.heads = attention.heads
        self.to_q, self.to_out = attention.to_q, attention.to_out
        keys, values = attention.split(attention.to_k(text)), attention.split(attention.to_v(text))
        self.register_buffer("keys", (keys * keys.shape[-1] ** -0.5).transpose(2, 3).contiguous())
        self.register_buffer("values", values.contiguous())

    def forward(self, x: Tensor, text: Tensor | None) -> Tensor:
        query = self.to_q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        mixed = torch.softmax(query @ self.keys, dim=-1) @ self.values
        return self.to_out[0](mixed.transpose(1, 2).flatten(2))


class DenoisingStep(nn.Module):
    """One step: latents of one noise level -> latents of the next.

    Args:
        unet: stays as it is; its weights are shared.
        text: the empty prompt's embedding (1,tokens,width).
        rows: the step table, from :func:`programs`.
    """

    numbers: Tensor
    shifts: Tensor

    def __init__(self, unet: UNet, text: Tensor, rows: Sequence[sampler.Step]) -> None:
        super().__init__()
        timesteps = torch.tensor([row.timestep for row in rows])
        with torch.no_grad():
            embedding = F.silu(unet.time_embedding(timesteps))
            shifts = [resnet.time_emb_proj(embedding) for resnet in unet.resnets()]
            self.unet = _sharing_weights(unet)
            for module in list(self.unet.modules()):
                if hasattr(module, "attn2"):
                    module.attn2 = ConstantCrossAttention(module.attn2, text)
        for resnet in self.unet.resnets():
            del resnet.time_emb_proj
        del self.unet.time_embedding
        self.widths = [shift.shape[1] for shift in shifts]
        numbers = [[row.input_scale, row.drift, row.noise_scale] for row in rows]
        self.register_buffer("shifts", torch.cat(shifts, dim=1)[:, :, None, None])
        self.register_buffer("numbers", torch.tensor(numbers)[:, :, None, None])

    def forward(self, latents: Tensor, condition: Tensor, noise: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """Run a step.

        Args:
            latents: (1,4,h,w).
            condition: (1,5,h,w), of :class:`EncodeComposite`.
            noise: (1,4,h,w), the step's draw; the last step ignores it.
            step: int64 (1,), row of the table.

        Returns:
            The next latents, and the noise that was predicted.
        """
        input_scale, drift, noise_scale = self.numbers.index_select(0, step).split(1, dim=1)
        shifts = self.shifts.index_select(0, step).split(self.widths, dim=1)
        predicted = self.unet.body(torch.cat([latents * input_scale, condition], dim=1), iter(shifts), None)
        return latents + predicted * drift + noise * noise_scale, predicted


def _sharing_weights(module: nn.Module):
    """A copy of the module tree around the same tensors: a second UNet at no cost. Its attention may be in slices."""
    shared = [*module.parameters(), *module.buffers()]
    return slice_attention(copy.deepcopy(module, {id(tensor): tensor for tensor in shared}))


def _through(after: nn.Conv2d, before: nn.Conv2d) -> nn.Conv2d:
    """`after(before(x))` as one convolution, where `after` is 1x1; in float64."""
    matrix = after.weight.double()[:, :, 0, 0]
    weight = torch.einsum("oi,ichw->ochw", matrix, before.weight.double())
    joined = copy.copy(before)
    joined.out_channels = after.out_channels
    return _with(joined, weight, matrix @ _bias(before) + _bias(after))


def _scaled(conv: nn.Conv2d, scale: Tensor | float, offset: Tensor | float = 0.0) -> nn.Conv2d:
    """`scale * conv(x) + offset` as one convolution; in float64."""
    scale = torch.as_tensor(scale, dtype=torch.float64).expand(conv.out_channels)
    return _with(copy.copy(conv), conv.weight.double() * scale[:, None, None, None], _bias(conv) * scale + offset)


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None  # every convolution of these networks has one
    return conv.bias.double()


def _with(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    conv._parameters = dict(conv._parameters)  # copy.copy shares the dictionary
    conv.weight = nn.Parameter(weight.float(), requires_grad=False)
    conv.bias = nn.Parameter(bias.float(), requires_grad=False)
    return conv


class EncodeComposite(nn.Module):
    """Composite and mask in [0, 1], and noise -> the condition that every step sees."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.factor, latents = vae.factor, vae.config.latent_channels
        self.scaling = vae.config.scaling_factor
        self.encoder = _sharing_weights(vae.encoder)
        scale = torch.ones(2 * latents, dtype=torch.float64)
        scale[:latents] = self.scaling
        self.encoder.conv_out = _scaled(_through(vae.quant_conv, vae.encoder.conv_out), scale)

    def forward(self, image: Tensor, mask: Tensor, noise: Tensor) -> Tensor:
        """(1,3,H,W), (1,1,H,W) of 0 and 1, (1,4,H/8,W/8) -> (1,5,H/8,W/8): mask, scaled sample of the posterior."""
        mean, log_variance = self.encoder(2 * image - 1).chunk(2, dim=1)
        std = self.scaling * torch.exp(0.5 * log_variance.clamp(*LOG_VARIANCE_RANGE))
        return torch.cat([mask[:, :, :: self.factor, :: self.factor], mean + std * noise], dim=1)


class DecodeLatents(nn.Module):
    """Latents -> picture in [0, 1]."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.post_quant_conv, self.decoder = _decoder_parts(vae)

    def forward(self, latents: Tensor) -> Tensor:
        """(1,4,h,w) -> (1,3,8h,8w)."""
        return self.decoder(self.post_quant_conv(latents)).clamp(0, 1)


class DecodeWithCondition(nn.Module):
    """Latents, composite and mask -> picture in [0, 1], through the harmony VAE."""

    def __init__(self, vae: HarmonyVAE) -> None:
        super().__init__()
        self.post_quant_conv, self.decoder = _decoder_parts(vae)
        self.conditional_encoder = _sharing_weights(vae.conditional_encoder)
        self.conditional_encoder.conv_out = _through(vae.quant_conv, vae.conditional_encoder.conv_out)
        self.latent_skip_conv = _through(vae.latent_skip_conv, vae.post_quant_conv)

    def forward(self, latents: Tensor, image: Tensor, mask: Tensor, noise: Tensor) -> Tensor:
        """(1,4,h,w), (1,3,8h,8w) in [0, 1], (1,1,8h,8w) of 0 and 1, (1,4,h,w) -> (1,3,8h,8w)."""
        moments, skips, mid_skip = self.conditional_encoder(torch.cat([2 * image - 1, mask], dim=1))
        mean, log_variance = moments.chunk(2, dim=1)
        sample = mean + torch.exp(0.5 * log_variance.clamp(*LOG_VARIANCE_RANGE)) * noise
        mixed = self.post_quant_conv(latents) + self.latent_skip_conv(sample)
        return self.decoder(mixed, skips, mid_skip).clamp(0, 1)


def _decoder_parts(vae: AutoencoderKL):
    """`post_quant_conv` that takes scaled latents, and a decoder that gives [0, 1] instead of [-1, 1]."""
    unscaling = copy.copy(vae.post_quant_conv)
    unscaling = _with(unscaling, unscaling.weight.double() / vae.config.scaling_factor, _bias(unscaling))
    decoder = _sharing_weights(vae.decoder)
    decoder.conv_out = _scaled(vae.decoder.conv_out, 0.5, 0.5)
    return unscaling, decoder


class RefinePicture(nn.Module):
    """Stage one's picture, and the composite and mask at output size -> the refined picture, all in [0, 1].

    Args:
        refiner: of 7, 4 or 3 input channels; what it does not take is no input of the graph either.
        inference_size: [height, width] of stage one's picture.
        output_size: [height, width] of the result.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, refiner: Refiner, inference_size: tuple[int, int], output_size: tuple[int, int]) -> None:
        super().__init__()
        self.refiner = _sharing_weights(refiner)
        self.resizes = inference_size != output_size
        if self.resizes:
            rows, columns = (_resizing(a, b) for a, b in zip(inference_size, output_size, strict=True))
            self.register_buffer("rows", rows)
            self.register_buffer("columns", columns.T.contiguous())

    def forward(self, image: Tensor, mask: Tensor | None = None, composite: Tensor | None = None) -> Tensor:
        """(1,3,H,W), (1,1,h,w), (1,3,h,w) -> (1,3,h,w)."""
        picture = (2 * (self.rows @ image @ self.columns if self.resizes else image) - 1).clamp(-1, 1)
        inputs = [picture] if mask is None else [picture, mask]
        inputs += [] if composite is None else [2 * composite - 1]
        return (self.refiner(torch.cat(inputs, dim=1)).clamp(-1, 1) + 1) / 2


def _resizing(before: int, after: int) -> Tensor:
    """The matrix (after,before) of an antialiased bilinear resize."""
    identity = torch.eye(before)[None, None]
    resized = F.interpolate(identity, size=(after, before), mode="bilinear", antialias=True, align_corners=False)
    return resized[0, 0]
