"""PHNet: patch-based normalization for image harmonization (Efremyan et al., arXiv 2402.17561).

The network as its authors released it, which differs from the paper in places; tensor names are those of the released
checkpoints, so a state dict loads with ``strict=True``. ``PHNetConfig(variant="paper")`` is the network that the paper
prints, made of the same parts but for those in :mod:`harmonyrt.models.paper_blocks`. Reading order: :class:`PHNet`,
then the parts above it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from harmonyrt.common import HarmonyError
from harmonyrt.models.colour_head import ColourHead
from harmonyrt.models.paper_blocks import PaperFeatureExtractor, PaperPatchNormalizer
from harmonyrt.models.patch_statistics import (
    PatchGrid,
    global_mean_and_std,
    in_float32,
    masked_mean_and_std,
    picture_sum,
)

PN_EPS = 1e-7
PFE_EPS = 1e-8
PFE_BACKGROUND_DIVISOR = 255  # of pictures that are in [0, 1] already; published so, and the weights depend on it
SLOPE = 0.01  # of every LeakyReLU
NOT_WEIGHTS = "harmonyrt."  # what tensors of a state dict begin with that say what the others mean
SMALL_CHANGE = (32 / 255) ** 2  # mean square where 1/e of `change_shrinkage` is left


GRIDS = {"released": (4, 3, 2, 1), "paper": (3, 4, 5)}
"""``grid_count`` of each variant: of the FFHQH checkpoints, and 9, 16 and 25 patches in D4 to D6 (paper, 4.3)."""


@dataclass(frozen=True)
class PHNetConfig:
    """Shape of a PHNet.

    Attributes:
        enc_sizes: channels of the picture and of the six encoder blocks.
        grid_count: patches per side of each PatchNormalizer, from the deepest to the shallowest. Of the released
            network, (4, 3, 2, 1) by default, the last entry belongs to a stage that does not exist and only keeps
            checkpoints loadable. Of the paper's, (3, 4, 5) by default, every entry is a layer of the decoder, the last
            one D6; () has no PN.
        init_weights: initial mixing pair [global, patch] of every PatchNormalizer.
        init_value: initial scale in every PatchNormalizer.
        output: ``"sigmoid"``, as released, or ``"residual"``: the composite plus the last layer, unclamped.
        patch_shrinkage: what every patch's background is joined by before its mean is taken, as a share of the patch's
            pixels, with features 0. 0 is the published mean, to which one pixel of background counts as much as a
            patch that is full of it.
        change_shrinkage: for ``output="residual"``, which share of a small predicted change is withheld: one of mean
            square E under the mask is taken times ``1 - change_shrinkage * exp(-E / SMALL_CHANGE)``. Small changes are
            mostly guesses, and spoil pictures that were nearly right. 0 withholds nothing.
        colour_head: whether one colour map for the whole object comes before the network
            (:class:`harmonyrt.models.colour_head.ColourHead`); released checkpoints have none.
        trained_sizes: sides in pixels of the square pictures that the weights were trained on, ascending; () is
            unknown. It changes nothing that the network computes, so two configurations are equal without it.
        extractor: False has no PFE: the SE block keeps its channel gates alone (paper, table 1).
        variant: ``"released"``, or ``"paper"``: Eq. 2 to 12 as printed (docs/phnet.md, "The paper's variant"). It has
            no `patch_shrinkage`, and `init_value` is not used.

    Raises:
        HarmonyError: an unknown variant, or a field that the variant does not have.
    """

    enc_sizes: tuple[int, ...] = (3, 16, 64, 128, 256, 512, 1024)
    grid_count: tuple[int, ...] = None  # type: ignore[assignment]  # the variant's own, see GRIDS
    init_weights: tuple[float, float] = (0.5, 0.5)
    init_value: float = 0.8
    output: Literal["sigmoid", "residual"] = "sigmoid"
    patch_shrinkage: float = 0.0
    change_shrinkage: float = 0.0
    colour_head: bool = False
    trained_sizes: tuple[int, ...] = field(default=(), compare=False)
    extractor: bool = True
    variant: Literal["released", "paper"] = "released"

    def __post_init__(self) -> None:
        if self.variant not in GRIDS:
            raise HarmonyError(f"PHNet's variant {self.variant!r} is not known; use one of {', '.join(GRIDS)}")
        if self.grid_count is None:
            object.__setattr__(self, "grid_count", GRIDS[self.variant])
        for name in ("enc_sizes", "grid_count", "init_weights", "trained_sizes"):  # JSON brings lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.variant == "paper" and self.patch_shrinkage:
            raise HarmonyError("the paper's PHNet has no patch_shrinkage; leave it out, or choose variant released")
        if self.variant == "paper" and len(self.grid_count) >= len(self.enc_sizes):
            raise HarmonyError(
                f"grid_count {self.grid_count} normalizes {len(self.grid_count)} layers of a decoder of"
                f" {len(self.enc_sizes) - 1}; give an entry for each normalized layer, the last one for D6"
            )

    def __repr__(self) -> str:
        """Without what changes nothing: a run resumes only if this text is the same."""
        left_out = {"trained_sizes", *(["extractor"] if self.extractor else [])}
        left_out |= {"variant"} if self.variant == "released" else set()
        shown = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.name not in left_out]
        return f"PHNetConfig({', '.join(shown)})"


FFHQH = PHNetConfig()
"""39,921,641 parameters: the paper's "39.9 M", of the FFHQH checkpoints."""
IHARMONY4 = PHNetConfig(enc_sizes=(3, 16, 32, 64, 128, 256, 512), grid_count=(10, 5, 1))
"""9,994,295 parameters: the iHarmony4 checkpoint."""
PAPER = PHNetConfig(variant="paper")
"""The network that the paper prints: D4-6 with PFE, table 1's best."""
PAPER_10M = PHNetConfig(enc_sizes=IHARMONY4.enc_sizes, variant="paper")
"""The same in the widths of the iHarmony4 checkpoint."""


class PatchNormalizer(nn.Module):
    """PN block: gives foreground features the statistics of the background, globally and by patches.

    The paper's 4.1 as the authors released it, not as Eq. 6 to 11 print it: docs/phnet.md has the differences.
    """

    def __init__(
        self,
        channels: int,
        grid: int,
        init_weights: tuple[float, float],
        init_value: float,
        patch_shrinkage: float = 0.0,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.patch_shrinkage = patch_shrinkage
        per_channel = (1, channels, 1, 1)
        self.weights = nn.Parameter(torch.tensor(init_weights))
        self.fg_var = nn.Parameter(torch.full(per_channel, init_value))
        self.fg_bias = nn.Parameter(torch.zeros(per_channel))
        self.patched_fg_var = nn.Parameter(torch.full(per_channel, init_value))
        self.patched_fg_bias = nn.Parameter(torch.zeros(per_channel))
        self.bg_var = nn.Parameter(torch.full(per_channel, init_value))
        self.bg_bias = nn.Parameter(torch.zeros(per_channel))
        self.grid_weights = nn.Parameter(torch.full((1, channels, grid, grid), 1 / (grid * grid * channels)))

    @in_float32
    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """features (B,C,H,W), mask (B,1,H,W) -> (B,C,H,W): one affine map for each region, then a select."""
        background = 1 - mask
        mean_fg, std_fg = masked_mean_and_std(features, mask, PN_EPS)
        mean_bg, std_bg = masked_mean_and_std(features, background, PN_EPS)
        grid = PatchGrid(features, self.grid)
        pixels = grid.sum(background) + PN_EPS
        if self.patch_shrinkage:
            pixels = pixels + self.patch_shrinkage * grid.pixels
        mean_patch = grid.sum(features * background) / pixels
        mean_local = (self.grid_weights * mean_patch).sum((2, 3), keepdim=True)

        w_global, w_patch = self.weights[0], self.weights[1]
        fg_scale = (w_global * self.fg_var + w_patch * self.patched_fg_var) * (std_bg / std_fg)
        fg_shift = w_global * (mean_bg * self.fg_var + self.fg_bias) + w_patch * (
            mean_local * self.patched_fg_var + self.patched_fg_bias
        )
        # The mean is subtracted before scaling: a region of one pixel has std 3e-4, and a folded shift would cancel.
        foreground_out = (features - mean_fg) * fg_scale + fg_shift
        background_out = (features - mean_bg) * (self.bg_var / std_bg) + self.bg_bias
        return foreground_out * mask + background_out * background


class PatchHarmonizer(nn.Module):
    """Statistical colour transfer from background to foreground, local and global.

    After the paper's Eq. 5 and 8, with statistics over all pixels, as released (docs/phnet.md).
    """

    def __init__(self, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.grid_weights = nn.Parameter(torch.tensor([0.9, 0.1]))

    def forward(self, foreground: Tensor, background: Tensor) -> Tensor:
        """Both (B,3,H,W), zero outside their region; the zeros take part in the statistics, as published."""
        mean_fg, std_fg = global_mean_and_std(foreground)
        mean_bg, std_bg = global_mean_and_std(background)
        transferred = (foreground - mean_fg) * (std_bg / (std_fg + PFE_EPS)) + mean_bg

        grid = PatchGrid(foreground, self.grid)
        mean_fg, std_fg = grid.mean_and_std(foreground)
        mean_bg, std_bg = grid.mean_and_std(background)
        scale = grid.spread(std_bg / (std_fg + PFE_EPS))
        transferred_by_patch = (foreground - grid.spread(mean_fg)) * scale + grid.spread(mean_bg)
        return self.grid_weights[0] * transferred_by_patch + self.grid_weights[1] * transferred


class FeatureExtractor(nn.Module):
    """PFE: a map of the composite after colour transfer, of which only the maxima reach the network (paper, 4.2)."""

    def __init__(self, grid: int) -> None:
        super().__init__()
        self.patch_harmonizer = PatchHarmonizer(grid)
        self.head = nn.Sequential(nn.Conv2d(6, 3, 3, padding=1), nn.ReLU())

    @in_float32
    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        foreground, background = image * mask, image * (1 - mask)
        transferred = self.patch_harmonizer(foreground, background)
        recomposed = transferred * mask + (background / PFE_BACKGROUND_DIVISOR) * (1 - mask)
        return self.head(torch.cat([foreground, recomposed], 1))


class GatedSqueezeExcitation(nn.Module):
    """Squeeze-and-excitation whose channel gates are joined by gates from the feature extractor."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        hidden = channels // reduction
        self.fc = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid())

    def forward(self, x: Tensor, extracted: Tensor | None) -> Tensor:
        return x * gates(self.fc, x, extracted)


def gates(fc: nn.Module, x: Tensor, extracted: Tensor | None) -> Tensor:
    """Factors of channels, (B,C,1,1), in [0, 2]; without a feature extractor in [0, 1].

    Args:
        fc: (B,C) means of channels -> (B,C) gates in [0, 1].
        x: features, (B,C,H,W).
        extracted: what the feature extractor returned: a map (B,K,h,w), whose maxima become one gate for all channels
            (released), a vector (B,C) of one each (paper), or None.
    """
    channel_gates = fc(x.mean((2, 3)))[:, :, None, None]
    if extracted is None:
        return channel_gates
    if extracted.ndim == 2:
        return channel_gates + torch.sigmoid(extracted)[:, :, None, None]
    image_gate = torch.sigmoid(extracted.amax((2, 3)).mean(1))[:, None, None, None]
    return channel_gates + image_gate


class SkipFusion(nn.Module):
    """Joins a decoder feature with its encoder skip feature: 2c -> c channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rconv = nn.Conv2d(2 * channels, channels, 3, padding=1, bias=False)

    def forward(self, decoded: Tensor, skip: Tensor) -> Tensor:
        return torch.relu(self.rconv(torch.cat([decoded, skip], 1)))


def _kernel_and_stride(level: int) -> tuple[int, int]:
    """Even levels halve (or double) the resolution, odd ones keep it."""
    return (4, 2) if level % 2 == 0 else (3, 1)


def _encoder_block(level: int, inputs: int, outputs: int) -> nn.Sequential:
    kernel, stride = _kernel_and_stride(level)
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, 1), nn.InstanceNorm2d(outputs), nn.ReLU())


def _decoder_block(
    stage: int, inputs: int, outputs: int, stages: int, as_released: bool, normalized: bool
) -> nn.Sequential:
    kernel, stride = _kernel_and_stride(stages - 1 - stage)
    block = nn.Sequential(nn.ConvTranspose2d(inputs, outputs, kernel, stride, 1))
    if stage < 3 if as_released else not normalized:
        block.append(nn.BatchNorm2d(outputs))
    if stage < stages - 1 and (as_released or not normalized):  # else PN comes between
        block.append(nn.LeakyReLU(SLOPE))
    return block


def _drop_what_is_no_weight(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name in [name for name in state if name.startswith(prefix + NOT_WEIGHTS)]:
        del state[name]


class PHNet(nn.Module):
    """Encoder, gated bottleneck, decoder with PatchNormalizers.

    Released, they normalize the shallow skip features; in the paper (figure 2), what its last transposed convolutions
    make.
    """

    def __init__(self, config: PHNetConfig = FFHQH) -> None:
        super().__init__()
        self.config = config
        sizes, grids = config.enc_sizes, config.grid_count
        stages = len(sizes) - 1
        widths = sizes[::-1]  # what the decoder passes through, deepest first
        as_released = config.variant == "released"

        self.first_normalized_stage = len(sizes) - len(grids) if as_released else stages - len(grids)
        normalized = range(self.first_normalized_stage, stages)

        if config.extractor:
            self.feature_extractor = FeatureExtractor(grids[1]) if as_released else PaperFeatureExtractor(sizes[-1])
        self.encoder = nn.ModuleList(_encoder_block(i, sizes[i], sizes[i + 1]) for i in range(stages))
        if as_released:
            self.normalizers = nn.ModuleList(
                PatchNormalizer(channels, grid, config.init_weights, config.init_value, config.patch_shrinkage)
                for channels, grid in zip(widths[self.first_normalized_stage :], grids, strict=True)
            )
        else:
            self.normalizers = nn.ModuleList(PaperPatchNormalizer(grid, config.init_weights) for grid in grids)
        self.decoder = nn.ModuleList(
            _decoder_block(i, widths[i], widths[i + 1], stages, as_released, i in normalized) for i in range(stages)
        )
        self.skip = nn.ModuleList(SkipFusion(channels) for channels in (widths if as_released else widths[:-1]))
        self.SE_block = GatedSqueezeExcitation(sizes[-1])
        self.colour_head = ColourHead() if config.colour_head else None
        if config.output == "residual":  # start as the identity
            for parameter in self.decoder[-1].parameters():
                nn.init.zeros_(parameter)

        self.register_load_state_dict_pre_hook(_drop_what_is_no_weight)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Harmonize, before blending.

        Args:
            image: composite, float (B,3,H,W), RGB in [0, 1]; H and W multiples of 8, at least 16.
            mask: float (B,1,H,W) in [0, 1], 1 = foreground; soft values are allowed.

        Returns:
            (B,3,H,W): the sigmoid map, or for ``output="residual"`` the composite plus the predicted change. Blending
            (``out * mask + image * (1 - mask)``) is left to the caller.
        """
        seen, mapped = image, None
        if self.colour_head is not None:
            mapped = self.colour_head(image, mask)
            # Detached: the patch statistics' square roots have no gradient where a patch does not vary.
            seen = (image + mapped * mask).clamp(0, 1).detach()
        extracted = self.feature_extractor(seen, mask) if self.config.extractor else None

        features, masks, x, m = [], [mask], seen, mask
        for level, block in enumerate(self.encoder):
            x = block(x)
            if level % 2 == 0:
                m = m[:, :, ::2, ::2]
            features.append(x)
            masks.append(m)

        x = self.SE_block(x, extracted)
        for stage, block in enumerate(self.decoder):
            skip = features[-1 - stage]
            normalizer = None
            if stage >= self.first_normalized_stage:
                normalizer = self.normalizers[stage - self.first_normalized_stage]
            if normalizer is not None and self.config.variant == "released":
                skip = normalizer(skip, masks[-1 - stage])
            x = block(self.skip[stage](x, skip))
            if normalizer is not None and self.config.variant == "paper":
                x = normalizer(x, masks[-2 - stage])
                if stage < len(self.decoder) - 1:
                    x = functional.leaky_relu(x, SLOPE)
        if self.config.output == "sigmoid":
            return torch.sigmoid(x)
        if mapped is not None:
            x = x + mapped
        return image + (self.shrunk(x, mask) if self.config.change_shrinkage else x)

    @in_float32
    def shrunk(self, change: Tensor, mask: Tensor) -> Tensor:
        """A predicted change (B,3,H,W), less the share of it that its size under the mask (B,1,H,W) has withheld."""
        square = (change * change).mean(1, keepdim=True)
        size = picture_sum(square * mask) / (picture_sum(mask) + PN_EPS)
        return change * (1 - self.config.change_shrinkage * torch.exp(size * (-1 / SMALL_CHANGE)))
