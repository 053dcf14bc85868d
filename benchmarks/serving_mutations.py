"""Forms with pictures, damaged: what a server must answer with a sentence, whatever it is sent."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from harmonyrt.benchmarks.serving_client import form

BOUNDARY = b"edge"
EXPECTED = frozenset({200, 400, 413, 415, 422})
"""Statuses that a damaged form may get: what is left of it decides."""
_KINDS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF")


def whole_forms() -> list[bytes]:
    """Forms of every kind of request and picture, nothing damaged yet."""
    rng = np.random.default_rng(3)
    composite = rng.integers(60, 250, (24, 32, 3), dtype=np.uint8)
    mask = np.zeros((24, 32), np.uint8)
    mask[5:12, 10:24] = 255
    cutout = np.dstack([composite, mask])
    forms = [{"composite": _encoded(composite, kind), "mask": _encoded(mask, "PNG")} for kind in _KINDS]
    forms.append({"composite": _encoded(cutout, "PNG"), "strength": b"0.5", "format": b"jpg"})
    placed = {"foreground": _encoded(cutout, "PNG"), "background": _encoded(composite, "PNG")}
    forms.append({**placed, "at": b"3,4", "scale": b"0.5"})
    return [form(parts, BOUNDARY) for parts in forms]


def _encoded(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def damaged(body: bytes, rng: random.Random) -> bytes:
    """A body with bytes changed, removed, repeated or inserted, once to twenty times."""
    data = bytearray(body)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0 and data:
            data[min(at, len(data) - 1)] = rng.randrange(256)
        elif kind == 1:
            del data[at : at + rng.choice((1, 4, 100))]
        elif kind == 2:
            data[at:at] = rng.randbytes(rng.choice((1, 3, 50)))
        elif kind == 3:
            data[at:at] = data[at : at + rng.choice((10, 200))]
        elif kind == 4:
            data[at:at] = rng.choice((b"\r\n--edge\r\n", b"--edge--", b"\r\n\r\n", b"\x00" * 9, b'name="mask"'))
        else:
            del data[at:]
    return bytes(data)


def damaged_forms(count: int, seed: int = 1) -> Iterator[bytes]:
    """Damaged forms, the same for the same seed."""
    rng, whole = random.Random(seed), whole_forms()
    for _ in range(count):
        yield damaged(rng.choice(whole), rng)
