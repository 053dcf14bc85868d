"""Checkpoint files -> modules: recognises the configuration from tensor shapes, or says what is wrong."""

from __future__ import annotations

import dataclasses
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from harmonyrt.common import HarmonyError, HarmonyWarning
from harmonyrt.models.meaning import CARRIER, checked, keep_in_state_dict, read_carrier, read_metadata, without_carrier
from harmonyrt.models.phnet import FFHQH, IHARMONY4, PAPER, PAPER_10M, PHNet, PHNetConfig
from harmonyrt.models.tensor_files import network_in, read_tensors

_HEADS = r"(?:encoder|decoder|skip|normalizers)\.\d+|feature_extractor|SE_block"


@dataclass(frozen=True)
class Meaning:
    """What a caller knows about a PHNet's tensors; None takes what the file says.

    Attributes:
        output: ``"sigmoid"`` or ``"residual"``.
        patch_shrinkage, change_shrinkage: shares from 0 to 1 (:class:`PHNetConfig`).
    """

    output: str | None = None
    patch_shrinkage: float | None = None
    change_shrinkage: float | None = None

    def given(self) -> dict[str, str | float]:
        """The fields that are not None."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


@dataclass(frozen=True)
class OpenedPHNet:
    """A network, and sentences about what was assumed because its file does not say."""

    network: PHNet
    notes: tuple[str, ...] = ()


def load_phnet(path: str | Path, output: str | None = None) -> PHNet:
    """Open a PHNet checkpoint.

    Args:
        path: a released checkpoint (bare state dict in .pth/.pt, read with ``weights_only=True``) or .safetensors.
        output: ``"sigmoid"`` or ``"residual"``; by default what the file says (:mod:`harmonyrt.models.meaning`), and
            ``"sigmoid"`` where it says nothing (released checkpoints).

    Returns:
        The network in eval mode, float32, on the CPU.

    Raises:
        HarmonyError: the file is missing, unreadable, of another network, or holds NaN; the first missing, unexpected
            or misshapen tensor is named.

    Warns:
        HarmonyWarning: the file does not say what the network outputs, and ``"sigmoid"`` was assumed.
    """
    opened = open_phnet(path, Meaning(output))
    for note in opened.notes:
        warnings.warn(note, HarmonyWarning, stacklevel=2)
    return opened.network


def open_phnet(path: str | Path, meaning: Meaning = Meaning()) -> OpenedPHNet:
    """Like :func:`load_phnet`, but assumptions are returned as sentences instead of warned about.

    Args:
        path: the file.
        meaning: what the caller says about the weights; it overrides the file.
    """
    path = Path(path)
    tensors, metadata = read_tensors(path)
    taken = network_in(tensors, _HEADS, path)
    weights = without_carrier(taken.tensors)
    config = recognise(weights, path)
    said, assumed = _meaning(taken.tensors, metadata, path, meaning)
    config = dataclasses.replace(config, **said)
    if not config.extractor:  # a run's checkpoint keeps it for the stages to come
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith("feature_extractor.")}
    with torch.device("meta"):
        network = PHNet(config)
    network.load_state_dict(checked_tensors(weights, network.state_dict(), path, _PHNET), strict=True, assign=True)
    if CARRIER in taken.tensors or read_metadata(metadata, str(path)):
        keep_in_state_dict(network)
    return OpenedPHNet(network.eval().requires_grad_(False), taken.notes + assumed)


def _meaning(
    tensors: dict[str, Tensor], metadata: dict[str, str], path: Path, given: Meaning
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Fields of :class:`PHNetConfig`, and what was assumed: first what was given, then the tensors, then the header."""
    chosen = checked(given.given(), "the meaning that was given")
    try:
        carried = read_carrier(tensors, str(path))
    except HarmonyError:
        if "output" not in chosen:
            raise
        carried = {}
    header = read_metadata(metadata, str(path))
    for name in carried.keys() & header.keys():
        if header[name] != carried[name] and name not in chosen:
            raise HarmonyError(
                f"{path} says {name} {carried[name]!r} in its tensor {CARRIER} and {header[name]!r} in its metadata;"
                f" choose one with --{_OPTIONS.get(name, name).replace('_', '-')}, or download it again"
            )
    said = {**header, **carried, **chosen}
    notes = []
    if "extractor" not in said and not any(name.startswith("feature_extractor.") for name in tensors):
        said["extractor"] = False
        notes.append(f"{path.name} has no feature extractor (PFE); it is treated as a network without one")
    if "output" in said:
        return said, tuple(notes)
    sentence = (
        f"{path.name} does not say whether its network predicts a picture or a change; it was taken as released"
        " checkpoints are (output sigmoid). Where HarmonyRT trained it and another tool saved it again, pass"
        " --network-output residual, and --patch-shrinkage and --change-shrinkage as trained"
    )
    return said, (*notes, sentence)


_OPTIONS = {"output": "network_output"}
"""Fields whose command-line option has another name."""


def recognise(tensors: dict[str, Tensor], path: Path) -> PHNetConfig:
    """Configuration from shapes; where tensors are missing, the released configuration that shares most of them."""
    names = tensors.keys()
    if not any(re.match(r"(encoder|decoder|skip|normalizers)\.\d+\.", name) for name in names):
        raise HarmonyError(
            f"{path} is not a PHNet checkpoint: it has no tensor encoder.0.0.weight, its first is {next(iter(names))};"
            " give a checkpoint of PHNet"
        )
    widths: list[int] = [3]
    grids: list[int] = []
    while (weight := tensors.get(f"encoder.{len(widths) - 1}.0.weight")) is not None and weight.ndim == 4:
        widths.append(weight.shape[0])
    # Of the paper's variant, `alpha` is the scores of patches, and only it has batch norms in the last layers.
    in_paper = "normalizers.0.alpha" in names or "decoder.5.1.running_mean" in names
    scores_name = "alpha" if in_paper else "grid_weights"
    while (scores := tensors.get(f"normalizers.{len(grids)}.{scores_name}")) is not None and scores.ndim >= 2:
        grids.append(scores.shape[-1])
    if len(widths) == 7 and (0 if in_paper else 2) <= len(grids) < 7 + (not in_paper) and widths[-1] % 8 == 0:
        head = any(name.startswith("colour_head.") for name in names)
        variant: Literal["released", "paper"] = "paper" if in_paper else "released"
        return PHNetConfig(enc_sizes=tuple(widths), grid_count=tuple(grids), colour_head=head, variant=variant)

    def shared(config: PHNetConfig) -> int:
        with torch.device("meta"):
            expected = PHNet(config).state_dict()
        return sum(name in tensors and tensors[name].shape == value.shape for name, value in expected.items())

    return max((PAPER, PAPER_10M) if in_paper else (FFHQH, IHARMONY4), key=shared)


@dataclass(frozen=True)
class Advice:
    """The endings of the sentences of :func:`checked_tensors`: what was expected, and what to do.

    Attributes:
        missing: after "is missing; ".
        expected: between the shape that was found and the one that was asked for.
        misshapen: after both shapes.
        not_finite: after "holds NaN or infinite values; ".
        unexpected: after "is unexpected in ".
    """

    missing: str
    expected: str
    misshapen: str
    not_finite: str
    unexpected: str


_PHNET = Advice(
    missing="give a complete PHNet checkpoint",
    expected="expected",
    misshapen="give a checkpoint of one configuration",
    not_finite="give an intact checkpoint",
    unexpected="a PHNet; give a checkpoint of PHNet alone",
)


def checked_tensors(
    tensors: dict[str, Tensor], expected: dict[str, Tensor], path: Path, advice: Advice
) -> dict[str, Tensor]:
    """The tensors as the network computes with them, or the first that is missing, misshapen, unusable or unexpected.

    Args:
        tensors: as read.
        expected: the network's state dict, on any device.
        path: of the file or folder, for the sentence.
        advice: how the sentence ends.

    Returns:
        Weights in float32 (shared with `tensors` where they are already), counters in their integer type.

    Raises:
        HarmonyError: there is such a tensor.

    Warns:
        A running variance that overflowed when it was saved: the channel is constant, and PyTorch computes with it.
    """
    found = {}
    for name, want in expected.items():
        if name not in tensors:
            raise HarmonyError(f"{path}: tensor {name} {list(want.shape)} is missing; {advice.missing}")
        got = tensors[name]
        if got.shape != want.shape:
            raise HarmonyError(
                f"{path}: tensor {name} has shape {list(got.shape)}, {advice.expected} {list(want.shape)};"
                f" {advice.misshapen}"
            )
        found[name] = _as_wanted(name, got, want, path, advice)
    unexpected = next((name for name in tensors if name not in expected), None)
    if unexpected is not None:
        raise HarmonyError(f"{path}: tensor {unexpected} is unexpected in {advice.unexpected}")
    return found


def _as_wanted(name: str, got: Tensor, want: Tensor, path: Path, advice: Advice) -> Tensor:
    """A tensor of the right shape in the type to compute with, its values checked."""
    if got.is_meta:
        raise HarmonyError(f"{path}: tensor {name} was saved without its values; {advice.missing}")
    if not want.is_floating_point():  # a counter of batches, which changes nothing in eval mode
        whole = not got.is_complex() and got.layout == torch.strided and bool(torch.isfinite(got.float()).all())
        return got.to(want.dtype) if whole else torch.zeros(want.shape, dtype=want.dtype)
    kind = str(got.dtype).removeprefix("torch.")
    if not got.is_floating_point():
        raise HarmonyError(
            f"{path}: tensor {name} holds {kind} values where weights are floating point; give the weights as they were"
            " before quantising or converting"
        )
    try:
        value = (got if got.layout == torch.strided else got.to_dense()).detach().to(torch.float32)
    except (RuntimeError, NotImplementedError, TypeError):  # packed 4-bit types, nested tensors
        raise HarmonyError(
            f"{path}: tensor {name} is saved in a way that is not supported ({kind}, {got.layout}); save the weights"
            " in float16, bfloat16 or float32"
        ) from None
    if torch.isfinite(value).all():
        return value
    if name.endswith("running_var") and not torch.isnan(value).any():  # PyTorch's own result: a constant channel
        warnings.warn(
            f"{path}: {int(torch.isinf(value).sum())} values of {name} are infinite (a variance that overflowed"
            " when it was saved in float16); these channels are constant",
            HarmonyWarning,
            stacklevel=4,
        )
        return value
    raise HarmonyError(f"{path}: tensor {name} holds NaN or infinite values; {advice.not_finite}")
