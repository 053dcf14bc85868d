"""A JPEG composite and its PNG mask, bytes in, to a harmonized JPEG, bytes out: where the time goes.

    python -m harmonyrt.benchmarks.end_to_end BUNDLE --threads 2 --json FILE

It does what `harmonyrt harmonize` and the server do with a pair: read both, fit, run the engine, upsample the edit,
write. Medians over calls of one process; the composite is smooth with fine noise, the mask an ellipse.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harmonyrt.common.files import write_json
from harmonyrt.common.program import run_program
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.images.encode import save
from harmonyrt.runtime.images.inputs import Reading, read_pair
from harmonyrt.runtime.machine import machine_name
from harmonyrt.runtime.machine_report import machine

STAGES = ("read", "fit", "engine", "carry_back", "write", "total")


def files(height: int, width: int) -> tuple[bytes, bytes]:
    """A composite as JPEG of quality 90, and its mask as PNG."""
    rows = np.linspace(0, 9, height, dtype=np.float32)[:, None]
    columns = np.linspace(0, 7, width, dtype=np.float32)[None, :]
    rng = np.random.default_rng(0)
    composite = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        wave = np.sin(rows * (1 + channel) + columns) * np.cos(columns * (2 - channel / 2))
        noise = rng.standard_normal((height, width), np.float32)
        composite[..., channel] = np.clip(127 + 90 * wave + 4 * noise, 0, 255)
    down, across = np.linspace(-1.6, 1.6, height)[:, None], np.linspace(-1.6, 1.6, width)[None, :]
    mask = np.where(down**2 + across**2 < 1, np.uint8(255), np.uint8(0))
    jpeg, png = io.BytesIO(), io.BytesIO()
    Image.fromarray(composite).save(jpeg, "JPEG", quality=90)
    Image.fromarray(mask).save(png, "PNG")
    return jpeg.getvalue(), png.getvalue()


def once(harmonizer: Harmonizer, composite: bytes, mask: bytes) -> tuple[dict[str, float], bytes]:
    """Milliseconds of each of :data:`STAGES` of one call, and the file that it wrote."""
    start = time.perf_counter()
    pair = read_pair(composite, mask, Reading(), "the composite", "the mask")
    read = time.perf_counter()
    result = harmonizer.harmonize(pair.picture, pair.mask)
    harmonized = time.perf_counter()
    output = io.BytesIO()
    save(result, output, "JPEG", "the result")
    end = time.perf_counter()
    seconds = {name: getattr(harmonizer.timings, name) for name in ("fit", "engine", "carry_back")}
    seconds |= {"read": read - start, "write": end - harmonized, "total": end - start}
    return {name: 1000 * seconds[name] for name in STAGES}, output.getvalue()


def measured(
    bundle: str, backend: str, threads: Sequence[int], size: tuple[int, int], rounds: int
) -> list[dict[str, Any]]:
    """A row of medians in milliseconds for each number of threads; their calls take turns."""
    composite, mask = files(*size)
    open_with = {count: Harmonizer.open(bundle, backend, count) for count in threads}
    times: dict[int, list[dict[str, float]]] = {count: [] for count in threads}
    for number in range(rounds + 2):
        for count, harmonizer in open_with.items():
            stages, _ = once(harmonizer, composite, mask)
            if number >= 2:  # the first two warm caches and clocks
                times[count].append(stages)
    return [
        {"threads": count, **{name: round(statistics.median(t[name] for t in own), 1) for name in STAGES}}
        for count, own in times.items()
    ]


def run(arguments: argparse.Namespace) -> None:
    """Measure, print a table, and write the JSON that was asked for."""
    height, width = (int(side) for side in arguments.picture.lower().split("x"))
    rows = measured(arguments.bundle, arguments.backend, arguments.threads, (height, width), arguments.rounds)
    print("| engine's threads | " + " | ".join(f"{name.replace('_', ' ')}, ms" for name in STAGES) + " |")
    print("|---|" + "---|" * len(STAGES))
    for row in rows:
        print("| " + " | ".join(str(row[name]) for name in ("threads", *STAGES)) + " |")
    if arguments.json:
        packages = machine().packages
        report = {
            "what": "a JPEG pair from bytes to bytes: medians of a call's stages in milliseconds",
            "command": "python -m harmonyrt.benchmarks.end_to_end BUNDLE --json FILE",
            "machine": machine_name(),
            "date": str(date.today()),
            "versions": {name: packages.get(name) for name in ("numpy", "pillow", "simplejpeg", "openvino")},
            "bundle": Path(arguments.bundle).name,
            "picture": [height, width],
            "rounds": arguments.rounds,
            "rows": rows,
        }
        write_json(arguments.json, report)


def _size(text: str) -> str:
    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; give HEIGHTxWIDTH, for example 3000x4000")
    return text


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundle")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of the engine and its surroundings")
    parser.add_argument("--picture", type=_size, default="3000x4000", metavar="HxW")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(argv)
    return run_program(lambda: run(given))


if __name__ == "__main__":
    sys.exit(main())
