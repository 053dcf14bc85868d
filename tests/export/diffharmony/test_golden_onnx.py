"""Golden pipeline cases through the exported graphs, by ONNX Runtime and the runtime's own loop."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from harmonyrt.export.diffharmony.components import components
from harmonyrt.models import diffharmony as dh
from harmonyrt.models.diffharmony import folders

RELATIVE = 1e-3
GOLDEN = Path(os.environ.get("HARMONYRT_GOLDEN", Path(__file__).parents[2] / "golden"))
KINDS = {
    "unet": (dh.UNet, folders.unet_config),
    "vae": (dh.AutoencoderKL, folders.vae_config),
    "harmony_vae": (dh.HarmonyVAE, folders.vae_config),
    "refiner": (dh.Refiner, folders.refiner_config),
}


def network(golden, kind: str, config: dict):
    module, read = KINDS[kind]
    result = module(read(config, Path("config.json")))
    weights = golden.recipe.state_dict({name: tuple(value.shape) for name, value in result.state_dict().items()})
    result.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return result.eval().requires_grad_(False)


def session(component) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(ir.to_proto(component.trace()).SerializeToString(), settings)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    assert np.isfinite(found).all()
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*/dh_pipeline_*.npz")))
def test_pipeline(name, golden):
    case = golden.case(name)
    meta = json.loads(json.dumps(case["meta"]))
    model = dh.DiffHarmony(
        unet=network(golden, "unet", meta["unet"]),
        vae=network(golden, "harmony_vae" if meta["vae_class"] == "ConditionVAE" else "vae", meta["vae"]),
        text=torch.from_numpy(case["prompt_embeds"][:1]),
        sampler=dh.SamplerConfig(timestep_spacing=meta["scheduler"].get("timestep_spacing", "linspace")),
        refiner=network(golden, "refiner", meta["refiner"]),
    )
    image, mask = case["image"][:1].astype(np.float32) / 255, case["mask"][:1].astype(np.float32)
    composite, small_mask = case["comp_out"][:1].astype(np.float32) / 255, case["mask_out"][:1].astype(np.float32)
    steps = len(case["timesteps"])
    sizes = tuple(image.shape[-2:]), tuple(composite.shape[-2:])
    run = {part.name: session(part) for part in components(model, *sizes, step_counts=[steps])}
    draws = [case[f"draw{index}_{tag}"][:1] for index, tag in enumerate(case["draw_order"])]

    latents = draws[0] * case["init_noise_sigma"]
    (condition,) = run["vae-encoder"].run(None, {"image": image, "mask": mask, "noise": draws[1]})
    assert relative(condition, case["unet_input0"][:1, 4:]) <= RELATIVE
    for step in range(steps):
        feeds = {"latents": latents, "condition": condition, "noise": draws[2 + step]}
        latents, predicted = run["unet"].run(None, {**feeds, "step": np.array([step])})
        if step == 0:
            assert relative(predicted, case["noise_pred0"][:1]) <= RELATIVE
        assert relative(latents, case[f"latents_after_step{step}"][:1]) <= RELATIVE
    more = {"image": image, "mask": mask, "noise": draws[-1]} if model.conditional else {}
    (picture,) = run["vae-decoder"].run(None, {"latents": latents, **more})
    assert relative(picture, case["image_out"][:1]) <= RELATIVE
    feeds = {"image": picture, "mask": small_mask, "composite": composite}
    (output,) = run["refiner"].run(None, feeds)
    assert relative(output, case["final"][:1]) <= RELATIVE
