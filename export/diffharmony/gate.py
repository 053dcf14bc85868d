"""Parity of DiffHarmony's engines: each component against the PyTorch pipeline's intermediate values, then the whole.

The pipeline that is measured against is the plain one: not specialised, text and time computed anew in each step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from harmonyrt.common import WorkFailed
from harmonyrt.export.build.composites import composites
from harmonyrt.export.diffharmony.weights_apart import OutOfRange
from harmonyrt.models.diffharmony import DiffHarmony, Noise
from harmonyrt.runtime.decibels import MOST_DB, psnr_db
from harmonyrt.runtime.diffusion.model import DiffusionModel, RunOptions
from harmonyrt.runtime.diffusion.noise import NoiseStream
from harmonyrt.runtime.manifest import Parity

Run = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]

FP32_RELATIVE_ERROR = 1e-3
"""Of a component, against the largest value that the module gives."""
FP32_MAX_ABS_ERROR = 1e-4
"""Of the whole, after blending, in [0, 1]."""
LOWEST_PSNR_DB = {"fp16": 50.0, "bf16": 42.0}


@dataclass
class Reference:
    """One composite through the plain pipeline.

    Attributes:
        name: for messages.
        image: (1,3,H,W) in [0, 1] at inference size.
        mask: (1,1,H,W), 0 or 1.
        small_image: the same composite at output size.
        small_mask: the same mask at output size.
        output: what the pipeline gives, in [0, 1] at output size.
        calls: by component: inputs of a call, and its outputs.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray
    small_image: np.ndarray
    small_mask: np.ndarray
    output: np.ndarray = field(default_factory=lambda: np.zeros(0))
    calls: dict[str, list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]] = field(default_factory=dict)


def references(
    model: DiffHarmony,
    inference_size: tuple[int, int],
    output_size: tuple[int, int],
    steps: int,
    rows: tuple[int, ...],
    count: int,
) -> list[Reference]:
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
        masks = [np.float32(mask >= 0.5) for mask in (a.mask, b.mask)]
        found.append(Reference(a.name, a.image, masks[0], b.image, masks[1]))
        _run(model, found[-1], seed, steps, rows)
    return found


def _run(model: DiffHarmony, reference: Reference, seed: int, steps: int, rows: tuple[int, ...]) -> None:
    import torch

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
    calls = reference.calls
    calls["vae-encoder"] = [({**inputs, "noise": draws[1]}, {"condition": condition})]
    before = [tensors[0] * _initial_scale(model, steps), *trace.latents[:-1]]
    calls["unet"] = [
        (
            {"latents": a.numpy(), "condition": condition, "noise": fresh, "step": np.array([row], np.int64)},
            {"next_latents": b.numpy(), "predicted_noise": predicted.numpy()},
        )
        for a, b, predicted, fresh, row in zip(before, trace.latents, trace.predictions, draws[2:], rows, strict=False)
    ]
    more = {**inputs, "noise": draws[-1]} if model.conditional else {}
    calls["vae-decoder"] = [({"latents": trace.latents[-1].numpy(), **more}, {"picture": picture})]
    reference.output = picture
    if model.refiner is not None:
        small = torch.from_numpy(2 * reference.small_image - 1), torch.from_numpy(reference.small_mask)
        trace = model.refine(trace, *small)
        assert trace.final is not None
        reference.output = trace.final.numpy()
        taken = {"image": picture, "mask": reference.small_mask, "composite": reference.small_image}
        channels = {3: 1, 4: 2, 7: 3}[model.refiner.config.in_channels]
        calls["refiner"] = [(dict(list(taken.items())[:channels]), {"output": reference.output})]


def _initial_scale(model: DiffHarmony, steps: int) -> float:
    from harmonyrt.models.diffharmony import sampler

    return sampler.initial_scale(model.sampler, steps)


def gate_sentence(precision: str) -> str:
    """The condition that a component of this precision has to meet."""
    if precision == "fp32":
        return f"finite, max_abs_error <= {FP32_RELATIVE_ERROR:g} of the largest value"
    return f"finite, psnr_db >= {LOWEST_PSNR_DB[precision]:g} of the component's output"


def measure_component(run: Run, component: str, cases: Iterable[Reference], precision: str, who: str) -> Parity:
    """Hold one component against its gate.

    Args:
        run: runs the engine once.
        component: its name.
        cases: with recorded calls.
        precision: of the engine.
        who: what runs here, for the manifest.

    Returns:
        Worst errors over all calls and outputs; the PSNR's peak is the largest value of the module's output.

    Raises:
        OutOfRange: values that are not finite.
        WorkFailed: values that are too far off.
    """
    calls, error, relative, psnr = 0, 0.0, 0.0, MOST_DB
    for reference in cases:
        for feeds, expected in reference.calls[component]:
            found = run(feeds)
            calls += 1
            for name, want in expected.items():
                if not np.isfinite(found[name]).all():
                    raise OutOfRange(
                        f"the {component}'s {name} has values that are not finite in {precision}, on {who}"
                        f" ({reference.name})"
                    )
                difference = np.abs(found[name] - want)
                peak = float(np.abs(want).max())
                error = max(error, float(difference.max()))
                relative = max(relative, float(difference.max()) / peak)
                psnr = min(psnr, psnr_db(difference, peak))
    passed = relative <= FP32_RELATIVE_ERROR if precision == "fp32" else psnr >= LOWEST_PSNR_DB[precision]
    if not passed:
        raise WorkFailed(
            f"the {component} is outside its gate in {precision}: found relative error {relative:.1e} and"
            f" {psnr:.1f} dB on {who}, need {gate_sentence(precision)}"
        )
    return Parity(calls, error, psnr, gate_sentence(precision), who)


def measure_whole(model: DiffusionModel, cases: list[Reference], steps: int, precision: str, who: str) -> Parity:
    """Hold the whole loop against the pipeline, on blended pictures.

    Raises:
        WorkFailed: outside the gate.
    """
    error, psnr = 0.0, MOST_DB
    for seed, reference in enumerate(cases):
        options = RunOptions(seed=seed, steps=steps)
        found = model.run(reference.image, reference.mask, reference.small_image, reference.small_mask, options)
        foreground = reference.small_mask if found.shape[-2:] == reference.small_mask.shape[-2:] else reference.mask
        difference = np.abs(found - reference.output) * foreground
        error, psnr = max(error, float(difference.max())), min(psnr, psnr_db(difference, 1.0))
    gate = (
        f"max_abs_error <= {FP32_MAX_ABS_ERROR:g}"
        if precision == "fp32"
        else f"psnr_db >= {LOWEST_PSNR_DB[precision]:g}"
    )
    passed = error <= FP32_MAX_ABS_ERROR if precision == "fp32" else psnr >= LOWEST_PSNR_DB[precision]
    if not passed:
        raise WorkFailed(
            f"the whole of {steps} steps is outside its gate in {precision}: found max_abs_error {error:.1e} and"
            f" {psnr:.1f} dB on {who}, need {gate}: build another precision"
        )
    return Parity(len(cases), error, psnr, gate, who)
