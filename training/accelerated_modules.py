"""Modules that train PHNet faster: the same parameters under the same names, the same function, other arithmetic.

With PyTorch's own operations on a CPU, a quarter of a step at 256 pixels is one layer's backward pass (1024 -> 512
channels), and half of it is memory traffic between layers. ``torch.compile`` fuses the memory-bound operations; the
wide layers become Winograd convolutions, whose three products need 4/9 of the multiplications. The widest layer sees
the same features twice, gated and plain, so one product of half the size is enough, with a kernel for each image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harmonyrt.models import PHNet
from harmonyrt.models.phnet import gates


def keep_norms_in_float32(network: PHNet) -> None:
    """Take the encoder's instance norms out of autocast, in place.

    In bfloat16 their backward pass alone gives the gradient an error of a fifth (against float32, at the shipped
    weights, 128 pixels); with them in float32 it is 4 to 7 %, which is what the convolutions add.
    """
    for block in network.encoder:
        norm = block.get_submodule("1")
        assert isinstance(norm, nn.InstanceNorm2d)
        block.set_submodule("1", Float32InstanceNorm(norm.num_features))


def accelerate(network: PHNet) -> None:
    """Replace, in place, the modules that ``torch.compile`` does not speed up; norms are in float32 as well."""
    for block in network.encoder:
        norm = block.get_submodule("1")
        assert isinstance(norm, nn.InstanceNorm2d)
        block.set_submodule("1", SummedInstanceNorm(norm.eps))
    network.set_submodule("SE_block", Gates(network.SE_block.fc))
    network.skip[0] = GatedFusion(_convolution(network.skip[0], "rconv"))
    for fusion in (network.skip[1], network.skip[2]):
        fusion.set_submodule("rconv", WinogradConv2d(_convolution(fusion, "rconv")))
    for block in (network.encoder[-1], network.decoder[0]):
        block.set_submodule("0", WinogradConv2d(_convolution(block, "0")))
    # As the convolutions compute it. PyTorch's annotations have no overload for a memory format alone.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _convolution(parent: nn.Module, name: str) -> nn.Conv2d | nn.ConvTranspose2d:
    layer = parent.get_submodule(name)
    assert isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    return layer


class Float32InstanceNorm(nn.InstanceNorm2d):
    """PyTorch's instance norm, always in float32."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class SummedInstanceNorm(nn.Module):
    """Instance norm by sums and sums of squares in float32; the compiler turns PyTorch's own into a slow recurrence."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        values = x.float()
        mean = values.mean((2, 3), keepdim=True)
        variance = (values * values).mean((2, 3), keepdim=True) - mean * mean
        return ((values - mean) * torch.rsqrt(variance.clamp(min=0) + self.eps)).to(x.dtype)


class WinogradConv2d(nn.Module):
    """A 3x3 convolution, plain or transposed, stride 1, padding 1, as F(2x2, 3x3) (Lavin & Gray 2016) in bfloat16.

    Odd sizes and precisions other than bfloat16 autocast take PyTorch's convolution.
    """

    def __init__(self, layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.transposed = layer.transposed
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,K,H,W)."""
        if not _takes_winograd(x):
            convolve = functional.conv_transpose2d if self.transposed else functional.conv2d
            return convolve(x, self.weight, self.bias, padding=1)
        weight = self.weight.flip(2, 3).transpose(0, 1) if self.transposed else self.weight
        result = _Winograd.apply(x.to(torch.bfloat16), weight, None)
        return result if self.bias is None else result + self.bias.to(torch.bfloat16).view(1, -1, 1, 1)


class Gates(nn.Module):
    """A squeeze-and-excitation block that returns its features and their gates without multiplying them."""

    def __init__(self, fc: nn.Module) -> None:
        super().__init__()
        self.fc = fc

    def forward(self, x: Tensor, extracted: Tensor | None) -> tuple[Tensor, Tensor]:
        return x, gates(self.fc, x, extracted)


class GatedFusion(nn.Module):
    """The deepest skip fusion: of the encoder's last features, gated, with the same features as they are.

    Gates are factors of channels, so they can be moved into the kernel: its two halves become one, for each picture.
    """

    def __init__(self, rconv: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.rconv = rconv

    def forward(self, gated: tuple[Tensor, Tensor], skip: Tensor) -> Tensor:
        """What :class:`Gates` returned, and its features: (B,C,H,W) -> (B,C,H,W)."""
        x, factors = gated
        if _takes_winograd(x):
            fused = _Winograd.apply(skip.to(torch.bfloat16), self.rconv.weight, factors.flatten(1).float())
        else:
            fused = self.rconv(torch.cat([x * factors, skip], 1))
        return torch.relu(fused)


def _takes_winograd(x: Tensor) -> bool:
    return torch.is_autocast_enabled(x.device.type) and not (x.shape[2] % 2 or x.shape[3] % 2)


class _Winograd(torch.autograd.Function):
    """Sixteen products, one for each place of a 4x4 tile; sums of the transforms are in float32.

    With gates (B,C) the weight is (K,2C,3,3), and the kernel of a picture is its first half times the gates plus the
    second: sixteen products for each picture.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, gates: Tensor | None) -> Tensor:
        tiles, kernels = _input_tiles(x), _kernel_tiles(weight)
        ctx.sizes = (x.shape[0], x.shape[2], x.shape[3])
        if gates is None:
            kernels = kernels.to(torch.bfloat16)
            ctx.save_for_backward(tiles, kernels)
        else:
            first, second = kernels.chunk(2, 2)
            kernels = (first[:, None] * gates[None, :, None] + second[:, None]).to(torch.bfloat16).flatten(0, 1)
            tiles = tiles.view(len(kernels), -1, x.shape[1])
            ctx.save_for_backward(tiles, kernels, first, gates)
        return _output_of_tiles(torch.bmm(tiles, kernels.transpose(1, 2)), *ctx.sizes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        tiles, kernels, *others = ctx.saved_tensors
        products = _output_tiles(gradients[0]).view(len(tiles), tiles.shape[1], -1)
        of_input = _input_of_tiles(torch.bmm(products, kernels), *ctx.sizes)
        of_kernels = torch.bmm(products.transpose(1, 2), tiles).float()
        if not others:
            return of_input, _kernel_of_tiles(of_kernels), None
        first, gates = others
        of_kernels = of_kernels.view(16, len(gates), *of_kernels.shape[1:])
        of_gates = (of_kernels * first[:, None]).sum((0, 2))
        of_first = (of_kernels * gates[None, :, None]).sum(1)
        of_weight = _kernel_of_tiles(torch.cat([of_first, of_kernels.sum(1)], 2))
        return of_input, of_weight, of_gates


Vectors = Sequence[Tensor]


def _twice(once: Callable[[Vectors], Vectors], tile: Sequence[Vectors]) -> list[Vectors]:
    """A transform along both axes of a tile that is given as rows of tensors."""
    rows = [once(row) for row in tile]
    columns = [once(column) for column in zip(*rows, strict=True)]
    return list(zip(*columns, strict=True))


def _stacked(tile: Sequence[Vectors]) -> Tensor:
    """4x4 tensors (..., C) -> (16, N, C) in bfloat16."""
    return torch.stack([part.to(torch.bfloat16).reshape(-1, part.shape[-1]) for row in tile for part in row])


def _unstacked(tiles: Tensor, *shape: int) -> list[Vectors]:
    values = tiles.float().view(4, 4, *shape)
    return [list(row) for row in values]


def _input_tiles(x: Tensor) -> Tensor:
    """(B,C,H,W) -> (16, B*H/2*W/2, C)."""
    padded = functional.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()
    count, rows, columns, channels = padded.shape
    shape = (count, rows // 2 - 1, columns // 2 - 1, channels)
    strides = (rows * columns * channels, 2 * columns * channels, 2 * channels, 1)

    def values(i: int, j: int) -> Tensor:
        # Not a slice: the compiler would compute what `x` comes from again in each of the 64 places that read it.
        return padded.as_strided(shape, strides, (i * columns + j) * channels).float()

    tile = [[values(i, j) for j in range(4)] for i in range(4)]
    return _stacked(_twice(lambda d: (d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]), tile))


def _input_of_tiles(tiles: Tensor, count: int, height: int, width: int) -> Tensor:
    """Transpose of :func:`_input_tiles`: every pixel sums what the tiles that it is part of give it."""
    tile = _unstacked(tiles, count, height // 2, width // 2, tiles.shape[-1])
    tile = _twice(lambda g: (g[0], g[1] - g[2] + g[3], g[1] + g[2] - g[0], -g[3]), tile)

    def joined(parts: Vectors, axis: int) -> Tensor:
        first, last = [0] * 8, [0] * 8  # functional.pad counts axes from the last one
        first[2 * (3 - axis)], last[2 * (3 - axis) + 1] = 1, 1
        length = parts[0].shape[axis] - 1
        before = functional.pad(parts[3].narrow(axis, 0, length), first)
        after = functional.pad(parts[0].narrow(axis, 1, length), last)
        return torch.stack([parts[1] + before, parts[2] + after], axis + 1).flatten(axis, axis + 1)

    return joined([joined(row, 2) for row in tile], 1).to(torch.bfloat16).permute(0, 3, 1, 2)


def _output_of_tiles(products: Tensor, count: int, height: int, width: int) -> Tensor:
    """(16, B*H/2*W/2, K) -> (B,K,H,W)."""
    tile = _unstacked(products, count, height // 2, width // 2, products.shape[-1])
    rows = _twice(lambda m: (m[0] + m[1] + m[2], m[1] - m[2] - m[3]), tile)
    full = torch.stack([torch.stack(list(row), 3) for row in rows], 2)  # (B, H/2, 2, W/2, 2, K)
    return full.reshape(count, height, width, -1).to(torch.bfloat16).permute(0, 3, 1, 2)


def _output_tiles(gradient: Tensor) -> Tensor:
    """Transpose of :func:`_output_of_tiles`."""
    values = gradient.permute(0, 2, 3, 1).float()
    tile = [[values[:, i::2, j::2] for j in range(2)] for i in range(2)]
    return _stacked(_twice(lambda y: (y[0], y[0] + y[1], y[0] - y[1], -y[1]), tile))


def _kernel_tiles(weight: Tensor) -> Tensor:
    """(K,C,3,3) -> (16,K,C) in float32."""
    values = weight.float().permute(2, 3, 0, 1)
    tile = [[values[i, j] for j in range(3)] for i in range(3)]
    rows = _twice(lambda g: (g[0], (g[0] + g[1] + g[2]) / 2, (g[0] - g[1] + g[2]) / 2, g[2]), tile)
    return torch.stack([part for row in rows for part in row])


def _kernel_of_tiles(tiles: Tensor) -> Tensor:
    """Transpose of :func:`_kernel_tiles`, in float32 and channels-last."""
    tile = _unstacked(tiles, *tiles.shape[1:])
    rows = _twice(
        lambda g: (g[0] + (g[1] + g[2]) / 2, (g[1] - g[2]) / 2, (g[1] + g[2]) / 2 + g[3]),
        tile,
    )
    return torch.stack([torch.stack(list(row), 1) for row in rows], 1).permute(0, 3, 1, 2)
