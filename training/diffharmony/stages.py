"""What each stage trains, from what, and how it is written: a folder of weights -> everything that the loop needs."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import require
from harmonyrt.models.diffharmony import (
    AutoencoderKL,
    DiffHarmony,
    HarmonyVAE,
    Refiner,
    load_refiner,
    load_sampler,
    load_unet,
    load_vae,
)
from harmonyrt.models.diffharmony.blocks import ResnetBlock, SpatialAttention
from harmonyrt.models.diffharmony.configurations import unet_config, vae_config
from harmonyrt.models.diffharmony.folders import load_null_text, load_parts
from harmonyrt.models.diffharmony.parts import CONFIG, Parts, check_parts, find_parts, read_json
from harmonyrt.models.diffharmony.refiner import BASE, LARGE, SMALL
from harmonyrt.models.diffharmony.sampler import alphas_cumprod
from harmonyrt.training.diffharmony.config import DiffusionConfig
from harmonyrt.training.diffharmony.objectives import (
    Autocast,
    ClassifierObjective,
    HarmonyVAEObjective,
    NoiseObjective,
    Objective,
    RefinerObjective,
)
from harmonyrt.training.diffharmony.saving import (
    REFINER_CONFIG,
    folder_written_whole,
    write_network,
    write_pipeline,
)

Write = Callable[[nn.Module, Path], Path]
REFINERS = {"small": SMALL, "base": BASE, "large": LARGE}


@dataclass
class Subject:
    """What the loop trains.

    Attributes:
        network: the parameters that require gradients are trained.
        objective: its loss.
        write: (averaged network, run folder) -> what was written.
        about: the network in words, for a run to be recognised by.
    """

    network: nn.Module
    objective: Objective
    write: Write
    about: str


def subject_of(config: DiffusionConfig) -> Subject:
    """Open what a run begins with.

    Raises:
        HarmonyError: a folder that is missing or of another network, or a package that is missing.
    """
    autocast = Autocast(torch.device(config.device).type, config.precision == "bf16")
    openers: dict[str, Callable[[DiffusionConfig, Autocast], Subject]] = {
        "unet": _unet,
        "inverse": _unet,
        "refiner": _refiner,
        "harmony-vae": _harmony_vae,
        "classifier": _classifier,
    }
    return openers[config.stage](config, autocast)


def parts_of(config: DiffusionConfig) -> Parts:
    """The folders of the checkpoint's parts, compared with each other."""
    assert config.checkpoint is not None  # the configuration asks for one
    parts = find_parts(config.checkpoint, base=config.base, harmony_vae=config.harmony_vae)
    folders = parts.folders
    check_parts(
        parts,
        unet_config(read_json(folders["unet"] / CONFIG), folders["unet"]),
        vae_config(read_json(folders["vae"] / CONFIG), folders["vae"]),
    )
    return parts


def _unet(config: DiffusionConfig, autocast: Autocast) -> Subject:
    diffusers: Any = require("diffusers", "diffusion", "training DiffHarmony's UNet")
    folders = parts_of(config).folders
    weights = load_unet(folders["unet"])
    network = diffusers.UNet2DConditionModel.from_config(read_json(folders["unet"] / CONFIG))
    network.load_state_dict(weights.state_dict())
    text = load_null_text(folders["text_encoder"], weights.config.cross_attention_dim)
    objective = NoiseObjective(
        load_vae(folders["vae"]),
        text,
        alphas_cumprod(load_sampler(folders["scheduler"])),
        config.stage_one_side,
        config.foreground,
        config.stage == "inverse",
        autocast,
    )
    write = functools.partial(_write_pipeline, parts=folders)
    about = f"{weights.config}, {'foreground' if config.foreground else 'whole-picture'} loss"
    return Subject(network.requires_grad_(True), objective, write, about)


def _write_pipeline(network: nn.Module, out: Path, parts: dict[str, Path]) -> Path:
    return write_pipeline(network, out / "model", parts)


def _refiner(config: DiffusionConfig, autocast: Autocast) -> Subject:
    network = fresh_refiner(config) if config.start is None else load_refiner(config.start)
    settings = {**REFINER_CONFIG, **asdict(network.config)}
    objective = RefinerObjective(network.config.in_channels, autocast)

    def write(averaged: nn.Module, out: Path) -> Path:
        return write_network(averaged, settings, out / "refiner")

    return Subject(network.requires_grad_(True), objective, write, str(network.config))


def fresh_refiner(config: DiffusionConfig) -> Refiner:
    """A refiner that changes nothing yet: its last convolution is zero."""
    shape = {**asdict(REFINERS[config.refiner]), "in_channels": config.refiner_channels}
    network = Refiner(type(BASE)(**shape))
    nn.init.zeros_(network.conv_out.weight)
    if network.conv_out.bias is not None:
        nn.init.zeros_(network.conv_out.bias)
    return network


def _harmony_vae(config: DiffusionConfig, autocast: Autocast) -> Subject:
    folder = config.start or parts_of(config).folders["vae"]
    plain = load_vae(folder)
    stage_one = _stage_one(parts_of(config), plain) if config.online else None
    network = plain if isinstance(plain, HarmonyVAE) else harmony_vae_from(plain)
    network.requires_grad_(False)
    for part in (network.conditional_encoder, network.latent_skip_conv, network.decoder):
        part.requires_grad_(True)
    settings = {**read_json(folder / CONFIG), "_class_name": "ConditionVAE", "additional_in_channels": 1}

    def write(averaged: nn.Module, out: Path) -> Path:
        return write_network(averaged, settings, out / "condition_vae")

    objective = HarmonyVAEObjective(
        network.config.latent_channels, network.factor, autocast, stage_one, config.denoising_steps
    )
    about = f"{network.config}, latents of {config.denoising_steps} steps" if config.online else str(network.config)
    return Subject(network, objective, write, about)


def _stage_one(parts: Parts, vae: AutoencoderKL) -> DiffHarmony:
    """The frozen stage one whose latents `vae` is trained to decode."""
    model = load_parts(parts)
    for _, network in model.parts():
        network.requires_grad_(False)
    found, needed = vae.config.latent_channels, model.vae.config.latent_channels
    if (found, vae.factor) != (needed, model.vae.factor):
        raise HarmonyError(
            f"the VAE to begin with has latents of {found} channels at 1/{vae.factor} of the size, stage one's have"
            f" {needed} at 1/{model.vae.factor}; give a VAE of the checkpoint's kind as start"
        )
    return model


def harmony_vae_from(plain: AutoencoderKL) -> HarmonyVAE:
    """A harmony VAE that decodes as the plain one does: its conditional encoder is a copy, its skips are zero."""
    network = HarmonyVAE(replace(plain.config, additional_in_channels=1))
    network.load_state_dict(plain.state_dict(), strict=False)
    encoder = network.conditional_encoder
    encoder.load_state_dict(plain.encoder.state_dict(), strict=False)
    silent: list[Any] = [encoder.add_conv_in, *encoder.down_block_skip_convs, encoder.mid_block_skip_conv]
    for conv in (*silent, network.latent_skip_conv):
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)
    return network


def _classifier(config: DiffusionConfig, autocast: Autocast) -> Subject:
    transformers: Any = require("transformers", "diffusion", "training the classifier")
    names = {"id2label": {0: "composite", 1: "real"}, "label2id": {"composite": 0, "real": 1}}
    if config.start is None:
        network = transformers.ResNetForImageClassification(transformers.ResNetConfig(**names))  # ResNet-50
    else:
        network = load_classifier(config.start, **names)

    def write(averaged: Any, out: Path) -> Path:
        with folder_written_whole(out / "classifier") as scratch:
            averaged.save_pretrained(scratch)
        return out / "classifier"

    shape = network.config
    about = f"ResNet of depths {shape.depths}, widths {shape.hidden_sizes}, {shape.layer_type} layers"
    return Subject(network.requires_grad_(True), ClassifierObjective(autocast), write, about)


def load_classifier(folder: Path, **settings: Any) -> Any:
    """A ResNet's folder as transformers' classifier of two classes; a head for other classes becomes a fresh one.

    Raises:
        HarmonyError: the folder does not hold one, or transformers is missing.
    """
    transformers: Any = require("transformers", "diffusion", "the classifier")
    kind = read_json(folder / CONFIG).get("model_type")
    if kind != "resnet":
        raise HarmonyError(f"{folder} holds a {kind} and not a ResNet; give a classifier's folder")
    try:
        return transformers.ResNetForImageClassification.from_pretrained(
            folder, local_files_only=True, ignore_mismatched_sizes=True, **settings
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise HarmonyError(f"{folder} cannot be opened as a ResNet ({error}); give its complete folder") from None


def recompute_blocks(network: Any) -> None:
    """Gradient checkpointing, in place: blocks keep their input alone and are computed again in the backward pass."""
    if hasattr(network, "enable_gradient_checkpointing"):
        network.enable_gradient_checkpointing()
        return
    found = [module for module in network.modules() if isinstance(module, (ResnetBlock, SpatialAttention))]
    if not found:
        raise HarmonyError("this stage's network has no blocks to compute again; leave checkpointing out")
    for module in found:
        module.forward = functools.partial(  # type: ignore[method-assign]
            checkpoint, module.forward, use_reentrant=False
        )


def settings_text(config: DiffusionConfig) -> str:
    """The configuration as JSON, for the run folder."""
    return json.dumps(asdict(config), default=str, indent=1) + "\n"


def refuse_unknown_data(config: DiffusionConfig) -> None:
    """
    Raises:
        HarmonyError: `data` is no folder.
    """
    if not config.data.is_dir():
        raise HarmonyError(
            f"{config.data} is not a folder; give a dataset of pairs, or photos and masks (see docs/training.md)"
        )
