"""Tensors of other libraries, in and out without a copy where the memory allows it.

Knows libraries only by their protocols (DLPack, `__cuda_array_interface__`): none is imported here.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.backends import Session
from harmonyrt.runtime.backends.device_arrays import stream_handle
from harmonyrt.runtime.manifest import Manifest

_ON_CPU = 1  # DLPack's number of the CPU


def run_tensors(
    session: Session, manifest: Manifest, image: Any, mask: Any, out: Any = None, stream: Any = None
) -> Any:
    """Run a session on tensors. See :meth:`harmonyrt.runtime.Harmonizer.run_tensor`."""
    shapes = {"image": _shape(image, "image"), "mask": _shape(mask, "mask")}
    _check_shapes(shapes["image"], shapes["mask"], manifest)
    on_device = {name: _on_device(value) for name, value in (("image", image), ("mask", mask))}
    if on_device["image"] != on_device["mask"]:
        raise HarmonyError("image and mask lie in different memory; move one of them, so that both are on one device")
    if not on_device["image"]:
        if stream is not None:
            raise HarmonyError("stream is for tensors on a GPU, and these are on the CPU: leave it out, or move them")
        result = session.run({"image": _on_host(image, "image"), "mask": _on_host(mask, "mask")})["output"]
        if out is not None:
            np.copyto(_on_host(out, "out"), result)
            return out
        return like(image, result)
    if not hasattr(session, "run_on_device"):
        raise HarmonyError(
            f"the tensors are on a GPU and the engine runs on {session.device} with {session.backend};"
            " move them to the CPU, or open the bundle with device='cuda'"
        )
    outputs = None if out is None else {"output": out}
    result = session.run_on_device({"image": image, "mask": mask}, outputs, stream_handle(stream))["output"]
    return out if out is not None else like(image, result)


def _shape(value: Any, name: str) -> tuple[int, ...]:
    shape = getattr(value, "shape", None)
    if shape is None and hasattr(value, "__cuda_array_interface__"):
        shape = value.__cuda_array_interface__["shape"]
    if shape is None:
        raise HarmonyError(
            f"{name} is a {type(value).__name__}; give a NumPy array, or a tensor with DLPack or"
            " __cuda_array_interface__"
        )
    return tuple(int(n) for n in shape)


def _check_shapes(image: tuple[int, ...], mask: tuple[int, ...], manifest: Manifest) -> None:
    batch = manifest.batch if manifest.batch is not None else "N"
    height, width = manifest.size or ("H", "W")
    fits = len(image) == 4 and image[1] == 3 and mask == (image[0], 1, *image[2:])
    fits = fits and min(image) > 0 and manifest.batch in (None, image[0])
    if fits and manifest.size is None:
        fits = all(side % manifest.size_multiple == 0 for side in image[2:])
    elif fits:
        fits = image[2:] == manifest.size
    if not fits:
        sides = f" (H and W multiples of {manifest.size_multiple})" if manifest.size is None else ""
        raise HarmonyError(
            f"image has shape {image} and mask {mask}; this engine needs ({batch}, 3, {height}, {width}) and"
            f" ({batch}, 1, {height}, {width}){sides}: fit them first, or use harmonize()"
        )


def _on_device(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return False
    if hasattr(value, "__dlpack_device__"):
        return int(value.__dlpack_device__()[0]) != _ON_CPU
    return hasattr(value, "__cuda_array_interface__")


def _on_host(value: Any, name: str) -> np.ndarray:
    try:
        array = value if isinstance(value, np.ndarray) else np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError, AttributeError) as error:
        raise HarmonyError(f"{name} cannot be shared ({error}); give a plain float32 tensor, detached") from None
    if array.dtype != np.float32:
        raise HarmonyError(f"{name} is of {array.dtype}; give float32 from 0 to 1")
    return array


def like(given: Any, result: Any) -> Any:
    """The result as the library of `given` has it, where that library reads DLPack; else as it is."""
    if isinstance(given, np.ndarray):
        return result
    library = sys.modules.get(type(given).__module__.partition(".")[0])
    from_dlpack = getattr(library, "from_dlpack", None)
    return result if from_dlpack is None else from_dlpack(result)
