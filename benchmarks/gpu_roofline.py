"""What PHNet asks of a GPU, and what the GPU could give: operations and bytes, data-sheet peaks, measured roofs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Peak:
    """Data-sheet peaks: TFLOP/s in FP32 and (dense, tensor cores) in FP16; memory GB/s."""

    fp32: float
    fp16: float
    bandwidth: float


PEAKS = {  # first match of the GPU's name wins
    "V100-PCIE": Peak(14.0, 112, 900),
    "V100-SXM2": Peak(15.7, 125, 900),
    "Tesla T4": Peak(8.1, 65, 320),
    "A100-SXM4-80GB": Peak(19.5, 312, 2039),
    "A100-SXM4-40GB": Peak(19.5, 312, 1555),
    "A10": Peak(31.2, 125, 600),
    "L40S": Peak(91.6, 362, 864),
    "L4": Peak(30.3, 121, 300),
    "H100 80GB HBM3": Peak(67, 989, 3350),
    "H200": Peak(67, 989, 4800),
}
"""NVIDIA's data sheets of those products. GPUs whose name is not here get measured roofs only."""


def peak_of(gpu: str) -> Peak | None:
    """Data-sheet peaks of a GPU, by its name; None for one that is not in the table."""
    return next((peak for name, peak in PEAKS.items() if re.search(rf"(?<!\w){name}(?!\w)", gpu)), None)


@dataclass(frozen=True)
class Work:
    """What one call of the network does.

    Attributes:
        flop: operations of convolutions and matrix products (a multiply-add is two).
        elements: numbers that these layers read and write, each tensor once: what is left when all else is fused.
        weights: parameters.
    """

    flop: int
    elements: int
    weights: int


_COUNTED_SIDE = 64


def work_of(network: Any, size: int, batch: int) -> Work:
    """Count a network's work: of one small picture, then scaled, since convolutions grow with the number of pixels."""
    import torch
    from torch import nn

    by_pixel, by_picture = [0, 0], [0, 0]  # operations, elements

    def count(layer: nn.Module, inputs: tuple, output: Any) -> None:
        x, total = inputs[0], by_picture if isinstance(layer, nn.Linear) else by_pixel
        if isinstance(layer, nn.Linear):
            operations = 2 * layer.in_features * output.numel()
        else:
            assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
            area = layer.kernel_size[0] * layer.kernel_size[1]
            transposed = isinstance(layer, nn.ConvTranspose2d)
            channels = layer.out_channels if transposed else layer.in_channels
            operations = 2 * channels * area * (x if transposed else output).numel()
        total[0] += operations
        total[1] += x.numel() + output.numel()

    layers = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 3, _COUNTED_SIDE, _COUNTED_SIDE), torch.ones(1, 1, _COUNTED_SIDE, _COUNTED_SIDE))
    finally:
        for hook in hooks:
            hook.remove()
    pixels = size * size / _COUNTED_SIDE**2
    flop, elements = (round(batch * (a * pixels + b)) for a, b in zip(by_pixel, by_picture, strict=True))
    return Work(flop, elements, sum(p.numel() for p in network.parameters()))


def measured_roofs() -> dict[str, float]:
    """What PyTorch gets out of the current GPU: TFLOP/s of large products, GB/s of large copies."""
    import torch

    def best(call: Any, repeats: int = 10) -> float:
        times = []
        for _ in range(repeats):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            call()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) / 1000)
        return min(times)

    roofs = {}
    side = 8192
    for name, dtype in (("fp32", torch.float32), ("fp16", torch.float16)):
        a, b = (torch.randn(side, side, device="cuda", dtype=dtype) for _ in range(2))
        out = torch.empty_like(a)
        roofs[f"{name}_tflops"] = 2 * side**3 / best(lambda a=a, b=b, out=out: torch.matmul(a, b, out=out)) / 1e12
    source = torch.empty(1 << 28, device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    roofs["copy_gb_per_s"] = 2 * source.numel() / best(lambda: target.copy_(source)) / 1e9
    return roofs
