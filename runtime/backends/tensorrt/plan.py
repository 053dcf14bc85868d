"""The header of a plan file: what can be read of an engine without a GPU.

TensorRT for RTX refuses even to validate an engine without a driver (1.7.1: getEngineValidity and
deserializeCudaEngine both end in CUDA error 35), so this reads the header itself. The layout is undocumented and was
observed on engines that 1.7.1 built: magic, size of the file at byte 16, version at 24, a bit for each compute
capability at 32. A plan with another magic is left to TensorRT.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.backends.tensorrt.versions import Capability, named

_MAGIC = b"vtrt"
_HEADER = struct.Struct("<4s12xQ4B4sI")
_CAPABILITY_BITS: tuple[Capability, ...] = ((7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1))


@dataclass(frozen=True)
class PlanHeader:
    """What an engine of TensorRT for RTX says of itself.

    Attributes:
        bytes: size of the whole file.
        version: of the builder.
        capabilities: compute capabilities that it was built for.
    """

    bytes: int
    version: str
    capabilities: tuple[Capability, ...]


def read_header(path: str | Path) -> PlanHeader | None:
    """Header of an engine file; None for a kind of plan whose header is not known (TensorRT's own).

    Raises:
        HarmonyError: an empty or truncated engine.
    """
    path = Path(path)
    with open(path, "rb") as file:
        start = file.read(_HEADER.size)
    size = path.stat().st_size
    if size == 0:
        raise HarmonyError(f"{path} is empty; build the bundle again")
    if not start.startswith(_MAGIC):
        return None
    if len(start) < _HEADER.size:
        raise HarmonyError(f"{path} is cut short at {size} bytes; build the bundle again")
    _, stated, *numbers, _, mask = _HEADER.unpack(start)
    if stated != size:
        raise HarmonyError(f"{path} has {size} bytes, its header says {stated}; build the bundle again")
    capabilities = tuple(c for bit, c in enumerate(_CAPABILITY_BITS) if mask >> bit & 1)
    return PlanHeader(size, ".".join(map(str, numbers)), capabilities)


def check_header(path: str | Path, version: str, capabilities: tuple[Capability, ...]) -> None:
    """Hold a freshly built engine against what was asked for.

    Raises:
        HarmonyError: another version, or it was not built for a GPU that was asked for.
    """
    header = read_header(path)
    if header is None:
        return
    if header.version != version:
        raise HarmonyError(f"{path} is of version {header.version}, not {version}; build the bundle again")
    missing = [named(c) for c in capabilities if c in _CAPABILITY_BITS and c not in header.capabilities]
    if missing:
        raise HarmonyError(
            f"{path} was built for compute capabilities {', '.join(map(named, header.capabilities))} and lacks"
            f" {', '.join(missing)}; build the bundle again"
        )
