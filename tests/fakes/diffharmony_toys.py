"""Toys to train DiffHarmony on: pairs with an answer that the scene tells, and tiny networks with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from harmonyrt.export.diffharmony.random_weights import random_diffharmony
from harmonyrt.models.diffharmony.text import TextConfig, TextEncoder

GOLDEN = Path(__file__).parents[1] / "golden"
SIDE = 64


def toy(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Composite, mask and real picture: a scene under coloured light, whose object lost that light."""
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    light = rng.uniform(0.35, 1.0, 3)
    albedo = 0.55 + 0.3 * np.sin(6 * rows + rng.uniform(0, 6)) * np.cos(5 * columns + rng.uniform(0, 6))
    centre = rng.uniform(0.35, 0.65, 2)
    mask = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < rng.uniform(0.2, 0.3) ** 2
    real = albedo[..., None] * light * np.ones(3)
    composite = np.where(mask[..., None], albedo[..., None], real)
    return composite, mask, real


def write_toys(root: Path, counts: dict[str, int]) -> Path:
    """A dataset in iHarmony4's layout with so many composites in each split."""
    rng = np.random.default_rng(7)
    for name in ("composite_images", "masks", "real_images"):
        (root / name).mkdir(parents=True)
    for split, count in counts.items():
        names = []
        for n in range(count):
            composite, mask, real = toy(rng)
            names.append(f"{split}{n}_1_1.png")
            for folder, stem, picture in (
                ("composite_images", f"{split}{n}_1_1", composite),
                ("masks", f"{split}{n}_1", mask),
                ("real_images", f"{split}{n}", real),
            ):
                Image.fromarray((picture * 255).astype(np.uint8)).save(root / folder / f"{stem}.png")
        (root / f"{split}.txt").write_text("\n".join(names) + "\n")
    return root


def write_part(folder: Path, config: dict, state: dict[str, torch.Tensor], file: str) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file({name: value.contiguous() for name, value in state.items()}, folder / file)


def write_base(root: Path) -> Path:
    """A tiny Stable Diffusion inpainting folder, and a tiny refiner next to it."""
    torch.manual_seed(0)
    networks = random_diffharmony("tiny")
    configs = {
        part: json.loads((GOLDEN / f"dh_{part}_tiny_state_dict.json").read_text())["config"]
        for part in ("unet", "vae", "clip", "refiner")
    }
    weights = "diffusion_pytorch_model.safetensors"
    write_part(
        root / "unet", {"_class_name": "UNet2DConditionModel", **configs["unet"]}, networks.unet.state_dict(), weights
    )
    write_part(root / "vae", {"_class_name": "AutoencoderKL", **configs["vae"]}, networks.vae.state_dict(), weights)
    write_part(root / "refiner", configs["refiner"], networks.refiner.state_dict(), weights)
    fields = TextConfig.__dataclass_fields__
    text = TextEncoder(TextConfig(**{key: value for key, value in configs["clip"].items() if key in fields}))
    state = {f"text_model.{name}": value for name, value in text.state_dict().items()}
    write_part(
        root / "text_encoder", {"architectures": ["CLIPTextModel"], **configs["clip"]}, state, "model.safetensors"
    )
    (root / "scheduler").mkdir()
    schedule = {"_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1,
                "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "skip_prk_steps": True}  # fmt: skip
    (root / "scheduler" / "scheduler_config.json").write_text(json.dumps(schedule))
    return root
