"""Frames and masks in device memory, as callers give them, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.backends.device_arrays import DeviceArray, as_pitched_array
from harmonyrt.runtime.kernels.structures import LONGEST_SIDE, Frame, Packed, Plane, Semiplanar, Space


@dataclass(frozen=True)
class Given:
    """A frame or a mask, and the arrays that it lies in.

    Attributes:
        frame: for the kernels.
        arrays: which keep the memory alive.
    """

    frame: Frame
    arrays: tuple[DeviceArray, ...]


def read_frame(
    value: Any, name: str, index: int, stream: int, bgr: bool = False, space: Any = None, opaque: bool = True
) -> Given:
    """A composite, or what is to become the result.

    Args:
        value: height x width x 3 or 4, uint8 or uint16; or (luma, chroma) of NV12 (uint8) or P010 (uint16): height x
            width and half of both, rounded up, x 2.
        name: how messages call it.
        index: of the GPU that it has to lie on.
        stream: where it will be used.
        bgr: blue comes first.
        space: of (luma, chroma): see :meth:`harmonyrt.runtime.kernels.structures.Space.of`.
        opaque: the caller has said that a fourth channel hides nothing.

    Raises:
        HarmonyError: anything else.
    """
    if isinstance(value, (tuple, list)):
        return _semiplanar(value, name, index, stream, space)
    if space is not None:
        raise HarmonyError(
            f"{name} is one array, and a colour space was given: that is for (luma, chroma) of NV12 or P010"
        )
    array, pitch = _array(value, name, index, stream, (np.uint8, np.uint16))
    if len(array.shape) != 3 or array.shape[2] not in (3, 4):
        raise HarmonyError(f"{name} has shape {array.shape}: give height x width x 3, or x 4 with alpha")
    if array.shape[2] == 4 and not opaque:
        raise HarmonyError(
            f"{name} has a fourth channel, and transparency is not looked at on the GPU: say opaque=True where it hides"
            " nothing (it is then kept as it is), or give harmonize() host arrays"
        )
    bits = 8 * array.dtype.itemsize
    plane = Plane.of(array.address, pitch, array.shape[:2], array.shape[2], bits)
    return Given(Packed(plane, 2 if bgr else 0), (array,))


def _semiplanar(value: Any, name: str, index: int, stream: int, space: Any) -> Given:
    if len(value) != 2 or space is None:
        raise HarmonyError(
            f"{name} is {len(value)} arrays{' and no colour space' if space is None else ''}: give (luma, chroma) and"
            " space=, as harmonyrt.video.colours.colour_space makes it, or one array of interleaved colours"
        )
    (luma, luma_pitch), (chroma, chroma_pitch) = (
        _array(part, f"{what} of {name}", index, stream, (np.uint8, np.uint16))
        for part, what in zip(value, ("luma", "chroma"), strict=True)
    )
    height, width = luma.shape[:2] if len(luma.shape) >= 2 else (0, 0)
    wanted = (-(-height // 2), -(-width // 2), 2)
    if luma.shape not in ((height, width), (height, width, 1)) or chroma.shape != wanted or luma.dtype != chroma.dtype:
        raise HarmonyError(
            f"{name} has luma {luma.dtype} {luma.shape} and chroma {chroma.dtype} {chroma.shape}: give height x width"
            " and half of both, rounded up, x 2, both uint8 (NV12) or both uint16 (P010)"
        )
    highest = int(getattr(space, "highest", 255))
    bits = highest.bit_length()
    if bits != (8 if luma.dtype == np.uint8 else 10):
        raise HarmonyError(f"{name} is {luma.dtype} and its colour space is of {bits} bits: NV12 has 8, P010 has 10")
    if getattr(space, "to_srgb", None) is not None:
        raise HarmonyError(
            f"{name} has primaries far from sRGB's, which are not converted on the GPU: give its clip to the video"
            " tools, or convert it to BT.709 first"
        )
    planes = (
        Plane.of(luma.address, luma_pitch, (height, width), 1, bits),
        Plane.of(chroma.address, chroma_pitch, wanted[:2], 2, bits),
    )
    return Given(Semiplanar(*planes, Space.of(space)), (luma, chroma))


def read_mask(value: Any, size: tuple[int, int], index: int, stream: int) -> tuple[Plane, DeviceArray]:
    """A mask of a frame's size: height x width (x 1), uint8, 255 = foreground.

    Raises:
        HarmonyError: anything else.
    """
    array, pitch = _array(value, "mask", index, stream, (np.uint8,))
    if array.shape not in (size, (*size, 1)):
        raise HarmonyError(f"the mask has shape {array.shape}, the composite {size}: give one of the same size")
    return Plane.of(array.address, pitch, size, 1), array


def _array(value: Any, name: str, index: int, stream: int, types: tuple[type, ...]) -> tuple[DeviceArray, int]:
    array, pitch = as_pitched_array(value, name, stream)
    if array.dtype not in types:
        wanted = " or ".join(np.dtype(one).name for one in types)
        raise HarmonyError(f"{name} is {array.dtype}: give {wanted}")
    if array.device != index:
        raise HarmonyError(f"{name} lies on cuda:{array.device}, the engine runs on cuda:{index}: move it")
    if not array.shape or min(array.shape) < 1 or max(array.shape) > LONGEST_SIDE:
        raise HarmonyError(f"{name} has shape {array.shape}: give sides of 1 to {LONGEST_SIDE}")
    if array.address % array.dtype.itemsize or pitch % array.dtype.itemsize:
        raise HarmonyError(
            f"{name} is not aligned to its {array.dtype.itemsize} bytes a value: give a plain copy of it"
        )
    return array, pitch
