"""Pictures in guarded memory for the kernels, and what NumPy's path makes of them; shared by several test files."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

import numpy as np

from fakes.kernels import FORWARDS, HostKernels
from harmonyrt.runtime.controls import Controls
from harmonyrt.runtime.fit import fit
from harmonyrt.runtime.kernels import passes, structures
from harmonyrt.runtime.kernels.structures import Packed, Plane, Scratch, Sizes
from harmonyrt.runtime.transfer import upsample_edit

FOLDER = Path(__file__).parents[1] / "vectors"
DOCUMENT = json.loads((FOLDER / "vectors.json").read_text(encoding="utf-8"))
NETWORK = {name: np.array(values, np.float32) for name, values in DOCUMENT["network"].items()}
GUARD = 64  # bytes before and behind every buffer
SENTINEL = 0xA5


class Memory:
    """Buffers with guard bands, filled with a value that is no result."""

    def __init__(self, guard: int = GUARD, fill: int = SENTINEL) -> None:
        self._held: list[np.ndarray] = []
        self._guard, self._fill = guard, fill

    def allocate(self, size: int) -> int:
        block = np.full(size + 2 * self._guard, SENTINEL, np.uint8)
        block[self._guard : self._guard + size] = self._fill
        self._held.append(block)
        return block.ctypes.data + self._guard

    def put(self, array: np.ndarray) -> int:
        address = self.allocate(array.nbytes)
        ctypes.memmove(address, np.ascontiguousarray(array).ctypes.data, array.nbytes)
        return address

    def check(self) -> None:
        for block in self._held:
            for band in (block[: self._guard], block[len(block) - self._guard :]):
                assert (band == SENTINEL).all(), "something was written outside a buffer"


def at(address: int, shape, dtype=np.float32) -> np.ndarray:
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * count).from_address(address), dtype).reshape(shape)


def network(image, mask):
    """The hand-made network of the shared vectors: 3 x H x W and H x W."""
    mixed = np.tensordot(NETWORK["matrix"], image, 1) + NETWORK["mask"][:, None, None] * mask
    return mixed + NETWORK["bias"][:, None, None] + NETWORK["square"][:, None, None] * image * image


def scratch_for(memory, sizes, frame):
    state = memory.put(np.zeros(structures.STATE_BYTES, np.uint8))
    return Scratch.make(memory.allocate, sizes, frame, state)


def run(memory, frame, mask, result, size, binary=True, strength=1.0, answer=network, order=FORWARDS, launcher=None):
    """A whole picture; returns its scratch memory."""
    launcher = launcher or HostKernels.open(order)
    scratch = scratch_for(memory, Sizes.of(*size), frame)
    passes.fit(launcher, frame, mask, binary, scratch, 0)
    output = answer(at(scratch.image, (3, *size)), at(scratch.mask, size))
    at(scratch.output, (3, *size))[:] = output
    passes.apply(launcher, frame, mask, result, strength, scratch, 0)
    memory.check()
    return scratch


def packed(memory, array, pitch=0, bgr=False):
    """An array in memory of its own, each row padded to `pitch` bytes with the sentinel."""
    height, width, channels = array.shape
    line = width * channels * array.itemsize
    pitch = pitch or line
    padded = np.full((height, pitch), SENTINEL, np.uint8)
    padded[:, :line] = np.ascontiguousarray(array).view(np.uint8).reshape(height, line)
    plane = Plane.of(memory.put(padded), pitch, (height, width), channels, 8 * array.itemsize)
    return Packed(plane, 2 if bgr else 0)


def unpacked(frame, dtype=np.uint8):
    plane = frame.plane
    rows = at(plane.data, (plane.height, plane.pitch), np.uint8)
    line = plane.width * plane.channels * plane.bytes
    assert (rows[:, line:] == SENTINEL).all(), "something was written between rows"
    return np.ascontiguousarray(rows[:, :line]).view(dtype).reshape(plane.height, plane.width, plane.channels)


def mask_plane(memory, mask, pitch=0):
    return packed(memory, mask[..., None], pitch).plane


def picture(height, width, channels=3, dtype=np.uint8, seed=0):
    random = np.random.default_rng(seed)
    highest = np.iinfo(dtype).max
    down, across = np.mgrid[0:height, 0:width]
    waves = 0.5 + 0.35 * np.sin(down[..., None] / 9 + np.arange(channels)) * np.cos(across[..., None] / 13)
    return np.clip((waves + random.normal(0, 0.03, waves.shape)) * highest, 0, highest).astype(dtype)


def soft_mask(height, width):
    down, across = np.mgrid[0:height, 0:width]
    distance = np.hypot((down - 0.45 * height) / (0.3 * height), (across - 0.55 * width) / (0.35 * width))
    return (np.clip((1 - distance) * 5 + 0.5, 0, 1) * 255).astype(np.uint8)


def on_host(composite, mask, size, binary=True, strength=1.0):
    fitted = fit(composite, mask, size, binary)
    output = network(fitted.image, fitted.network_mask)
    return fitted, output, upsample_edit(composite, mask, fitted, output, controls=Controls(strength))
