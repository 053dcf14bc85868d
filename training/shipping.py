"""Trained weights -> the file that ships: half precision where it is safe, with the metadata that opens it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from harmonyrt.common.files import written_whole
from harmonyrt.models import FFHQH, IHARMONY4, PAPER, PAPER_10M, PHNetConfig
from harmonyrt.models.meaning import CARRIER, as_metadata, carrier

KEPT_IN_FLOAT32 = ("running_mean", "running_var")
"""A running variance passes float16's largest value, 65504, on ordinary features."""

NAMED = {"ffhqh": FFHQH, "iharmony4": IHARMONY4, "paper": PAPER, "paper-10m": PAPER_10M}
"""Networks by name."""


def configuration_name(config: PHNetConfig) -> str:
    """``"ffhqh"``, ``"iharmony4"``, ``"paper"``, ``"paper-10m"`` or ``"custom"``, whatever the output."""
    for name, known in NAMED.items():
        shape = (known.variant, known.enc_sizes, known.grid_count)
        if (config.variant, config.enc_sizes, config.grid_count) == shape:
            return name
    return "custom"


def ship(state: dict[str, Tensor], config: PHNetConfig, path: str | Path, **facts: object) -> Path:
    """Write weights as fp16 safetensors that :func:`harmonyrt.models.load_phnet` opens.

    Args:
        state: a PHNet's state dict.
        config: its configuration; output kind, shrinkages and trained sizes go into the metadata, and into a tensor
            that survives tools which drop metadata (:mod:`harmonyrt.models.meaning`).
        path: .safetensors file, replaced in one rename.
        facts: anything worth knowing about the training (steps, seed); kept as metadata.
    """
    tensors = {}
    for name, value in state.items():
        if name.startswith("feature_extractor.") and not config.extractor:
            continue  # as of a stage that trains without it
        if value.is_floating_point():
            keep = name.endswith(KEPT_IN_FLOAT32)
            value = value.detach().cpu().to(torch.float32 if keep else torch.float16)
        tensors[name] = value.contiguous()
    tensors[CARRIER] = carrier(config)
    metadata = {
        "model": "phnet",
        "configuration": configuration_name(config),
        **as_metadata(config),
        **{key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()},
    }
    path = Path(path)
    with written_whole(path) as scratch:
        save_file(tensors, scratch, metadata)
    return path
