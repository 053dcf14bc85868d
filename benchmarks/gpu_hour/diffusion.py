"""DiffHarmony at 512 pixels with five steps, ours next to diffusers' modules in PyTorch.

Both do the same work: composite and mask in, VAE encoder, five steps of the UNet, VAE decoder, refiner at 256. The
refiner, which diffusers does not have, is our own module in PyTorch there. Random weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harmonyrt.benchmarks.gpu_hour.diffusion_build import STEPS, build, bundles
from harmonyrt.benchmarks.gpu_hour.hour import Hour
from harmonyrt.benchmarks.timing import summarize
from harmonyrt.common import WorkFailed
from harmonyrt.common.errors import require

SAMPLES = 20
_CONTEXT, _LATENT = 77, 8


def run(hour: Hour) -> None:
    """Ours for each bundle, then PyTorch eager, then torch.compile, which may take longer than is left."""
    found: list[Path] = []
    if hour.step("a bundle", lambda: _bundles(hour, found)):
        for path in found:
            hour.step(f"ours: {path.name}", partial(_ours, hour, path), least=2)
    modules: dict[str, Any] = {}
    if hour.step("diffusers' modules", lambda: _modules(hour, modules), least=2):
        hour.step("diffusers, eager", lambda: _stages(hour, modules), least=2)
        if not hour.dry:  # minutes of a CPU's compiler would prove nothing here
            hour.step("diffusers, torch.compile", lambda: _compiled(hour, modules), least=60)


def _bundles(hour: Hour, found: list[Path]) -> dict[str, Any]:
    if not bundles(hour):
        for target in ("onnx",) if hour.dry else ("tensorrt", "onnx"):
            try:
                build(hour, target)
                break
            except WorkFailed as error:
                hour.add(f"{target} build", "failed", str(error))
    found.extend(path for path, _ in bundles(hour))
    if not found:
        raise WorkFailed("there is no bundle of DiffHarmony: run part diffharmony-build")
    return {"bundles": [path.name for path in found]}


def _ours(hour: Hour, path: Path) -> dict[str, Any]:
    """Host arrays in, host arrays out; `engine` is the loop with its copies, without fitting and blending."""
    from harmonyrt.benchmarks.gpu_hour.soak import picture
    from harmonyrt.runtime import Harmonizer

    composite, mask = picture(512, 512)
    with Harmonizer.open(path, device="cpu" if hour.dry else "cuda") as harmonizer:
        whole, engine = [], []
        for sample in range(_samples(hour) + 3):  # the first plain, the second recorded, the third replayed
            begun = time.perf_counter()
            harmonizer.harmonize(composite, mask)
            if sample >= 3:
                whole.append(1000 * (time.perf_counter() - begun))
                engine.append(1000 * harmonizer.timings.engine)
            if hour.left < 5 and len(whole) > 2:
                break
        info = harmonizer.info
    described = {"backend": info.backend, "device": info.device, "target": info.target, "precision": info.precision}
    return {
        **described,
        "whole_ms_p50": summarize(whole).p50,
        "engine_ms_p50": summarize(engine).p50,
        "calls": len(whole),
    }


def _samples(hour: Hour) -> int:
    return 1 if hour.dry else SAMPLES


def _modules(hour: Hour, modules: dict[str, Any]) -> dict[str, Any]:
    """UNet and VAE of diffusers, refiner of ours, with the shapes of our random weights."""
    diffusers = require("diffusers", "build", "DiffHarmony in PyTorch")
    import torch

    from harmonyrt.export.diffharmony import random_weights
    from harmonyrt.models.diffharmony import Refiner

    unet, vae, refiner = random_weights.configs("tiny" if hour.dry else "full")
    side = 64 if hour.dry else 512
    torch.manual_seed(0)
    made = {
        "unet": diffusers.UNet2DConditionModel(
            in_channels=unet.in_channels,
            block_out_channels=unet.block_out_channels,
            cross_attention_dim=unet.cross_attention_dim,
            attention_head_dim=unet.heads,
            sample_size=side // _LATENT,
        ),
        "vae": diffusers.AutoencoderKL(
            block_out_channels=vae.block_out_channels,
            down_block_types=["DownEncoderBlock2D"] * len(vae.block_out_channels),
            up_block_types=["UpDecoderBlock2D"] * len(vae.block_out_channels),
            layers_per_block=vae.layers_per_block,
            latent_channels=vae.latent_channels,
        ),
        "refiner": Refiner(refiner),
    }
    device, dtype = ("cpu", torch.float32) if hour.dry else ("cuda", torch.float16)
    for name, module in made.items():
        modules[name] = module.eval().requires_grad_(False).to(device, dtype, memory_format=torch.channels_last)

    def normal(*shape: int) -> Any:
        return torch.randn(*shape, device=device, dtype=dtype)

    latent = side // _LATENT
    modules["feeds"] = {
        "image": normal(1, 3, side, side),
        "sample": normal(1, unet.in_channels, latent, latent),
        "text": normal(1, _CONTEXT, unet.cross_attention_dim),
        "latents": normal(1, vae.latent_channels, latent, latent),
        "refined": normal(1, refiner.in_channels, side // 2, side // 2),
        "timestep": torch.tensor([999], device=device),
    }
    return {"device": device, "dtype": str(dtype), "diffusers": diffusers.__version__, "torch": torch.__version__}


def _stages(hour: Hour, modules: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds of each stage, all on the device, and of the whole: encoder, five steps, decoder, refiner."""
    feeds = modules["feeds"]
    calls = {
        "vae_encoder": lambda: modules["vae"].encode(feeds["image"]).latent_dist.parameters,
        "unet": lambda: modules["unet"](feeds["sample"], feeds["timestep"], encoder_hidden_states=feeds["text"]).sample,
        "vae_decoder": lambda: modules["vae"].decode(feeds["latents"]).sample,
        "refiner": lambda: modules["refiner"](feeds["refined"]),
    }
    found: dict[str, Any] = {}
    for name, call in calls.items():
        found[f"{name}_ms_p50"] = _timed(hour, call)
    found["whole_ms"] = sum(found.values()) + (STEPS - 1) * found["unet_ms_p50"]
    return found


def _timed(hour: Hour, call: Callable[[], Any]) -> float:
    import torch

    with torch.inference_mode():
        for _ in range(1 if hour.dry else 3):
            call()
        values = []
        for _ in range(_samples(hour)):
            if hour.dry:
                begun = time.perf_counter()
                call()
                values.append(1000 * (time.perf_counter() - begun))
                continue
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            call()
            last.record()
            last.synchronize()
            values.append(first.elapsed_time(last))
    return float(np.median(values))


def _compiled(hour: Hour, modules: dict[str, Any]) -> dict[str, Any]:
    import torch

    begun = time.monotonic()
    compiled = {name: torch.compile(modules[name]) for name in ("unet", "refiner")}
    modules["vae"].encode, modules["vae"].decode = (
        torch.compile(call) for call in (modules["vae"].encode, modules["vae"].decode)
    )
    return {**_stages(hour, {**modules, **compiled}), "with_compiling_s": round(time.monotonic() - begun, 1)}
