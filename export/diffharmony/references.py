"""The plain PyTorch pipeline on real composites: what each component and the whole are measured against.

Not specialised: text and time are computed again in each step.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from harmonyrt.export.build.composites import composites
from harmonyrt.export.build.gate import Distance, Reference
from harmonyrt.export.diffharmony.components import REFINER_INPUTS
from harmonyrt.models.diffharmony import DiffHarmony, Noise
from harmonyrt.runtime.diffusion.model import DiffusionModel, RunOptions
from harmonyrt.runtime.diffusion.noise import NoiseStream


@dataclass
class PipelineReference:
    """One composite through the plain pipeline.

    Attributes:
        name: for messages.
        image: (1,3,H,W) in [0, 1] at inference size.
        mask: (1,1,H,W), 0 or 1.
        small_image: the same composite at output size.
        small_mask: the same mask at output size.
        output: what the pipeline gives, in [0, 1] at output size.
        calls: by component, one reference per call.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray
    small_image: np.ndarray
    small_mask: np.ndarray
    output: np.ndarray = field(default_factory=lambda: np.zeros(0))
    calls: dict[str, list[Reference]] = field(default_factory=dict)


def references(
    model: DiffHarmony,
    inference_size: tuple[int, int],
    output_size: tuple[int, int],
    steps: int,
    rows: tuple[int, ...],
    count: int,
) -> list[PipelineReference]:
    """Run real composites through the plain pipeline; number k with seed k.

    Args:
        model: the PyTorch networks.
        inference_size: [height, width] of stage one.
        output_size: [height, width] of the result.
        steps: how many.
        rows: of the engine's step table, for the recorded calls.
        count: how many composites.
    """
    large, small = composites(inference_size, count), composites(output_size, count)
    found = []
    for seed, (a, b) in enumerate(zip(large, small, strict=True)):
        masks = [(mask >= 0.5).astype(np.float32) for mask in (a.mask, b.mask)]
        found.append(PipelineReference(a.name, a.image, masks[0], b.image, masks[1]))
        _run(model, found[-1], seed, steps, rows)
    return found


def _run(model: DiffHarmony, reference: PipelineReference, seed: int, steps: int, rows: tuple[int, ...]) -> None:
    import torch

    from harmonyrt.models.diffharmony import sampler

    height, width = reference.image.shape[-2:]
    shape = (1, model.vae.config.latent_channels, height // model.vae.factor, width // model.vae.factor)
    stream = NoiseStream(seed)
    draws = [stream.normal(shape) for _ in range(3 + steps)]
    tensors = [torch.from_numpy(draw) for draw in draws]
    noise = Noise(tensors[0], tensors[1], tuple(tensors[2 : 2 + steps]), tensors[-1] if model.conditional else None)
    trace = model.harmonize(torch.from_numpy(2 * reference.image - 1), torch.from_numpy(reference.mask), noise)
    assert trace.image is not None
    picture = trace.image.numpy()
    condition = trace.unet_inputs[0][:, shape[1] :].numpy()
    inputs = {"image": reference.image, "mask": reference.mask}

    def call(feeds: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> Reference:
        return Reference(reference.name, feeds, outputs)

    calls = reference.calls
    calls["vae-encoder"] = [call({**inputs, "noise": draws[1]}, {"condition": condition})]
    before = [tensors[0] * sampler.initial_scale(model.sampler, steps), *trace.latents[:-1]]
    calls["unet"] = [
        call(
            {"latents": a.numpy(), "condition": condition, "noise": fresh, "step": np.array([row], np.int64)},
            {"next_latents": b.numpy(), "predicted_noise": predicted.numpy()},
        )
        for a, b, predicted, fresh, row in zip(before, trace.latents, trace.predictions, draws[2:], rows, strict=False)
    ]
    more = {**inputs, "noise": draws[-1]} if model.conditional else {}
    calls["vae-decoder"] = [call({"latents": trace.latents[-1].numpy(), **more}, {"picture": picture})]
    reference.output = picture
    if model.refiner is not None:
        small = torch.from_numpy(2 * reference.small_image - 1), torch.from_numpy(reference.small_mask)
        trace = model.refine(trace, *small)
        assert trace.final is not None
        reference.output = trace.final.numpy()
        taken = {"image": picture, "mask": reference.small_mask, "composite": reference.small_image}
        feeds = dict(list(taken.items())[: REFINER_INPUTS[model.refiner.config.in_channels]])
        calls["refiner"] = [call(feeds, {"output": reference.output})]


def measure_pipeline(model: DiffusionModel, cases: list[PipelineReference], steps: int) -> Distance:
    """Compare the whole loop with the pipeline, on blended pictures; number k with seed k."""
    distance = Distance(len(cases))
    for seed, reference in enumerate(cases):
        options = RunOptions(seed=seed, steps=steps)
        found = model.run(reference.image, reference.mask, reference.small_image, reference.small_mask, options)
        foreground = reference.small_mask if found.shape[-2:] == reference.small_mask.shape[-2:] else reference.mask
        distance.add(np.abs(found - reference.output) * foreground)
    return distance
