"""Component folders as users have them (diffusers layout) -> modules, with one sentence where that fails.

A folder holds ``config.json`` and weights: safetensors, or a pickle that is read with ``weights_only``; whole or in
numbered shards with an index. Older attention names are translated.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harmonyrt.common import HarmonyError
from harmonyrt.models.checkpoints import Advice, check_tensors, read_tensors
from harmonyrt.models.diffharmony import sampler
from harmonyrt.models.diffharmony.pipeline import DiffHarmony
from harmonyrt.models.diffharmony.refiner import Refiner, RefinerConfig
from harmonyrt.models.diffharmony.sampler import SamplerConfig
from harmonyrt.models.diffharmony.text import END, TextConfig, TextEncoder
from harmonyrt.models.diffharmony.unet import UNet, UNetConfig
from harmonyrt.models.diffharmony.vae import AutoencoderKL, HarmonyVAE, VAEConfig

_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
_SUFFIXES = (".safetensors", ".bin")
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD_ATTENTION_NAME = re.compile(r"(attentions\.\d+\.)(query|key|value|proj_attn)\.")
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
        base: where subfolders are looked for that `folder` lacks (released fine-tunings often hold only a UNet);
            `folder` may then be the UNet's own folder.
        harmony_vae: folder of DiffHarmony++'s VAE, instead of ``vae/``.
        refiner: folder of the refinement UNet.

    Raises:
        HarmonyError: a folder, file or tensor that is missing, unreadable, or of another network.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise HarmonyError(f"{folder} is not a folder; give one with unet/, vae/, scheduler/ and text_encoder/")

    def part(name: str) -> Path:
        for parent in (folder, *([Path(base)] if base else [])):
            if (parent / name).is_dir():
                return parent / name
        if name == "unet" and (folder / "config.json").is_file():
            return folder
        more = f" nor {base}" if base else ""
        raise HarmonyError(
            f"{folder}{more} has no subfolder {name}/; complete it, or give the Stable Diffusion inpainting folder"
            " that it was tuned from as --base"
        )

    unet = load_unet(part("unet"))
    return DiffHarmony(
        unet=unet,
        vae=load_vae(Path(harmony_vae) if harmony_vae else part("vae")),
        text=_null_text(part("text_encoder"), unet.config.cross_attention_dim),
        sampler=load_sampler(part("scheduler")),
        refiner=load_refiner(refiner) if refiner else None,
    )


def load_unet(folder: str | Path) -> UNet:
    """Open a denoising UNet's folder."""
    folder = Path(folder)
    return _load(UNet, unet_config(_json(folder / "config.json"), folder), folder)


def load_vae(folder: str | Path) -> AutoencoderKL:
    """Open a VAE's folder: a :class:`HarmonyVAE` where its weights have a conditional encoder."""
    folder = Path(folder)
    config = _json(folder / "config.json")
    tensors = _tensors(folder)
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
    config = _json(folder / "config.json")
    tensors = _tensors(folder)
    first = tensors.get("conv_in.weight")
    if first is not None and first.ndim == 4:
        config = {**config, "in_channels": first.shape[1]}
    return _load(Refiner, refiner_config(config, folder), folder, tensors)


def load_sampler(folder: str | Path) -> SamplerConfig:
    """Read ``scheduler_config.json``; without ``timestep_spacing`` it means linspace, as published."""
    path = Path(folder) / "scheduler_config.json"
    data = _json(path)
    _only(
        data,
        path,
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


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise HarmonyError(f"{path} does not exist; give a folder in diffusers layout (config.json and weights)")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HarmonyError(f"{path} cannot be read as JSON ({error}); download it again") from None
    if not isinstance(data, dict):
        raise HarmonyError(f"{path} holds a {type(data).__name__}, not an object; download it again")
    return data


def _tensors(folder: Path) -> dict[str, Tensor]:
    """The weights of a component folder; safetensors come first, full precision before a variant."""
    for variant in ("", ".fp16", ".non_ema"):
        for suffix in _SUFFIXES:
            for stem in _STEMS:
                path = folder / f"{stem}{variant}{suffix}"
                index = folder / f"{stem}{suffix}.index{variant}.json"
                if path.is_file():
                    return _renamed(read_tensors(path)[0])
                if index.is_file():
                    return _renamed(_shards(folder, index))
    names = ", ".join(f"{_STEMS[0]}{suffix}" for suffix in _SUFFIXES)
    raise HarmonyError(f"{folder} has no weights ({names}); give a folder in diffusers layout")


def _shards(folder: Path, index: Path) -> dict[str, Tensor]:
    names = _json(index).get("weight_map")
    if not isinstance(names, dict) or any(Path(str(name)).name != name for name in names.values()):
        raise HarmonyError(f"{index} names no shards in its own folder; download it again")
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(names.values())):
        tensors |= read_tensors(folder / name)[0]
    return tensors


def _renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Attention names of older files (query, key, value, proj_attn) as they are called now."""
    renamed = {}
    for name, tensor in tensors.items():
        new = _OLD_ATTENTION_NAME.sub(lambda match: f"{match[1]}{_OLD_ATTENTION[match[2]]}.", name)
        if new != name and tensor.ndim == 4:  # still older ones are 1x1 convolutions
            tensor = tensor[:, :, 0, 0]
        renamed[new] = tensor
    return renamed


def _load(kind: Callable[..., Any], config: Any, folder: Path, tensors: dict[str, Tensor] | None = None) -> Any:
    """Build without storage, check every tensor by name, then hand the file's tensors over as they are."""
    tensors = _tensors(folder) if tensors is None else tensors
    try:
        with torch.device("meta"):
            network: nn.Module = kind(config)
    except (ValueError, RuntimeError, ZeroDivisionError) as error:  # widths that the groups do not divide, and the like
        raise HarmonyError(
            f"{folder}: config.json describes no possible network ({error}); download it again"
        ) from None
    expected = network.state_dict()
    check_tensors(tensors, expected, folder, _ADVICE)
    network.load_state_dict({name: tensors[name].float() for name in expected}, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _null_text(folder: Path, width: int) -> Tensor:
    """The empty prompt's embedding; the text encoder is dropped once it has answered."""
    data = _json(folder / "config.json")
    data = data.get("text_config", data) if "hidden_size" not in data else data
    _only(data, folder, hidden_act=("quick_gelu", "gelu"))
    tensors = {name.removeprefix("text_model."): tensor for name, tensor in _tensors(folder).items()}
    tensors = {name: t for name, t in tensors.items() if name != "embeddings.position_ids"}  # a constant
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
    token = _json(path).get("pad_token", "<|endoftext|>")
    return 0 if (token.get("content") if isinstance(token, dict) else token) == "!" else END
