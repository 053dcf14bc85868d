"""Files of named tensors, recognised by content: safetensors and PyTorch files, whatever their suffix.

No code of a file is run. Wrappers of training scripts and prefixes of frameworks become
part of the tensors' names here, and :func:`network_in` finds the network among them by its own names.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from harmonyrt.common import HarmonyError
from harmonyrt.common.files import utf8_name
from harmonyrt.models.meaning import CARRIER

_PICKLE, _ZIP = b"\x80", b"PK"  # how files begin that torch.save wrote, the old way and the new
_DEPTH = 5  # of wrappers around a state dict
_HEAD = 512
_LARGEST_HEADER = 100_000_000  # bytes, of safetensors
_WITHIN = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""Parts of names that torch.compile, FSDP and activation checkpointing put anywhere."""
_AVERAGED = {"ema", "average", "averaged", "avg", "swa", "shadow", "polyak"}
_NO_WEIGHTS = re.compile(r"optim|^opt$|exp_avg|momentum|^grads?$", re.IGNORECASE)


@dataclass(frozen=True)
class NetworkTensors:
    """A network's tensors by the names of its state dict, and sentences about what was chosen."""

    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read every tensor of a file, without running any code from it.

    Returns:
        The tensors by name, those of nested dictionaries by dotted name (``state_dict.encoder.0.0.weight``), and the
        metadata of a safetensors file ({} for others).

    Raises:
        HarmonyError: no such file, or no file of tensors; the message says what the file is, if its first bytes tell.
    """
    if not path.exists():
        raise HarmonyError(f"{path} does not exist; give the path of a checkpoint (.pth or .safetensors)")
    if not path.is_file():
        raise HarmonyError(f"{path} is not a file; give the path of a checkpoint (.pth or .safetensors)")
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise HarmonyError(f"{path} cannot be read ({error.strerror}); make it readable") from None
    if (instead := _what_instead(head)) is not None:
        raise HarmonyError(f"{path} holds no weights: {instead}")
    contents, metadata = _read_safetensors(path) if _is_safetensors(head) else (_read_pickle(path, head), {})
    tensors = dict(_flattened(contents, ""))
    if not tensors:
        what = "it is empty" if not contents else f"its entry {next(iter(contents))!r} is not a tensor"
        raise HarmonyError(f"{path} is not a state dict: {what}; save model.state_dict() and give that file")
    return tensors, metadata


def _is_safetensors(head: bytes) -> bool:
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _LARGEST_HEADER


def _what_instead(head: bytes) -> str | None:
    """What a file is whose beginning is known and is no weights file's, and what to do."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "it is a web page, as a download link gives that asks for a login or a click; download the file itself"
    if text.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file itself; run git lfs pull, or download the file itself"
    if b"/annex/objects/" in text:
        return "it is a git-annex pointer, not the file itself; run git annex get"
    if text.startswith((b"{", b"[")):
        return "it is JSON; give the weights file that belongs to it"
    kinds = {
        b"GGUF": "a GGUF file", b"\x89HDF": "an HDF5 file", b"\x1f\x8b": "a gzip archive", b"\x28\xb5\x2f\xfd": "zstd",
        b"7z\xbc\xaf": "a 7-Zip archive", b"Rar!": "a RAR archive", b"\x93NUMPY": "a NumPy array",
    }  # fmt: skip
    kind = next((name for magic, name in kinds.items() if head.startswith(magic)), None)
    return None if kind is None else f"it is {kind}; unpack or convert it to a PyTorch state dict or safetensors"


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        with utf8_name(path) as readable, safe_open(readable, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it cannot be iterated)
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError, ValueError, RuntimeError, AttributeError) as error:
        raise HarmonyError(f"{path} cannot be read as safetensors ({error}); download it again") from None


def _read_pickle(path: Path, head: bytes) -> Mapping[Any, Any]:
    try:
        with open(path, "rb") as file:  # by a path, PyTorch would go by its suffix
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many types for damaged files
        pickled = head.startswith((_PICKLE, _ZIP))
        if pickled and ("weights_only" in str(error).lower() or "Unsupported" in str(error)):
            reason = "it holds objects other than tensors, which are not opened because they could run code"
        else:
            reason = "it is damaged, cut short or of another format"
        if isinstance(error, PermissionError):
            reason = "permission denied"
        fix = "download it again or save its state_dict()" if zipfile.is_zipfile(path) else "download it again"
        raise HarmonyError(f"{path} cannot be read as a checkpoint: {reason}; {fix}") from None
    if not isinstance(state, Mapping):
        raise HarmonyError(f"{path} holds a {type(state).__name__}, not a state dict; save model.state_dict()")
    return state


def _flattened(contents: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Tensor]]:
    for key, value in contents.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value
        elif isinstance(value, Mapping) and prefix.count(".") < _DEPTH:
            yield from _flattened(value, f"{prefix}{key}.")


def network_in(tensors: Mapping[str, Tensor], heads: str, where: str | Path) -> NetworkTensors:
    """Take a network's tensors from all those of a file, by the names of its parts.

    Any prefix comes off (wrappers such as ``state_dict`` and ``params``, ``module.`` of DistributedDataParallel,
    ``_orig_mod.`` of torch.compile, ``model.`` of Lightning). Of raw and averaged weights in one file the averaged ones
    are used, with a note.

    Args:
        tensors: as :func:`read_tensors` gives them.
        heads: a regular expression of what the names of the network's parts begin with, such as ``r"encoder\\.\\d"``.
        where: of the file, for sentences.

    Returns:
        The tensors under the prefix, and the carrier of their meaning (:mod:`harmonyrt.models.meaning`) where the file
        has one. All tensors, as they are named, when no name fits.

    Raises:
        HarmonyError: several networks, and it is unclear which one is meant.
    """
    where = Path(where).name
    named = _unwrapped(tensors)
    networks = _networks(named, heads)
    if not networks:
        return NetworkTensors(dict(named))
    parts = max((network.parts for network in networks), key=len)
    whole = [network for network in networks if network.parts >= parts]
    chosen, notes = _chosen(whole, where)
    taken = dict(chosen.tensors)
    carriers = [name for name in named if name.endswith(CARRIER) and chosen.prefix.startswith(name[: -len(CARRIER)])]
    if carriers:
        taken[CARRIER] = named[max(carriers, key=len)]
    known = {network.prefix + name for network in whole for name in network.tensors}
    left = [name for name, tensor in named.items() if name not in known and _is_weight(name, tensor)]
    if left:
        notes.append(
            f"{where} holds {len(left)} weights besides the network's, such as {left[0]}; they were left out, and what"
            f" is below {chosen.prefix.rstrip('.')} was taken"
        )
    return NetworkTensors(taken, tuple(notes))


@dataclass(frozen=True)
class _Network:
    """Tensors below a prefix, by their names behind it; `parts` are the names that are the network's by its heads."""

    prefix: str
    tensors: dict[str, Tensor]
    parts: set[str]

    @property
    def name(self) -> str:
        return self.prefix.rstrip(".") or "the tensors at the top"

    @property
    def averaged(self) -> bool:
        return not _AVERAGED.isdisjoint(re.split(r"[._]", self.prefix.lower()))


def _is_weight(name: str, tensor: Tensor) -> bool:
    """Not a counter, a random generator's state or an optimizer's."""
    return tensor.is_floating_point() and tensor.ndim >= 2 and not _is_training_state(name)


def _is_training_state(name: str) -> bool:
    return any(_NO_WEIGHTS.search(part) for part in name.split("."))


def _unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without what wrappers of single modules put into them; as they are where two would become one."""
    names = {name: ".".join(part for part in name.split(".") if part not in _WITHIN) for name in tensors}
    if len(set(names.values())) < len(names):
        return dict(tensors)
    return {names[name]: tensor for name, tensor in tensors.items()}


def _networks(tensors: Mapping[str, Tensor], heads: str) -> list[_Network]:
    """The tensors below each prefix that is followed by names of the network; shortest prefix first."""
    pattern = re.compile(rf"((?:[^.]+\.)*?)(?:{heads})(?![^.])")
    prefixes = {match[1] for name in tensors if (match := pattern.match(name))}
    below: dict[str, dict[str, Tensor]] = {
        prefix: {} for prefix in sorted(prefixes, key=lambda p: (len(p), p)) if not _is_training_state(prefix)
    }
    for name, tensor in tensors.items():
        fitting = [prefix for prefix in below if name.startswith(prefix)]
        if fitting and not name.endswith(CARRIER):
            prefix = max(fitting, key=len)
            below[prefix][name[len(prefix) :]] = tensor
    return [
        _Network(prefix, found, {name for name in found if (match := pattern.match(name)) and not match[1]})
        for prefix, found in below.items()
    ]


def _chosen(whole: Sequence[_Network], where: str) -> tuple[_Network, list[str]]:
    """Which of several complete networks to take, and why in sentences."""
    averaged = [network for network in whole if network.averaged]
    raw = [network for network in whole if not network.averaged]
    first, *others = averaged or raw
    for other in others:
        if not _same(first.tensors, other.tensors):
            raise HarmonyError(
                f"{where} holds several networks ({first.name}, {other.name}); save the one that is meant alone"
            )
    if not (averaged and raw):
        return first, []
    return first, [
        f"{where} holds raw and averaged weights; the averaged ones were taken ({first.name}, not {raw[0].name});"
        " save the others alone if they are meant"
    ]


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """One network under two names, as frameworks save a shared module."""
    return one.keys() == other.keys() and all(
        a.shape == b.shape and a.dtype == b.dtype and a.layout == b.layout and torch.equal(a, b)
        for a, b in ((tensor, other[name]) for name, tensor in one.items())
    )
