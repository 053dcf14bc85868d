"""Pictures in device memory, harmonized at their own size without leaving it.

Knows libraries only by their protocols, as :mod:`harmonyrt.runtime.tensors` does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.backends import cuda
from harmonyrt.runtime.backends.device_arrays import DeviceArray, is_device_array
from harmonyrt.runtime.backends.device_memory import DeviceMemory
from harmonyrt.runtime.controls import checked_controls
from harmonyrt.runtime.fit import engine_size
from harmonyrt.runtime.manifest import Manifest
from harmonyrt.runtime.network import FeedForward
from harmonyrt.runtime.tensors import like


def harmonize_on_device(
    network: FeedForward,
    manifest: Manifest,
    composite: Any,
    mask: Any,
    out: Any,
    *,
    bgr: bool,
    opaque: bool,
    space: Any,
    strength: float,
    stream: int,
    wait: bool,
) -> Any:
    """Harmonize one picture. See :meth:`harmonyrt.runtime.Harmonizer.harmonize_on_device`."""
    strength = checked_controls(strength, None).strength
    several = isinstance(composite, (tuple, list))
    for name, value in (("composite", composite), ("mask", mask)):
        for part in value if isinstance(value, (tuple, list)) else [value]:
            if not is_device_array(part):
                raise HarmonyError(
                    f"the {name} is a {type(part).__name__}, which is not in device memory: give harmonize() host"
                    " arrays, or move it to the GPU"
                )
    on_device = network.on_device(stream)
    from harmonyrt.runtime.kernels.frames import read_frame, read_mask
    from harmonyrt.runtime.kernels.on_device import Picture

    index = on_device.index
    given = read_frame(composite, "composite", index, stream, bgr, space, opaque)
    plane, levels = read_mask(mask, given.frame.size, index, stream)
    if out is None:
        if on_device.is_recording(stream):
            raise HarmonyError("a recording needs memory that outlives it for the result: give out")
        made = tuple(_new(array) for array in given.arrays)
        target = read_frame(made if several else made[0], "out", index, stream, bgr, space)
    else:
        target = read_frame(out, "out", index, stream, bgr, space)
    before, after = ([(a.shape, a.dtype) for a in one.arrays] for one in (given, target))
    if before != after:
        raise HarmonyError(f"out is {_described(after)} and the composite {_described(before)}: give the same")
    size = engine_size(manifest, *given.frame.size)
    picture = Picture(given.frame, plane, target.frame, size, strength)
    on_device.run(picture, (*given.arrays, levels, *target.arrays), stream, wait)
    if out is not None:
        return out
    results = [like(part, replace(array, stream=stream)) for part, array in zip(_parts(composite), made, strict=True)]
    return tuple(results) if several else results[0]


def _parts(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


def _new(array: DeviceArray) -> DeviceArray:
    """Another of the same shape and type, without gaps between rows."""
    size = int(np.prod(array.shape, dtype=np.int64)) * array.dtype.itemsize
    empty = DeviceArray(0, array.shape, array.dtype, array.device, device_type=array.device_type)
    return empty.holding(DeviceMemory(cuda.open_cuda(), size))


def _described(arrays: list[tuple[tuple[int, ...], np.dtype]]) -> str:
    return " and ".join(f"{dtype} {shape}" for shape, dtype in arrays)
