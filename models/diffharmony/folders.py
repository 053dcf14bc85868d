"""Component folders in diffusers layout -> modules; every failure is one sentence.

A folder holds ``config.json`` and weights: safetensors, or a pickle that is read with ``weights_only``; whole or in
numbered shards with an index. Older attention names are translated.
"""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harmonyrt.common import HarmonyError, HarmonyWarning
from harmonyrt.models.checkpoints import Advice, checked_tensors
from harmonyrt.models.diffharmony import sampler
from harmonyrt.models.diffharmony.parts import (
    CONFIG,
    SCHEDULER_CONFIG,
    Parts,
    check_parts,
    find_parts,
    read_json,
    weights_of,
)
from harmonyrt.models.diffharmony.pipeline import DiffHarmony
from harmonyrt.models.diffharmony.refiner import Refiner, RefinerConfig
from harmonyrt.models.diffharmony.sampler import SamplerConfig
from harmonyrt.models.diffharmony.text import END, TextConfig, TextEncoder
from harmonyrt.models.diffharmony.unet import UNet, UNetConfig
from harmonyrt.models.diffharmony.vae import AutoencoderKL, HarmonyVAE, VAEConfig
from harmonyrt.models.meaning import without_carrier
from harmonyrt.models.tensor_files import network_in, read_tensors

_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD_ATTENTION_NAME = re.compile(r"(attentions\.\d+\.)(query|key|value|proj_attn)\.")
_UNET_HEADS = r"conv_in|conv_out|time_embedding|conv_norm_out|mid_block|(?:down|up)_blocks\.\d+"
_REFINER_HEADS = r"conv_in|conv_out|conv_norm_out|mid_block|(?:down|up)_blocks\.\d+"
_VAE_HEADS = r"encoder|decoder|conditional_encoder|latent_skip_conv|quant_conv|post_quant_conv"
_TEXT_HEADS = r"embeddings\.token_embedding|final_layer_norm"
_SCHEDULERS = ("EulerAncestralDiscreteScheduler", "PNDMScheduler", "DDIMScheduler", "DDPMScheduler")
"""Whose files are read: the one that samples here, and those that Stable Diffusion's folders and training scripts name.
Of these the published code too takes nothing but the noise schedule; others sample with another rule."""
_ADVICE = Advice(
    missing="give complete weights",
    expected="config.json asks for",
    misshapen="give weights and config.json of one network",
    not_finite="give intact weights",
    unexpected="this network; give the weights of this part alone",
)
_DOWN_KINDS = {"CrossAttnDownBlock2D": True, "DownBlock2D": False}
_UP_KINDS = {"CrossAttnUpBlock2D": True, "UpBlock2D": False}


def load_diffharmony(
    folder: str | Path,
    *,
    base: str | Path | None = None,
    harmony_vae: str | Path | None = None,
    refiner: str | Path | None = None,
) -> DiffHarmony:
    """Open DiffHarmony from folders.

    Args:
        folder: with the subfolders ``unet/``, ``vae/``, ``scheduler/`` and ``text_encoder/``.
        base: where to look for subfolders that `folder` lacks (released fine-tunings often hold only a UNet);
            `folder` may then be the UNet's own folder.
        harmony_vae: folder of DiffHarmony++'s VAE, instead of ``vae/``.
        refiner: folder of the refinement UNet.

    Raises:
        HarmonyError: a folder, file or tensor that is missing, unreadable, or of another network.
    """
    parts = find_parts(folder, base=base, harmony_vae=harmony_vae, refiner=refiner)
    for note in parts.notes:
        warnings.warn(note, HarmonyWarning, stacklevel=2)
    return load_parts(parts)


def load_parts(parts: Parts) -> DiffHarmony:
    """Open the networks of folders that :func:`find_parts` found; configurations are compared before weights are read.

    Raises:
        HarmonyError: a file or tensor that is missing, unreadable, or of another network, or parts of different kinds.
    """
    folders = parts.folders
    check_parts(
        parts,
        unet_config(read_json(folders["unet"] / CONFIG), folders["unet"]),
        vae_config(read_json(folders["vae"] / CONFIG), folders["vae"]),
        refiner_config(read_json(folders["refiner"] / CONFIG), folders["refiner"]) if "refiner" in folders else None,
    )
    schedule = load_sampler(folders["scheduler"])
    unet = load_unet(folders["unet"])
    text = load_null_text(folders["text_encoder"], unet.config.cross_attention_dim)
    vae = load_vae(folders["vae"])
    if parts.harmony_vae and not isinstance(vae, HarmonyVAE):
        raise HarmonyError(
            f"{folders['vae']} is a plain VAE without a conditional encoder; give DiffHarmony++'s, or leave"
            " --harmony-vae out"
        )
    refiner = load_refiner(folders["refiner"]) if "refiner" in folders else None
    return DiffHarmony(unet=unet, vae=vae, text=text, sampler=schedule, refiner=refiner)


def load_unet(folder: str | Path) -> UNet:
    """Open a denoising UNet's folder."""
    folder = Path(folder)
    return _load(UNet, unet_config(read_json(folder / CONFIG), folder), folder, _tensors(folder, _UNET_HEADS))


def load_vae(folder: str | Path) -> AutoencoderKL:
    """Open a VAE's folder: a :class:`HarmonyVAE` where its weights have a conditional encoder."""
    folder = Path(folder)
    config = read_json(folder / CONFIG)
    tensors = _tensors(folder, _VAE_HEADS)
    harmony = "conditional_encoder.add_conv_in.weight" in tensors
    if harmony:
        added = tensors["conditional_encoder.add_conv_in.weight"]
        config = {**config, "additional_in_channels": added.shape[1] if added.ndim == 4 else 1}
    elif config.get("_class_name") == "ConditionVAE" or config.get("additional_in_channels"):
        raise HarmonyError(
            f"{folder} is configured as a harmony VAE and has no tensor conditional_encoder.add_conv_in.weight;"
            " give its complete weights, or the plain VAE's folder"
        )
    kind: Callable[..., Any] = HarmonyVAE if harmony else AutoencoderKL
    return _load(kind, vae_config(config, folder), folder, tensors)


def load_refiner(folder: str | Path) -> Refiner:
    """Open a refiner's folder; its input channels are those of its weights (published configurations say 3)."""
    folder = Path(folder)
    config = read_json(folder / CONFIG)
    tensors = _tensors(folder, _REFINER_HEADS)
    first = tensors.get("conv_in.weight")
    if first is not None and first.ndim == 4:
        config = {**config, "in_channels": first.shape[1]}
    return _load(Refiner, refiner_config(config, folder), folder, tensors)


def load_sampler(folder: str | Path) -> SamplerConfig:
    """Read ``scheduler_config.json``; without ``timestep_spacing`` it means linspace, as published."""
    path = Path(folder) / SCHEDULER_CONFIG
    data = read_json(path)
    _only(
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
    return SamplerConfig(**_known(SamplerConfig, data, path))


def unet_config(data: dict[str, Any], where: Path) -> UNetConfig:
    """Read the ``config.json`` of a denoising UNet."""
    _only(
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
    known = _known(UNetConfig, data, where)
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
    _only(
        data,
        where,
        act_fn=("silu", "swish"),
        use_quant_conv=(True,),
        use_post_quant_conv=(True,),
        mid_block_add_attention=(True,),
        shift_factor=(None, 0, 0.0),
        latents_mean=(None,),
    )
    return VAEConfig(**_known(VAEConfig, data, where))


def refiner_config(data: dict[str, Any], where: Path) -> RefinerConfig:
    """Read the ``config.json`` of a refiner (``UNet2DCustom``)."""
    _only(
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
    known = _known(RefinerConfig, data, where)
    if known.get("in_channels", 7) not in (3, 4, 7):
        raise HarmonyError(f"{where} has in_channels {known['in_channels']}; a refiner takes 3, 4 or 7")
    return RefinerConfig(**known)


def _only(data: dict[str, Any], where: Path, **allowed: tuple[Any, ...]) -> None:
    """Refuse a configuration that would compute something else."""
    for name, values in allowed.items():
        if name in data and data[name] not in values:
            expected = " or ".join(repr(value) for value in values)
            raise HarmonyError(f"{where}: {name} is {data[name]!r}; only {expected} is supported here")


def _known(kind: type, data: dict[str, Any], where: Path) -> dict[str, Any]:
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


def _tensors(folder: Path, heads: str) -> dict[str, Tensor]:
    """The weights of a component's folder by the names of its network."""
    files = weights_of(folder)
    tensors: dict[str, Tensor] = {}
    for path in files[1:] if len(files) > 1 else files:
        tensors |= read_tensors(path)[0]
    taken = network_in(tensors, heads, files[0])
    for note in taken.notes:
        warnings.warn(f"{folder.name}/{note}", HarmonyWarning, stacklevel=2)
    return _renamed(without_carrier(taken.tensors))


def _renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Attention names of older files (query, key, value, proj_attn) as they are called now."""
    renamed = {}
    for name, tensor in tensors.items():
        new = _OLD_ATTENTION_NAME.sub(lambda match: f"{match[1]}{_OLD_ATTENTION[match[2]]}.", name)
        if new != name and tensor.ndim == 4:  # still older ones are 1x1 convolutions
            tensor = tensor[:, :, 0, 0]
        renamed[new] = tensor
    return renamed


def _load(kind: Callable[..., Any], config: Any, folder: Path, tensors: dict[str, Tensor]) -> Any:
    """Build without storage, check every tensor by name, then assign the file's tensors."""
    try:
        with torch.device("meta"):
            network: nn.Module = kind(config)
    except (ValueError, RuntimeError, ZeroDivisionError) as error:  # widths that the groups do not divide, and the like
        raise HarmonyError(
            f"{folder}: config.json describes no possible network ({error}); download it again"
        ) from None
    expected = network.state_dict()
    network.load_state_dict(checked_tensors(tensors, expected, folder, _ADVICE), strict=True, assign=True)
    return network.eval().requires_grad_(False)


def load_null_text(folder: Path, width: int) -> Tensor:
    """The empty prompt's embedding (1,tokens,width) by a text encoder's folder; the encoder is dropped afterwards.

    Raises:
        HarmonyError: the folder is not usable, or its encoder embeds text in another width.
    """
    data = read_json(folder / CONFIG)
    data = data.get("text_config", data) if "hidden_size" not in data else data
    _only(data, folder, hidden_act=("quick_gelu", "gelu"))
    tensors = {
        name: t for name, t in _tensors(folder, _TEXT_HEADS).items() if name != "embeddings.position_ids"
    }  # a constant
    config = TextConfig(**_known(TextConfig, data, folder))
    if config.hidden_size != width:
        raise HarmonyError(
            f"{folder} embeds text in {config.hidden_size} values, the UNet expects {width};"
            " give the text_encoder/ of the Stable Diffusion that the UNet was tuned from"
        )
    return _load(TextEncoder, config, folder, tensors).null_text(_padding_token(folder.parent / "tokenizer"))


def _padding_token(tokenizer: Path) -> int:
    """What fills the empty prompt: the end token, or token 0 in Stable Diffusion 2."""
    path = tokenizer / "special_tokens_map.json"
    if not path.is_file():
        return END
    token = read_json(path).get("pad_token", "<|endoftext|>")
    return 0 if (token.get("content") if isinstance(token, dict) else token) == "!" else END
