"""Every kernel over pictures of awkward sizes, for a build of the shim with sanitizers.

    LD_PRELOAD=libasan.so python tests/fakes/sanitized_kernels.py LIBRARY [--overrun]

Prints a hash of all results, and of the colour maps. With --overrun it reads one row too many, which has to be found.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from fakes.kernels import BACKWARDS, FORWARDS, HostKernels
from fakes.pictures_in_memory import Memory, mask_plane, network, packed, picture, run, soft_mask, unpacked
from harmonyrt.runtime.kernels.structures import Packed, Semiplanar, Space

# Height, width, size of the engine.
SIZES = [((41, 67), (32, 32)), ((32, 32), (32, 32)), ((1, 1), (32, 32)), ((9, 130), (40, 24)), ((3, 2), (8, 8))]
SPACE = Space.of(
    SimpleNamespace(
        offset=[16, 128, 128],
        to_rgb=[[1.164, 1.164, 1.164], [0, -0.213, 2.112], [1.793, -0.533, 0]],
        from_rgb=[[0.183, -0.101, 0.439], [0.614, -0.338, -0.399], [0.062, 0.439, -0.040]],
    )
)


def frames(memory: Memory, size: tuple[int, int]):
    """A picture of each layout, on rows with and without gaps."""
    height, width = size
    yield packed(memory, picture(height, width))
    yield packed(memory, picture(height, width, 4), pitch=width * 4 + 12, bgr=True)
    yield packed(memory, picture(height, width, dtype=np.uint16))
    small = (-(-height // 2), -(-width // 2))
    for dtype in (np.uint8, np.uint16):
        luma, chroma = picture(height, width, 1, dtype), picture(*small, 2, dtype)
        planes = [packed(memory, part).plane for part in (luma, chroma)]
        for plane in planes:
            plane.shift, plane.highest = (0, 255) if dtype == np.uint8 else (6, 1023)
        yield Semiplanar(*planes, SPACE)


def results(kernels: HostKernels) -> str:
    """Run them all; a hash of what came out."""
    digest = hashlib.sha256()
    for size, engine in SIZES:
        memory = Memory(guard=0)
        for frame in frames(memory, size):
            mask = soft_mask(*size) | np.uint8(size == (1, 1))
            run(memory, frame, mask_plane(memory, mask), frame, engine, True, 1.25, network, launcher=kernels)
            for plane in frame.parts:
                digest.update(unpacked(Packed(plane), np.uint8 if plane.bytes == 1 else np.uint16).tobytes())
    return digest.hexdigest()


def overrun(kernels: HostKernels) -> None:
    """Say that a mask has a row more than it has."""
    memory = Memory(guard=0)
    frame, mask = packed(memory, picture(20, 30)), mask_plane(memory, soft_mask(19, 30))
    mask.height = 20
    run(memory, frame, mask, frame, (32, 32), True, 1.0, network, launcher=kernels)


if __name__ == "__main__":
    if "--overrun" in sys.argv:
        overrun(HostKernels(Path(sys.argv[1])))
    else:
        print(*[results(HostKernels(Path(sys.argv[1]), order)) for order in (FORWARDS, BACKWARDS)])
