"""Which folder each part of DiffHarmony comes from, and whether the parts belong together; before any tensor is read.

What was named supplies what it can. A base supplies what was not named, and never the UNet: a tuned UNet in a layout
that is not known here would otherwise be replaced by an untuned one, and every gate would pass.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmonyrt.common import HarmonyError

if TYPE_CHECKING:
    from harmonyrt.models.diffharmony.refiner import RefinerConfig
    from harmonyrt.models.diffharmony.unet import UNetConfig
    from harmonyrt.models.diffharmony.vae import VAEConfig

CONFIG = "config.json"
SCHEDULER_CONFIG = "scheduler_config.json"
_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
_SUFFIXES = (".safetensors", ".bin")
_EMA = "unet_ema"  # where diffusers' training scripts keep the averaged UNet of a checkpoint
_SUBFOLDERS = "unet/, vae/, scheduler/ and text_encoder/"
CONDITION_CHANNELS = 1  # the mask


@dataclass(frozen=True)
class Parts:
    """The folder of each part, and sentences about choices among several.

    Attributes:
        folders: by part: ``unet``, ``vae``, ``scheduler``, ``text_encoder``, and ``refiner`` where there is one.
        harmony_vae: the VAE was named as DiffHarmony++'s.
        notes: what to tell the user.
    """

    folders: dict[str, Path]
    harmony_vae: bool = False
    notes: tuple[str, ...] = ()

    def files(self) -> dict[str, tuple[Path, ...]]:
        """The files that each part is read from, weights or the scheduler's configuration."""
        return {
            name: (folder / SCHEDULER_CONFIG,) if name == "scheduler" else weights_of(folder)
            for name, folder in self.folders.items()
        }


def find_parts(
    folder: str | Path,
    *,
    base: str | Path | None = None,
    harmony_vae: str | Path | None = None,
    refiner: str | Path | None = None,
) -> Parts:
    """Find each part's folder; arguments as of :func:`harmonyrt.models.diffharmony.load_diffharmony`.

    Raises:
        HarmonyError: a folder that is missing, or has no UNet.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise HarmonyError(f"{folder} is not a folder; give one with {_SUBFOLDERS}")
    unet, notes = _unet(folder)

    def part(name: str) -> Path:
        for parent in (folder, *([Path(base)] if base else [])):
            if (parent / name).is_dir():
                return parent / name
        more = f" nor {base}" if base else ""
        raise HarmonyError(
            f"{folder}{more} has no subfolder {name}/; complete it, or give the Stable Diffusion inpainting folder"
            " that it was tuned from as --base"
        )

    folders = {
        "unet": unet,
        "vae": Path(harmony_vae) if harmony_vae else part("vae"),
        "scheduler": part("scheduler"),
        "text_encoder": part("text_encoder"),
        **({"refiner": Path(refiner)} if refiner else {}),
    }
    return Parts(folders, harmony_vae is not None, notes)


def _unet(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """The UNet that a folder holds."""
    if (folder / "unet").is_dir():
        if (folder / _EMA).is_dir():
            return folder / "unet", (
                f"{folder.name} holds unet/ and the averaged {_EMA}/; unet/ was taken: give {_EMA}/ itself as"
                " --checkpoint if it is meant",
            )
        return folder / "unet", ()
    if (folder / CONFIG).is_file():
        return folder, ()
    if (folder / _EMA).is_dir():
        return folder / _EMA, (f"{folder.name} has no unet/; its averaged {_EMA}/ was taken",)
    if any("lora" in path.name.lower() for path in folder.iterdir()):
        raise HarmonyError(
            f"{folder} holds LoRA weights and no whole UNet; merge them into the UNet (diffusers: fuse_lora) and give"
            " the folder that its save_pretrained writes"
        )
    if any(path.suffix in (".safetensors", ".bin", ".pt", ".pth", ".ckpt") for path in folder.iterdir()):
        raise HarmonyError(
            f"{folder} holds weights without a {CONFIG}, so it is unknown which network they belong to; give the"
            f" UNet's folder in diffusers layout ({CONFIG} next to the weights)"
        )
    raise HarmonyError(
        f"{folder} has no UNet: neither a subfolder unet/ nor {CONFIG} and weights; give the tuned UNet's"
        " folder, or a whole Stable Diffusion inpainting folder"
    )


def weights_of(folder: Path) -> tuple[Path, ...]:
    """The weights files of a part's folder: one, or an index and its shards; safetensors and full precision first.

    Raises:
        HarmonyError: none, or an index that names no shards.
    """
    for variant in ("", ".fp16", ".non_ema"):
        for suffix in _SUFFIXES:
            for stem in _STEMS:
                path = folder / f"{stem}{variant}{suffix}"
                index = folder / f"{stem}{suffix}.index{variant}.json"
                if path.is_file():
                    return (path,)
                if index.is_file():
                    return (index, *_shards(folder, index))
    names = ", ".join(f"{_STEMS[0]}{suffix}" for suffix in _SUFFIXES)
    raise HarmonyError(f"{folder} has no weights ({names}); give a folder in diffusers layout")


def _shards(folder: Path, index: Path) -> list[Path]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or any(Path(str(name)).name != name for name in names.values()):
        raise HarmonyError(f"{index} names no shards in its own folder; download it again")
    return [folder / name for name in sorted(set(names.values()))]


def read_json(path: Path) -> dict[str, Any]:
    """An object from a file.

    Raises:
        HarmonyError: no such file, or something else in it.
    """
    if not path.is_file():
        raise HarmonyError(f"{path} does not exist; give a folder in diffusers layout (config.json and weights)")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise HarmonyError(f"{path} cannot be read as JSON ({error}); download it again") from None
    if not isinstance(data, dict):
        raise HarmonyError(f"{path} holds a {type(data).__name__}, not an object; download it again")
    return data


def check_parts(parts: Parts, unet: UNetConfig, vae: VAEConfig, refiner: RefinerConfig | None = None) -> None:
    """Refuse parts that do not belong together: the UNet takes latents, mask and composite, and gives latents.

    Raises:
        HarmonyError: naming both parts, what was found and what is needed.
    """
    latents, where = vae.latent_channels, parts.folders
    need = 2 * latents + CONDITION_CHANNELS
    if unet.in_channels != need:
        kind = " (a plain Stable Diffusion, not its inpainting version)" if unet.in_channels == latents else ""
        raise HarmonyError(
            f"{where['unet']} takes {unet.in_channels} channels{kind}, and DiffHarmony's takes {need}: latents"
            f" ({latents}, as {where['vae']} makes them), mask and composite; give a UNet tuned from an inpainting one"
        )
    if unet.out_channels != latents:
        raise HarmonyError(
            f"{where['unet']} outputs {unet.out_channels} channels, and {where['vae']} has latents of {latents};"
            " give the VAE that the UNet was trained with"
        )
    if (vae.in_channels, vae.out_channels) != (3, 3):
        raise HarmonyError(
            f"{where['vae']} maps {vae.in_channels} channels to {vae.out_channels}, not pictures of 3; give the VAE of"
            " a Stable Diffusion inpainting folder"
        )
    if refiner is not None and refiner.out_channels != 3:
        raise HarmonyError(f"{where['refiner']} outputs {refiner.out_channels} channels, not 3; give a refiner")
