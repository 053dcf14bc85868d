"""`make demo-video`: pan over the shipped example, harmonize the clip, and show both next to each other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harmonyrt.cli.demo import EXAMPLE
from harmonyrt.common import HarmonyError
from harmonyrt.common.files import make_folder
from harmonyrt.common.program import run_program

SIZE = 128
WIDTH, HEIGHT, RATE, FRAMES = 640, 360, 25, 75
SHOWN = 6
"""Frames of the contact sheet."""


def main() -> int:
    """Run the demo in the current folder: writes engines/ and demo/."""
    return run_program(_demo)


def _demo() -> int:
    from harmonyrt.cli.main import main as harmonyrt

    if not (EXAMPLE / "lemur.jpg").is_file():
        raise HarmonyError("the demo needs a checkout of the repository, which holds its example; clone it first")
    bundle, folder = Path(f"engines/phnet-{SIZE}-fp32"), make_folder("demo")
    if not (bundle / "manifest.json").is_file():
        targets = ["onnx", *(["openvino"] if find_spec("openvino") else [])]
        code = harmonyrt(["build", "phnet", "--sizes", str(SIZE), "--targets", *targets, "--output", "engines"])
        if code:
            return code
    shot, mask = folder / "shot.mp4", folder / "mask.mp4"
    write_shot(shot, mask)
    common = ["video", str(shot), "--mask", str(mask), "--bundle", str(bundle)]
    for name, options in (("harmonized.mp4", []), ("side_by_side.mp4", ["--preview"])):
        code = harmonyrt([*common, "-o", str(folder / name), *options])
        if code:
            return code
    contact_sheet(shot, folder / "harmonized.mp4", folder / "contact_sheet.jpg")
    print(f"The harmonized clip: {folder / 'harmonized.mp4'}")
    print(f"Composite and harmonized side by side: {folder / 'side_by_side.mp4'}")
    print(f"Six moments, the composite above the harmonized frame: {folder / 'contact_sheet.jpg'}")
    return 0


def write_shot(shot: Path, mask: Path) -> None:
    """Write the clip of the pan, and that of its masks."""
    pictures = list(pan())
    write_clip(shot, (picture for picture, _ in pictures), "yuv420p")
    write_clip(mask, (levels for _, levels in pictures), "gray")


def pan() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames of a camera that pans over the example and comes closer, and their masks."""
    photo, mask = Image.open(EXAMPLE / "lemur.jpg").convert("RGB"), Image.open(EXAMPLE / "lemur_mask.png").convert("L")
    for index in range(FRAMES):
        t = index / (FRAMES - 1)
        wide = photo.width * (0.9 - 0.25 * t)
        high = wide * HEIGHT / WIDTH
        left, top = (photo.width - wide) * (0.2 + 0.5 * t), (photo.height - high) * (0.5 + 0.5 * t)
        box = (left, top, left + wide, top + high)
        views = [p.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box=box) for p in (photo, mask)]
        yield np.asarray(views[0]), np.asarray(views[1])


def write_clip(path: Path, pictures: Iterator[np.ndarray], pix_fmt: str) -> None:
    """Write pictures as H.264, BT.709."""
    from harmonyrt.video.av_library import library

    av = library()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "16"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        stream.codec_context.colorspace = stream.codec_context.color_primaries = 1
        stream.codec_context.color_trc, stream.codec_context.color_range = 1, 1
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "gray" if picture.ndim == 2 else "rgb24")
            frame = frame.reformat(format=pix_fmt, dst_colorspace=1, dst_color_range=1)
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def contact_sheet(shot: Path, harmonized: Path, path: Path) -> None:
    """Moments of both clips, one above the other."""
    rows = [_moments(clip) for clip in (shot, harmonized)]
    Image.fromarray(np.concatenate(rows, 0)).save(path, quality=88)


def _moments(path: Path) -> np.ndarray:
    from harmonyrt.video.reading import Clip

    chosen = {round(i * (FRAMES - 1) / (SHOWN - 1)) for i in range(SHOWN)}
    with Clip(path) as clip:
        frames: list[Any] = [frame for index, frame in enumerate(clip.frames()) if index in chosen]
        small = [f.reformat(WIDTH // 2, HEIGHT // 2, "rgb24", src_colorspace=1).to_ndarray() for f in frames]
    return np.concatenate(small, 1)


if __name__ == "__main__":
    sys.exit(main())
