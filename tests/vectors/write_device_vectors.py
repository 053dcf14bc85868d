"""Write the vectors of video frames on a GPU that both suites read: planes, and what NumPy's path makes of them.

Run from the repository root, after a deliberate change of the picture path or of video's colours only:

    .venv/bin/python tests/vectors/write_device_vectors.py

The network is that of `write_vectors.py`, in the bundle hand-made-64. Values of planes are hexadecimal, in the layout
of NV12 and P010: luma row by row, then pairs of chroma. C++ computes them by the kernels, to within 1 level.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from harmonyrt.runtime.colour_maps import fit_maps
from harmonyrt.runtime.fit import Fitted, binary
from harmonyrt.runtime.resample import resample
from harmonyrt.video.change import apply_change, change_of
from harmonyrt.video.colours import Tags, colour_space

HERE = Path(__file__).parent
FILE = HERE / "device.json"
SIDE = 64  # of the bundle
MATRICES, RANGES, BITS = (1, 4, 5, 6, 7, 8, 9), (1, 2), (8, 10)
# format, matrix, range, width, height, strength
CASES = [("NV12", 1, 1, 33, 25, 1.0), ("NV12", 6, 2, 70, 66, 1.0), ("P010", 9, 1, 41, 22, 0.75)]


def spaces() -> list[dict]:
    """Every colour space that libharmonyrt knows."""
    found = []
    for matrix in MATRICES:
        for range_ in RANGES:
            for bits in BITS:
                space = colour_space(Tags(matrix=matrix, range=range_), "yuv", bits, (SIDE, SIDE))
                numbers = {name: getattr(space, name).ravel().tolist() for name in ("offset", "to_rgb", "from_rgb")}
                found.append({"matrix": matrix, "range": range_, "bits": bits, **numbers})
    return found


def cases() -> list[dict]:
    """Frames, and what becomes of them."""
    network = json.loads((HERE / "vectors.json").read_text(encoding="utf-8"))["network"]
    return [_case(network, *case) for case in CASES]


def _case(network, kind, matrix, range_, width, height, strength) -> dict:
    bits = 8 if kind == "NV12" else 10
    space = colour_space(Tags(matrix=matrix, range=range_), "yuv", bits, (width, height))
    planes, mask = _planes(width, height, bits), _mask(width, height)
    changed = [plane.copy() for plane in planes]
    small = [resample(plane[..., None], SIDE, SIDE)[..., 0] for plane in planes]
    image = np.clip((np.stack(small, -1) - space.offset) @ space.to_rgb / 255, 0, 1).transpose(2, 0, 1)
    coverage = resample(mask[..., None], SIDE, SIDE)[..., 0] / 255
    seen = binary(coverage)
    maps = fit_maps(Fitted(image.astype(np.float32), coverage, seen), _answer(network, image.astype(np.float32), seen))
    apply_change(changed, mask, change_of(maps, space, strength))
    return {
        "name": f"{width}x{height}-{kind}-{matrix}-{range_}",
        "bundle": "hand-made-64", "format": kind, "matrix": matrix, "range": range_, "width": width, "height": height,
        "strength": strength, "mask": mask.tobytes().hex(), "frame": _stored(planes, bits).hex(),
        "harmonized": _stored(changed, bits).hex(),
    }  # fmt: skip


def _planes(width: int, height: int, bits: int) -> list[np.ndarray]:
    kind, step = (np.uint8, 1) if bits == 8 else (np.uint16, 4)
    rows, columns = np.mgrid[0:height, 0:width]
    luma = 40 + 150 * (0.5 + 0.5 * np.sin(rows / 5) * np.cos(columns / 7))
    rows, columns = np.mgrid[0 : (height + 1) // 2, 0 : (width + 1) // 2]
    chroma = [110 + 35 * np.sin(rows / 4 + k) * np.cos(columns / 3 - k) for k in (0, 1)]
    return [np.floor(plane * step).astype(kind) for plane in (luma, *chroma)]


def _mask(width: int, height: int) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    distance = np.hypot((rows - 0.45 * height) / (0.35 * height), (columns - 0.55 * width) / (0.3 * width))
    return (np.clip((1 - distance) * 4 + 0.5, 0, 1) * 255).astype(np.uint8)


def _answer(network: dict, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    matrix, of_mask, bias, square = (
        np.array(network[name], np.float32) for name in ("matrix", "mask", "bias", "square")
    )
    mixed = np.tensordot(matrix, image, 1) + of_mask[:, None, None] * mask
    return mixed + bias[:, None, None] + square[:, None, None] * image * image


def _stored(planes: list[np.ndarray], bits: int) -> bytes:
    """As NV12 and P010 have them: P010's 10 bits are the upper ones of 16."""
    shift = 0 if bits == 8 else 6
    luma, *chroma = (plane << shift for plane in planes)
    return luma.tobytes() + np.stack(chroma, -1).tobytes()


if __name__ == "__main__":
    parts = []
    for name, entries in (("cases", cases()), ("spaces", spaces())):
        lines = ",\n    ".join(json.dumps(entry) for entry in entries)
        parts.append(f'  "{name}": [\n    {lines}\n  ]')
    FILE.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
