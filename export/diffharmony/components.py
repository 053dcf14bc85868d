"""The networks of one DiffHarmony as engines need them: what each takes and gives, and example inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from harmonyrt.export.build.tracing import tidy, traced
from harmonyrt.export.diffharmony import specialise
from harmonyrt.models.diffharmony import DiffHarmony

REFINER_INPUTS = {3: 1, 4: 2, 7: 3}
"""How many of picture, mask and composite a refiner takes, by its number of channels."""


@dataclass(frozen=True)
class Component:
    """One network, ready to be traced.

    Attributes:
        name: one of ``COMPONENTS`` (`harmonyrt.runtime.diffusion.schedule`); the engine's in the manifest.
        module: the specialised network.
        inputs: names and shapes of its inputs, in the order in which `module` takes them.
        outputs: names of its outputs.
    """

    name: str
    module: nn.Module
    inputs: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]

    def example(self, seed: int = 0) -> dict[str, torch.Tensor]:
        """Inputs like those that it meets: pictures in [0, 1], a mask of 0 and 1, normal latents and noise."""
        rng = np.random.default_rng(seed)
        return {name: torch.from_numpy(example_array(name, shape, rng)) for name, shape in self.inputs.items()}

    def trace(self) -> ir.Model:
        """As ONNX: static sizes, batch 1; constants are folded, nodes are named by module."""
        model = traced(self.module, self.example(), self.outputs)
        tidy(model)
        return model

    @property
    def parameters(self) -> int:
        """Values that the engine holds: weights and tables."""
        return sum(tensor.numel() for tensor in (*self.module.parameters(), *self.module.buffers()))


def example_array(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """An input of that name, as :meth:`Component.example` has it."""
    if name == "step":
        return np.zeros(shape, np.int64)
    if name in ("image", "composite"):
        coarse = rng.random((shape[0], shape[1], 8, 8), dtype=np.float32)
        return coarse.repeat(shape[2] // 8, 2).repeat(shape[3] // 8, 3)
    values = rng.standard_normal(shape).astype(np.float32)
    if name == "mask":
        values = np.zeros(shape, np.float32)
        values[..., shape[-2] // 4 : shape[-2] // 2, shape[-1] // 4 :] = 1
    elif name == "condition":
        values[:, 0] = values[:, 0] > 0
    return values


def components(
    model: DiffHarmony,
    inference_size: tuple[int, int],
    output_size: tuple[int, int],
    step_counts: Sequence[int],
) -> Iterator[Component]:
    """The components one after another, so that a caller can drop each before the next is made.

    Args:
        model: the PyTorch networks; they stay as they are and share their weights.
        inference_size: [height, width] of stage one, multiples of 8.
        output_size: [height, width] of stage two, multiples of 8; ignored without a refiner.
        step_counts: which numbers of steps the engine can run.
    """
    height, width = inference_size
    latent = (1, model.vae.config.latent_channels, height // model.vae.factor, width // model.vae.factor)
    picture, mask = (1, 3, height, width), (1, 1, height, width)
    yield Component(
        "vae-encoder",
        specialise.EncodeComposite(model.vae).eval(),
        {"image": picture, "mask": mask, "noise": latent},
        ("condition",),
    )
    rows, _ = specialise.programs(model.sampler, step_counts)
    yield Component(
        "unet",
        specialise.DenoisingStep(model.unet, model.text, rows).eval(),
        {"latents": latent, "condition": (1, latent[1] + 1, *latent[2:]), "noise": latent, "step": (1,)},
        ("next_latents", "predicted_noise"),
    )
    if model.conditional:
        decoder: nn.Module = specialise.DecodeWithCondition(model.vae)  # type: ignore[arg-type]
        inputs = {"latents": latent, "image": picture, "mask": mask, "noise": latent}
    else:
        decoder, inputs = specialise.DecodeLatents(model.vae), {"latents": latent}
    yield Component("vae-decoder", decoder.eval(), inputs, ("picture",))
    if model.refiner is not None:
        small = {"image": picture, "mask": (1, 1, *output_size), "composite": (1, 3, *output_size)}
        taken = REFINER_INPUTS[model.refiner.config.in_channels]
        yield Component(
            "refiner",
            specialise.RefinePicture(model.refiner, inference_size, output_size).eval(),
            dict(list(small.items())[:taken]),
            ("output",),
        )
