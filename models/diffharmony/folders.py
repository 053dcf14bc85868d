"""Component folders in diffusers layout -> modules; every failure is one sentence.

A folder holds ``config.json`` and weights: safetensors, or a pickle that is read with ``weights_only``; whole or in
numbered shards with an index. Older attention names are translated.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harmonyrt.common import HarmonyError, HarmonyWarning
from harmonyrt.models.checkpoints import Advice, checked_tensors
from harmonyrt.models.diffharmony.configurations import (
    load_sampler,
    refiner_config,
    text_config,
    unet_config,
    vae_config,
)
from harmonyrt.models.diffharmony.parts import (
    CONFIG,
    Parts,
    check_parts,
    find_parts,
    read_json,
    weights_of,
)
from harmonyrt.models.diffharmony.pipeline import DiffHarmony
from harmonyrt.models.diffharmony.refiner import Refiner
from harmonyrt.models.diffharmony.text import END, TextEncoder
from harmonyrt.models.diffharmony.unet import UNet
from harmonyrt.models.diffharmony.vae import AutoencoderKL, HarmonyVAE
from harmonyrt.models.meaning import without_carrier
from harmonyrt.models.tensor_files import network_in, read_tensors

_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD_ATTENTION_NAME = re.compile(r"(attentions\.\d+\.)(query|key|value|proj_attn)\.")
_UNET_HEADS = r"conv_in|conv_out|time_embedding|conv_norm_out|mid_block|(?:down|up)_blocks\.\d+"
_REFINER_HEADS = r"conv_in|conv_out|conv_norm_out|mid_block|(?:down|up)_blocks\.\d+"
_VAE_HEADS = r"encoder|decoder|conditional_encoder|latent_skip_conv|quant_conv|post_quant_conv"
_TEXT_HEADS = r"embeddings\.token_embedding|final_layer_norm"
_ADVICE = Advice(
    missing="give complete weights",
    expected="config.json asks for",
    misshapen="give weights and config.json of one network",
    not_finite="give intact weights",
    unexpected="this network; give the weights of this part alone",
)


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
    config = text_config(read_json(folder / CONFIG), folder)
    tensors = _tensors(folder, _TEXT_HEADS)
    tensors.pop("embeddings.position_ids", None)  # a constant, in older files
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
