"""Memory and arithmetic of training at full size, computed and not measured: a step over tensors without storage.

    python -m harmonyrt.training.diffharmony.estimate [--json]

Weights, gradients, optimizer state and averaged weights are counted. Activations are what autograd keeps of a forward
pass, each storage once: so much per sample, and so much per step (bf16 copies of the weights). With gradient
checkpointing they are the inputs of the blocks, and what the largest of them keeps while it is computed again. Not
counted: workspaces of libraries, fragmentation, and what CUDA's autocast keeps in float32 for its norms (CPU's
autocast, which is simulated here, does not).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from harmonyrt.common.errors import require
from harmonyrt.models.diffharmony import (
    AutoencoderKL,
    HarmonyVAE,
    Refiner,
    SamplerConfig,
    UNet,
    UNetConfig,
    VAEConfig,
)
from harmonyrt.models.diffharmony.blocks import ResnetBlock, SpatialAttention
from harmonyrt.models.diffharmony.refiner import BASE, LARGE, SMALL
from harmonyrt.models.diffharmony.sampler import DEFAULT_STEPS, alphas_cumprod
from harmonyrt.training.diffharmony.objectives import (
    Autocast,
    HarmonyVAEObjective,
    NoiseObjective,
    Objective,
    RefinerObjective,
)

GIB = 2**30
STATE_BYTES = {"adamw": 8.0, "adamw-8bit": 2.0}
"""Optimizer state per trained parameter: two float32 numbers, or two bytes (without their scales)."""
_ATTENTION: dict[Any, Any] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *more, **names: sdpa_flop_count(
        q, k, v
    ),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda gradient, q, k, v, *more, **names: sdpa_backward_flop_count(gradient, q, k, v)
    ),
}
"""The counter of PyTorch knows the attention of GPUs alone."""
SIZES = {
    "unet": 512,
    "refiner small": 256,
    "refiner base": 256,
    "refiner large": 256,
    "harmony-vae": 256,
    "harmony-vae online": 256,
}


@dataclass(frozen=True)
class Estimate:
    """One stage at full size, with float32 weights.

    Attributes:
        stage, size: what is trained, and the side of its pictures.
        trained, frozen: parameters.
        activations: bytes per sample by ``"fp32"``, ``"bf16"``, ``"bf16, checkpointing"``.
        copies: bytes per step by the same names.
        flops: of one sample's step: both passes, frozen networks included, without checkpointing.
    """

    stage: str
    size: int
    trained: int
    frozen: int
    activations: dict[str, int]
    copies: dict[str, int]
    flops: int

    def fixed_bytes(self, optimizer: str = "adamw") -> float:
        """Weights, gradients, optimizer state, averaged weights (trained parts), frozen weights."""
        return self.trained * (4 + 4 + STATE_BYTES[optimizer] + 4) + self.frozen * 4


def estimate(stage: str) -> Estimate:
    """Count one of :data:`SIZES`.

    Raises:
        HarmonyError: diffusers is missing, for the UNet.
    """
    if stage == "harmony-vae online":
        return _online(estimate("harmony-vae"))
    schedule = alphas_cumprod(SamplerConfig())
    with FakeTensorMode(allow_non_fake_inputs=True):
        network, objective, frozen = _full_size(stage, SIZES[stage], schedule)
        trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
        still = sum(p.numel() for p in network.parameters() if not p.requires_grad)
        one, two, three = (_part(stage, objective, SIZES[stage], count) for count in (1, 2, 3))
        mixed = replace(objective, autocast=Autocast("cpu", True))
        per_sample, per_step = {}, {}
        for name, how in (("fp32", objective), ("bf16", mixed), ("bf16, checkpointing", mixed)):
            # One sample alone keeps less: some of its transposed tensors are views.
            of_two, of_three = (_activations(network, how, part, "checkpointing" in name) for part in (two, three))
            per_sample[name], per_step[name] = of_three - of_two, 3 * of_two - 2 * of_three
        with FlopCounterMode(display=False, custom_mapping=_ATTENTION) as counter:
            objective(network, one).backward()
    flops = counter.get_total_flops()
    return Estimate(stage, SIZES[stage], trained, still + frozen, per_sample, per_step, flops)


def _online(harmony_vae: Estimate) -> Estimate:
    """The harmony VAE with stage one in each step: it keeps nothing for the backward pass, and encodes as much."""
    size = SIZES["harmony-vae online"]
    with FakeTensorMode(), torch.no_grad():
        shape = UNetConfig()
        unet, vae = UNet(shape), AutoencoderKL(VAEConfig())
        latents = torch.zeros(1, shape.in_channels, size // 8, size // 8)
        with FlopCounterMode(display=False, custom_mapping=_ATTENTION) as counter:
            unet(latents, torch.zeros(()), torch.zeros(1, 77, shape.cross_attention_dim))
    frozen = sum(p.numel() for network in (unet, vae) for p in network.parameters())
    flops = harmony_vae.flops + DEFAULT_STEPS * counter.get_total_flops()
    return replace(harmony_vae, stage="harmony-vae online", size=size, frozen=harmony_vae.frozen + frozen, flops=flops)


def _full_size(stage: str, size: int, schedule: np.ndarray) -> tuple[nn.Module, Any, int]:
    """Network, objective, and the parameters of frozen networks next to it."""
    if stage == "unet":
        diffusers: Any = require("diffusers", "diffusion", "counting DiffHarmony's UNet")
        shape = UNetConfig()
        network = diffusers.UNet2DConditionModel(
            sample_size=size // 8, in_channels=shape.in_channels, cross_attention_dim=shape.cross_attention_dim
        )
        vae = AutoencoderKL(VAEConfig()).requires_grad_(False)
        text = torch.zeros(1, 77, shape.cross_attention_dim)
        objective = NoiseObjective(vae, text, schedule, size)
        return network, objective, sum(p.numel() for p in vae.parameters())
    if stage == "harmony-vae":
        both = HarmonyVAE(VAEConfig(additional_in_channels=1)).requires_grad_(False)
        for module in (both.conditional_encoder, both.latent_skip_conv, both.decoder):
            module.requires_grad_(True)
        return both, HarmonyVAEObjective(both.config.latent_channels, both.factor), 0
    widths = {"small": SMALL, "base": BASE, "large": LARGE}[stage.split()[1]]
    return Refiner(widths), RefinerObjective(), 0


def _part(stage: str, objective: Objective, size: int, count: int) -> tuple[Tensor, ...]:
    composite, mask, real = (torch.zeros(count, channels, size, size) for channels in (3, 1, 3))
    draws = objective.draws(composite, torch.Generator())
    more = (torch.zeros(count, 3, size, size),) if stage.startswith("refiner") else ()
    return (composite, mask, real, *more, *draws)


class _Kept:
    """Storages that something keeps, each counted once; parameters are left out."""

    def __init__(self, network: nn.Module) -> None:
        self.parameters = {p.untyped_storage()._cdata for p in network.parameters()}
        self.bytes = 0
        self.alive: dict[int, Tensor] = {}  # an address could be used again otherwise

    def add(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.parameters and storage._cdata not in self.alive:
            self.alive[storage._cdata] = tensor
            self.bytes += storage.nbytes()
        return tensor


def _activations(network: Any, objective: Objective, part: tuple[Tensor, ...], checkpointing: bool = False) -> int:
    kept, recomputed = _Kept(network), [0]
    with contextlib.ExitStack() as stack:
        if checkpointing:
            stack.enter_context(_checkpointed(network, kept, recomputed))
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(kept.add, lambda tensor: tensor))
        objective(network, part)
    return kept.bytes + max(recomputed)


@contextlib.contextmanager
def _checkpointed(network: Any, kept: _Kept, recomputed: list[int]) -> Iterator[None]:
    """Blocks keep their inputs; what they keep while they run is noted apart."""

    def block(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        for argument in arguments:
            for tensor in argument if isinstance(argument, tuple) else (argument,):
                if isinstance(tensor, Tensor):
                    kept.add(tensor)
        inside = _Kept(network)
        with torch.autograd.graph.saved_tensors_hooks(inside.add, lambda tensor: tensor):
            result = function(*arguments, **{k: v for k, v in options.items() if k != "use_reentrant"})
        recomputed.append(inside.bytes)
        return result

    if hasattr(network, "enable_gradient_checkpointing"):
        network.train()
        network.enable_gradient_checkpointing(block)
        yield
        network.disable_gradient_checkpointing()
        return
    modules = [module for module in network.modules() if isinstance(module, (ResnetBlock, SpatialAttention))]
    for module in modules:
        module.forward = functools.partial(block, module.forward)  # type: ignore[method-assign]
    yield
    for module in modules:
        del module.forward


def table(estimates: list[Estimate]) -> str:
    """The rows of docs/training.md."""
    rows = [
        "| stage | trained | frozen | weights, gradients, AdamW, average | with 8-bit AdamW |"
        " activations a sample + a step: fp32 | bf16 | bf16, checkpointing | TFLOP a sample |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in estimates:
        fixed = [f"{one.fixed_bytes(optimizer) / GIB:.1f} GiB" for optimizer in STATE_BYTES]
        kept = [f"{one.activations[name] / GIB:.2f} + {one.copies[name] / GIB:.2f} GiB" for name in one.activations]
        cells = (f"{one.stage}, {one.size} px", f"{one.trained:,}", f"{one.frozen:,}", *fixed, *kept)
        rows.append(f"| {' | '.join(cells)} | {one.flops / 1e12:.2f} |")
    return "\n".join(rows)


def main() -> None:
    """Print the table, or the numbers as JSON."""
    parser = argparse.ArgumentParser(prog="python -m harmonyrt.training.diffharmony.estimate", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the numbers instead of a table")
    arguments = parser.parse_args()
    estimates = [estimate(stage) for stage in SIZES]
    print(json.dumps([asdict(one) for one in estimates], indent=1) if arguments.json else table(estimates))


if __name__ == "__main__":
    main()
