"""What a PHNet's tensors mean, stored in a tensor of the file so that copies keep it.

Tools that prune, merge or cast weights save tensors and drop a safetensors file's metadata. Without it a network that
predicts a change is taken for one that predicts a picture, and the shapes cannot tell. So the files that we
write say it twice: as metadata, for people and tools that read the header, and as the tensor :data:`CARRIER`.

The carrier is a uint8 tensor with the bytes of a JSON object. Casting a whole file to float16 or bfloat16 and back
keeps every byte, and so does the mean of two files that say the same. What `load_phnet` returns has it in its state
dict, and :class:`PHNet` drops it on loading. Other readers that load a state dict strictly drop it by its name:
``{k: v for k, v in tensors.items() if not k.startswith("harmonyrt.")}``.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from harmonyrt.common import HarmonyError
from harmonyrt.models.phnet import NOT_WEIGHTS, PHNet, PHNetConfig

PREFIX = NOT_WEIGHTS
CARRIER = PREFIX + "meaning"
FIELDS = ("output", "patch_shrinkage", "change_shrinkage", "trained_sizes", "extractor")
"""Of :class:`PHNetConfig`: what tensor shapes do not tell."""
OUTPUTS = ("sigmoid", "residual")
LARGEST_SIDE = 16384


def meaning_of(config: PHNetConfig) -> dict[str, Any]:
    """The fields that shapes cannot tell, as JSON values."""
    return {name: getattr(config, name) for name in FIELDS} | {"trained_sizes": list(config.trained_sizes)}


def as_metadata(config: PHNetConfig) -> dict[str, str]:
    """The same as strings for a safetensors header; values of released checkpoints are left out, except output."""
    meaning = meaning_of(config)
    if meaning.pop("extractor") is False:
        return {**as_metadata(replace(config, extractor=True)), "extractor": "false"}
    given = {name: value for name, value in meaning.items() if value}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}


def carrier(config: PHNetConfig) -> Tensor:
    """The tensor to save as :data:`CARRIER` next to the weights: uint8 (N,)."""
    return torch.tensor(list(json.dumps(meaning_of(config)).encode()), dtype=torch.uint8)


def keep_in_state_dict(network: PHNet) -> None:
    """Let `network.state_dict()` hold the carrier, so that a copy which a user saves says what its file said.

    :class:`PHNet` drops it again when a state dict is loaded. Deep copies keep it; networks that are made from another
    configuration do not have it.
    """
    network.register_state_dict_post_hook(_add_carrier)


def _add_carrier(network: PHNet, state: dict[str, Tensor], prefix: str, local_metadata: object) -> None:
    state[prefix + CARRIER] = carrier(network.config)


def without_carrier(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights alone."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(PREFIX)}


def read_carrier(tensors: Mapping[str, Tensor], where: str) -> dict[str, Any]:
    """The checked content of the carrier among `tensors`; {} if there is none.

    Raises:
        HarmonyError: it is damaged, as after merging files that say different things.
    """
    tensor = tensors.get(CARRIER)
    if tensor is None:
        return {}
    try:
        values = tensor.detach().double().flatten()
        meaning = json.loads(bytes(values.round().to(torch.uint8).tolist()))
        if not isinstance(meaning, dict) or bool((values.round() - values).abs().max() > 0.25):
            raise ValueError
    except (ValueError, RuntimeError, RecursionError):
        raise HarmonyError(
            f"{where}: its tensor {CARRIER}, which says what the weights mean, is damaged, as after merging files that"
            " differ; save the weights again without it and say what they mean (--network-output, --patch-shrinkage,"
            " --change-shrinkage)"
        ) from None
    return checked(meaning, where)


def read_metadata(metadata: Mapping[str, str], where: str) -> dict[str, Any]:
    """The checked meaning in a safetensors header; {} if it has none.

    Raises:
        HarmonyError: a field has an impossible value.
    """
    found: dict[str, Any] = {name: metadata[name] for name in FIELDS if name in metadata}
    for name in FIELDS[1:]:
        if name in found:
            with contextlib.suppress(ValueError, RecursionError):  # `checked` shows the text
                found[name] = json.loads(found[name], parse_constant=str)
    return checked(found, where)


def checked(meaning: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The known fields of a meaning, as :class:`PHNetConfig` takes them.

    Raises:
        HarmonyError: a field has an impossible value.
    """
    found = {name: meaning[name] for name in FIELDS if name in meaning}
    if "output" in found and found["output"] not in OUTPUTS:
        raise HarmonyError(f"{where}: output {found['output']!r} is not known; use one of {', '.join(OUTPUTS)}")
    if not isinstance(found.get("extractor", True), bool):
        raise HarmonyError(f"{where}: extractor {found['extractor']!r} is neither true nor false; download it again")
    for name in ("patch_shrinkage", "change_shrinkage"):
        share = found.get(name, 0.0)
        number = isinstance(share, (int, float)) and not isinstance(share, bool)
        if not number or not 0 <= share <= 1:  # NaN is refused as well
            raise HarmonyError(f"{where}: {name} {str(share)!r} is not a number from 0 to 1; download the file again")
    sizes = found.get("trained_sizes", [])
    sides = isinstance(sizes, (list, tuple)) and all(type(side) is int and 0 < side <= LARGEST_SIDE for side in sizes)
    if not sides:
        raise HarmonyError(f"{where}: trained_sizes {sizes!r:.60} is not a list of sides in pixels; download it again")
    return found
