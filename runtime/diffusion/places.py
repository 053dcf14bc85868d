"""Where a run's arrays live between its parts: on the host, or on the card from the first part to the last.

On a card everything goes up before the first part, each part reads what the last one wrote, and only the picture (and
the last latents, 64 KB, to see that they are finite) comes down. Every part finds its arrays at the same addresses in
every run, so TensorRT's sessions replay their CUDA graphs.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.runtime.backends import Session, cuda
from harmonyrt.runtime.backends.device_arrays import DeviceArray
from harmonyrt.runtime.diffusion.plan import LoopPlan


class Place(Protocol):
    """Holds arrays and runs parts on them; its arrays mean nothing to others."""

    def put(self, name: str, array: np.ndarray) -> Any:
        """Bring an array of the host here. Another one of the same name replaces it."""

    def slot(self, name: str, array: Any) -> Any:
        """The same contents where a part that runs several times always finds them."""

    def call(self, component: str, feeds: Mapping[str, Any], output: str, name: str) -> Any:
        """Run a part; its output is kept under `name`."""

    def fetch(self, component: str, array: Any) -> np.ndarray:
        """An array for the host, made by `component`.

        Raises:
            WorkFailed: it has values that are not finite.
        """


class Host:
    """NumPy arrays, checked after each part."""

    def __init__(self, sessions: Mapping[str, Session]) -> None:
        self._sessions = sessions

    def put(self, name: str, array: np.ndarray) -> np.ndarray:
        """The array itself."""
        return array

    def slot(self, name: str, array: np.ndarray) -> np.ndarray:
        """The array itself."""
        return array

    def call(self, component: str, feeds: Mapping[str, np.ndarray], output: str, name: str) -> np.ndarray:
        """Run a part, and look at what it gives."""
        return self.fetch(component, self._sessions[component].run(feeds)[output])

    def fetch(self, component: str, array: np.ndarray) -> np.ndarray:
        """The array itself."""
        return checked(component, self._sessions[component].backend, array)


class Card:
    """Device memory that a loop keeps; parts are handed over without waiting for them.

    Args:
        plan: gives the shapes.
        sessions: by component, all with `run_on_device`, on one card.
        device: CUDA.
        index: which card.
    """

    def __init__(self, plan: LoopPlan, sessions: Mapping[str, Any], device: cuda.Cuda, index: int) -> None:
        self._sessions, self._cuda, self._index = sessions, device, index
        self._arrays: dict[str, DeviceArray] = {}
        batch, channels, height, width = plan.latent_shape
        self._shapes = {
            "condition": (batch, channels + 1, height, width),
            "next_latents": plan.latent_shape,
            "predicted_noise": plan.latent_shape,
            "picture": (batch, 3, *plan.inference_size),
            "output": (batch, 3, *plan.output_size),
        }

    def put(self, name: str, array: np.ndarray) -> DeviceArray:
        """Copy it to the card."""
        self._cuda.set_device(self._index)
        array = np.ascontiguousarray(array)
        kept = self._kept(name, array.shape, array.dtype)
        self._cuda.copy(kept.address, array.ctypes.data, array.nbytes, cuda.LEGACY_STREAM)
        return kept

    def slot(self, name: str, array: DeviceArray) -> DeviceArray:
        """Copy it on the card, to the one place that the part reads."""
        kept = self._kept(f"slot {name}", array.shape, array.dtype)
        self._cuda.copy(kept.address, array.address, array.nbytes, cuda.LEGACY_STREAM)
        return kept

    def call(self, component: str, feeds: Mapping[str, DeviceArray], output: str, name: str) -> DeviceArray:
        """Put a part's work on the card, in the order of the calls."""
        results = {output: self._kept(name, self._shapes[output], np.dtype(np.float32))}
        if component == "unet":  # new memory for what nobody reads would make the card wait when it is freed
            shape = self._shapes["predicted_noise"]
            results["predicted_noise"] = self._kept("predicted noise", shape, np.dtype(np.float32))
        self._sessions[component].run_on_device(feeds, results)
        return results[output]

    def fetch(self, component: str, array: DeviceArray) -> np.ndarray:
        """Wait for the card, and copy it to the host."""
        self._cuda.set_device(self._index)
        result = np.empty(array.shape, array.dtype)
        self._cuda.copy(result.ctypes.data, array.address, array.nbytes, cuda.LEGACY_STREAM)
        self._cuda.synchronize(cuda.LEGACY_STREAM)
        return checked(component, self._sessions[component].backend, result)

    def _kept(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> DeviceArray:
        kept = self._arrays.get(name)
        if kept is None or kept.shape != shape or kept.dtype != dtype:
            kept = DeviceArray(0, shape, dtype, self._index)
            self._arrays[name] = kept = kept.holding(_Memory(self._cuda, kept.nbytes))
        return kept


class _Memory:
    """Device memory that is freed with its last user."""

    def __init__(self, device: cuda.Cuda, size: int) -> None:
        self.address = device.allocate(size)
        weakref.finalize(self, device.free, self.address).atexit = False  # CUDA may be gone by then


def open_place(plan: LoopPlan, sessions: Mapping[str, Session]) -> Place:
    """The card, where all parts run on one and CUDA can be asked for memory; else the host."""
    devices = {session.device for session in sessions.values()}
    kind, _, index = next(iter(devices)).partition(":")
    if len(devices) != 1 or kind != "cuda" or not all(hasattr(one, "run_on_device") for one in sessions.values()):
        return Host(sessions)
    try:
        return Card(plan, sessions, cuda.open_cuda(), int(index or 0))
    except HarmonyError:  # ONNX Runtime's CUDA provider needs no cuda-python; its arrays then pass through the host
        return Host(sessions)


def checked(component: str, backend: str, result: np.ndarray) -> np.ndarray:
    """The array, if all of it is finite.

    Raises:
        WorkFailed: it is not.
    """
    if not np.isfinite(result).all():
        raise WorkFailed(
            f"the {component} gave {int((~np.isfinite(result)).sum())} values that are not finite on {backend};"
            " use a bundle of another precision"
        )
    return result
