"""The JSON files of component folders in diffusers layout -> configurations.

A file that describes another computation than the one here is refused.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from harmonyrt.common import HarmonyError
from harmonyrt.models.diffharmony import sampler
from harmonyrt.models.diffharmony.parts import SCHEDULER_CONFIG, read_json
from harmonyrt.models.diffharmony.refiner import RefinerConfig
from harmonyrt.models.diffharmony.sampler import SamplerConfig
from harmonyrt.models.diffharmony.text import TextConfig
from harmonyrt.models.diffharmony.unet import UNetConfig
from harmonyrt.models.diffharmony.vae import VAEConfig

_SCHEDULERS = ("EulerAncestralDiscreteScheduler", "PNDMScheduler", "DDIMScheduler", "DDPMScheduler")
"""Whose files are read: the one that samples here, and those that Stable Diffusion's folders and training scripts name.
Of these the published code too takes nothing but the noise schedule; others sample with another rule."""
_DOWN_KINDS = {"CrossAttnDownBlock2D": True, "DownBlock2D": False}
_UP_KINDS = {"CrossAttnUpBlock2D": True, "UpBlock2D": False}


def load_sampler(folder: str | Path) -> SamplerConfig:
    """Read ``scheduler_config.json``; without ``timestep_spacing`` it means linspace, as published."""
    path = Path(folder) / SCHEDULER_CONFIG
    data = read_json(path)
    _check_supported(
        data,
        path,
        _class_name=_SCHEDULERS,
        prediction_type=("epsilon",),
        timestep_spacing=sampler.SPACINGS,
        beta_schedule=("scaled_linear", "linear"),
        trained_betas=(None,),
        rescale_betas_zero_snr=(False,),
        use_karras_sigmas=(False, None),
    )
    return SamplerConfig(**_known_fields(SamplerConfig, data, path))


def unet_config(data: dict[str, Any], where: Path) -> UNetConfig:
    """Read the ``config.json`` of a denoising UNet."""
    _check_supported(
        data,
        where,
        act_fn=("silu", "swish"),
        resnet_time_scale_shift=("default",),
        transformer_layers_per_block=(1,),
        mid_block_type=("UNetMidBlock2DCrossAttn",),
        dual_cross_attention=(False,),
        only_cross_attention=(False,),
        class_embed_type=(None,),
        addition_embed_type=(None,),
        encoder_hid_dim=(None,),
        time_embedding_type=("positional",),
        flip_sin_to_cos=(True,),
        freq_shift=(0,),
        center_input_sample=(False,),
        mid_block_scale_factor=(1,),
        downsample_padding=(1,),
        conv_in_kernel=(3,),
        conv_out_kernel=(3,),
    )
    known = _known_fields(UNetConfig, data, where)
    levels = len(known.get("block_out_channels", UNetConfig.block_out_channels))
    down = data.get("down_block_types", ["CrossAttnDownBlock2D"] * (levels - 1) + ["DownBlock2D"])
    up = data.get("up_block_types", ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * (levels - 1))
    if not (set(down) <= _DOWN_KINDS.keys() and set(up) <= _UP_KINDS.keys() and len(down) == len(up) == levels):
        raise HarmonyError(f"{where} has blocks {down} and {up}; give a UNet of the Stable Diffusion inpainting kind")
    attention = tuple(_DOWN_KINDS[kind] for kind in down)
    if attention != tuple(_UP_KINDS[kind] for kind in reversed(up)):
        raise HarmonyError(f"{where} has attention at different levels going down and up; give a symmetric UNet")
    heads = data.get("num_attention_heads") or data.get("attention_head_dim", 8)  # a misnomer that files keep
    heads = tuple(heads) if isinstance(heads, list) else (heads,) * levels
    return UNetConfig(**{**known, "attention": attention, "heads": heads})


def vae_config(data: dict[str, Any], where: Path) -> VAEConfig:
    """Read the ``config.json`` of a VAE."""
    _check_supported(
        data,
        where,
        act_fn=("silu", "swish"),
        use_quant_conv=(True,),
        use_post_quant_conv=(True,),
        mid_block_add_attention=(True,),
        shift_factor=(None, 0, 0.0),
        latents_mean=(None,),
    )
    return VAEConfig(**_known_fields(VAEConfig, data, where))


def refiner_config(data: dict[str, Any], where: Path) -> RefinerConfig:
    """Read the ``config.json`` of a refiner (``UNet2DCustom``)."""
    _check_supported(
        data,
        where,
        act_fn=("silu", "swish"),
        add_attention=(True,),
        input_residual=(True,),
        downsample_type=("conv",),
        upsample_type=("conv",),
        downsample_padding=(0,),
        attention_head_dim=(None,),
        mid_block_scale_factor=(1,),
    )
    known = _known_fields(RefinerConfig, data, where)
    if known.get("in_channels", 7) not in (3, 4, 7):
        raise HarmonyError(f"{where} has in_channels {known['in_channels']}; a refiner takes 3, 4 or 7")
    return RefinerConfig(**known)


def text_config(data: dict[str, Any], where: Path) -> TextConfig:
    """Read the ``config.json`` of a CLIP text encoder, or the text half of a whole CLIP's."""
    data = data.get("text_config", data) if "hidden_size" not in data else data
    _check_supported(data, where, hidden_act=("quick_gelu", "gelu"))
    return TextConfig(**_known_fields(TextConfig, data, where))


def _check_supported(data: dict[str, Any], where: Path, **allowed: tuple[Any, ...]) -> None:
    """Refuse a configuration that would compute something else."""
    for name, values in allowed.items():
        if name in data and data[name] not in values:
            expected = " or ".join(repr(value) for value in values)
            raise HarmonyError(f"{where}: {name} is {data[name]!r}; only {expected} is supported here")


def _known_fields(kind: type, data: dict[str, Any], where: Path) -> dict[str, Any]:
    """The fields of `kind` that `data` gives, lists as tuples."""
    known = {}
    for name, default in ((f.name, f.default) for f in dataclasses.fields(kind)):
        if data.get(name) is None or name in ("attention", "heads"):
            continue
        value = tuple(data[name]) if isinstance(data[name], list) else data[name]
        same = isinstance(value, (int, float) if isinstance(default, float) else type(default))
        if not same or isinstance(value, bool) != isinstance(default, bool):
            raise HarmonyError(f"{where}: {name} is {data[name]!r}, unlike {default!r}; give the original config.json")
        known[name] = value
    return known
