"""Trained networks as folders in diffusers' layout, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from harmonyrt.common.files import make_folder

WEIGHTS = "diffusion_pytorch_model.safetensors"
_ABSENT = ("safety_checker", "feature_extractor", "image_encoder")
REFINER_CONFIG: dict[str, Any] = {
    "_class_name": "UNet2DCustom",
    "sample_size": 256,
    "down_block_types": ["DownBlock2D"] * 4,
    "up_block_types": ["UpBlock2D"] * 4,
    "mid_block_scale_factor": 1,
    "downsample_padding": 0,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "act_fn": "silu",
    "attention_head_dim": None,
    "add_attention": True,
    "input_residual": True,
}
"""What the released configurations of refiners have in common."""


@contextlib.contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """Yield a scratch folder that takes the place of `path` at the end; on an error it is removed."""
    make_folder(path.parent)
    scratch, old = path.parent / f".{path.name}.partial", path.parent / f".{path.name}.old"
    for leftover in (scratch, old):
        shutil.rmtree(leftover, ignore_errors=True)
    scratch.mkdir()
    try:
        yield scratch
        if path.exists():
            path.rename(old)
        scratch.rename(path)
    finally:
        for leftover in (scratch, old):
            shutil.rmtree(leftover, ignore_errors=True)


def write_network(network: nn.Module, config: dict[str, Any], folder: Path) -> Path:
    """``config.json`` and the weights of a module of this project, which diffusers' classes have no name for."""
    with folder_written_whole(folder) as scratch:
        (scratch / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
        save_file(tensors, scratch / WEIGHTS, {"format": "pt"})
    return folder


def write_pipeline(unet: Any, folder: Path, parts: dict[str, Path]) -> Path:
    """A whole Stable Diffusion inpainting folder with a trained UNet; its other parts are copies.

    Args:
        unet: diffusers' ``UNet2DConditionModel``, or another network with ``save_pretrained``.
        folder: to write.
        parts: folders of ``vae``, ``scheduler`` and ``text_encoder``; what lies next to the text encoder and belongs to
            a pipeline (``tokenizer``) is taken along. No safety checker is.
    """
    with folder_written_whole(folder) as scratch:
        unet.save_pretrained(scratch / "unet")
        for name in ("vae", "scheduler", "text_encoder"):
            shutil.copytree(parts[name], scratch / name)
        around = parts["text_encoder"].parent
        if (around / "tokenizer").is_dir():
            shutil.copytree(around / "tokenizer", scratch / "tokenizer")
        (scratch / "model_index.json").write_text(json.dumps(_index(scratch), indent=2) + "\n")
    return folder


def _index(folder: Path) -> dict[str, Any]:
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text()).get("_class_name")
    version = json.loads((folder / "unet" / "config.json").read_text()).get("_diffusers_version", "0.30.0")
    has_tokenizer = (folder / "tokenizer").is_dir()
    return {
        "_class_name": "StableDiffusionInpaintPipeline",
        "_diffusers_version": version,
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", scheduler or "EulerAncestralDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"] if has_tokenizer else [None, None],
        **{name: [None, None] for name in _ABSENT},
        "requires_safety_checker": False,
    }
