"""Clips: frames per second with and without coding, flicker, fidelity and scene cuts. One command, one JSON.

    python -m harmonyrt.benchmarks.video BUNDLE [BUNDLE ...] [--json FILE] [--only speed|steady] [--threads N]

Speed: a shot of 1920 x 1080, 8 bits 4:2:0, panned over the shipped lemur, whose mask moves with it. "Coded" is
`harmonyrt video` as a user runs it: the shot and its mask clip decoded, the answer encoded (x264 veryfast), all stages
side by side. "Bare" is the same without any decoder or encoder: frames and masks are in memory. The network sees every
frame of a moving shot. Stages are medians of CPU time of their own thread, alone, so that other work on the machine
counts less; `load` is the machine's at the start.

Flicker and fidelity: :mod:`harmonyrt.benchmarks.video_steadiness` on shots with ground truth, for each steadiness.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harmonyrt.benchmarks.video_shots import KINDS, read_photo, shot
from harmonyrt.benchmarks.video_steadiness import Score, cuts_found, record, score
from harmonyrt.common.files import write_json
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.colour_maps import ColourSums, sum_colours
from harmonyrt.runtime.machine import machine_name
from harmonyrt.video import Coding, VideoOptions, harmonize_video
from harmonyrt.video.av_library import library
from harmonyrt.video.background import in_background
from harmonyrt.video.change import apply_change, change_of
from harmonyrt.video.colours import colour_space
from harmonyrt.video.frames import FrameHarmonizer, MaskedFrame
from harmonyrt.video.looking import Look, fit_mask, look
from harmonyrt.video.pixel_formats import copied, layout_of
from harmonyrt.video.reading import Clip
from harmonyrt.video.steadiness import Steadier
from harmonyrt.video.watching import Watcher

WIDTH, HEIGHT, RATE = 1920, 1080, 25
CHECKOUT = Path(__file__).resolve().parents[1]
EXAMPLE = ("examples/lemur.jpg", "examples/lemur_mask.png")
PHOTOS = (("lemur", "warm"), ("dog", "dark"), ("tabby", "pale"), ("suitcase", "dark"))
"""Of export/parity_pictures: whole photos, so that they are the truth; and how their foreground is recoloured."""
STEADY = (0.0, 0.3, 0.5, 0.7, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundles", type=Path, nargs="+", help="of PHNet, for example phnet-256-int8")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=("speed", "steady"))
    parser.add_argument("--frames", type=int, default=96, help="of the clip whose speed is measured")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--backend", default="auto")
    arguments = parser.parse_args()
    report: dict[str, Any] = {
        "what": "frames per second at 1920 x 1080, and flicker and fidelity of shots with ground truth",
        "command": "python -m harmonyrt.benchmarks.video " + " ".join(path.name for path in arguments.bundles),
        "machine": machine_name(),
        "load": [round(value, 1) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "ffmpeg": {name: ".".join(map(str, v)) for name, v in library().library_versions.items()},
        "bundles": [],
    }
    for path in arguments.bundles:
        with Harmonizer.open(path, arguments.backend, arguments.threads) as harmonizer:
            entry: dict[str, Any] = {"bundle": path.name, "backend": harmonizer.info.backend}
            if arguments.only != "steady":
                entry["speed"] = speed(harmonizer, arguments.frames)
                _print_speed(path.name, entry["speed"])
            if arguments.only != "speed":
                entry["steady"] = steadiness(harmonizer)
                _print_steady(path.name, entry["steady"])
            report["bundles"].append(entry)
    if arguments.only != "speed":
        report["cuts"] = cuts_found(CHECKOUT / "export" / "parity_pictures")
        print(f"\ncuts found: {report['cuts']}")
    if arguments.json:
        write_json(arguments.json, report)


def speed(harmonizer: Harmonizer, frames: int) -> dict[str, Any]:
    """Frames per second, and CPU milliseconds of each stage."""
    with tempfile.TemporaryDirectory() as scratch:
        clip, masks = (Path(scratch) / name for name in ("shot.mp4", "mask.mp4"))
        pictures = list(_pan(frames))
        _write(clip, (picture for picture, _ in pictures), "yuv420p")
        _write(masks, (mask for _, mask in pictures), "gray")
        options = VideoOptions(coding=Coding("libx264", preset="veryfast"))
        began = time.perf_counter()
        coded = harmonize_video(clip, masks, Path(scratch) / "out.mp4", harmonizer, options)
        seconds = time.perf_counter() - began
        with Clip(clip) as opened:
            info = opened.info
            decoded = list(opened.frames())
    items = [MaskedFrame(i, i / RATE, f, m) for i, (f, (_, m)) in enumerate(zip(decoded, pictures, strict=True))]
    worker = FrameHarmonizer(harmonizer, info)
    began = time.perf_counter()
    bare = sum(1 for _ in _side_by_side(worker, items))
    bare_seconds = time.perf_counter() - began
    return {
        "frames": coded.frames,
        "asked": coded.asked,
        "mask_share": round(float(np.mean([mask.mean() / 255 for _, mask in pictures])), 3),
        "coded_fps": round(coded.frames / seconds, 2),
        "bare_fps": round(bare / bare_seconds, 2),
        "cpu_ms": _stages(harmonizer, info, items[:24]),
    }


def _side_by_side(worker: FrameHarmonizer, items: list[MaskedFrame]) -> Iterator[Any]:
    """As the pipeline does it, without reader and writer."""
    stop = threading.Event()
    with (
        in_background(worker.looked(items), 4, "reader", stop) as looked,
        in_background(worker.steadied(worker.seen(looked)), 4, "network", stop) as steadied,
        in_background(worker.changed(steadied), 4, "change", stop) as changed,
    ):
        yield from changed


def _stages(harmonizer: Harmonizer, info: Any, items: list[MaskedFrame]) -> dict[str, float]:
    """Median CPU time of each stage in milliseconds; the network's in all of its threads together."""
    layout = layout_of(info.pix_fmt)
    space = colour_space(info.tags, layout.kind, layout.bits, (info.width, info.height))
    size = harmonizer.engine_size(info.height, info.width)
    taken: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[..., Any], *given: Any, clock: Callable[[], float] = time.thread_time) -> Any:
        began = clock()
        result = work(*given)
        taken.setdefault(name, []).append(1000 * (clock() - began))
        return result

    def answer(view: Look) -> ColourSums:
        output = timed("network", harmonizer.answer, view.fitted, clock=time.process_time)
        return sum_colours(replace(view.fitted, image=view.own), output)

    steadier, watcher = Steadier(), Watcher(answer)
    seen = []
    for item in items:
        coverage = timed("fit mask", fit_mask, item.mask, size)
        view = timed("fit frame", look, item.frame, layout, coverage, space, size)
        seen.append(timed("watch, network and sums", watcher.watch, item, item.seconds, view))
    maps = steadier.steadied(seen)
    for _ in items:
        each = timed("steady maps", next, maps)
        change = timed("change of maps", change_of, each.maps, space)
        frame = timed("copy frame", copied, each.item.frame)
        timed("apply", apply_change, layout.planes(frame), each.item.mask, change)
    return {name: round(statistics.median(times), 2) for name, times in taken.items()}


def _pan(frames: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Composites and masks of 1920 x 1080: the lemur, panned from left to right."""
    picture, mask = (Image.open(CHECKOUT / name) for name in EXAMPLE)
    photo, levels = picture.convert("RGB"), mask.convert("L")
    scale = max(WIDTH * 1.2 / photo.width, HEIGHT / photo.height)
    large = (round(photo.width * scale), round(photo.height * scale))
    pixels, share = (np.asarray(p.resize(large, Image.Resampling.BICUBIC)) for p in (photo, levels))
    for index in range(frames):
        left = (large[0] - WIDTH) * index // max(frames - 1, 1)
        top = (large[1] - HEIGHT) // 2
        here = (slice(top, top + HEIGHT), slice(left, left + WIDTH))
        yield pixels[here], np.ascontiguousarray(share[here])


def _write(path: Path, pictures: Iterator[np.ndarray], pix_fmt: str) -> None:
    av = library()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "gray" if picture.ndim == 2 else "rgb24")
            frame = frame.reformat(format=pix_fmt, dst_colorspace=1)
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def steadiness(harmonizer: Harmonizer) -> list[dict[str, Any]]:
    """Scores of each shot with each steadiness, and with the default without coming frames."""
    rows = []
    for name, colour in PHOTOS:
        picture = CHECKOUT / "export" / "parity_pictures" / f"{name}.jpg"
        photo, levels = read_photo(picture, picture.with_suffix(".png"))
        for kind in KINDS:
            recorded = record(harmonizer, shot(photo, levels, kind, colour, 40))
            for steady, ahead in (*((steady, 8) for steady in STEADY), (0.5, 0)):
                found: Score = score(recorded, steady, ahead)
                rows.append({"shot": f"{name}, {kind}", "steady": steady, "ahead": ahead, **asdict(found)})
            print(f"{name}, {kind}: done", file=sys.stderr)
    return rows


def _print_speed(name: str, found: dict[str, Any]) -> None:
    print(f"\n{name}: {found['coded_fps']} frames a second coded, {found['bare_fps']} bare")
    print(
        f"  mask {found['mask_share']:.0%} of the frame, the network saw {found['asked']} of {found['frames']} frames"
    )
    for stage, milliseconds in found["cpu_ms"].items():
        print(f"  {stage:26s} {milliseconds:6.2f} ms of CPU")


def _print_steady(name: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{name}")
    print("| shot | steady | ahead | flicker | of steady 0 | largest jump | PSNR, dB | gain, dB | asked |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        first = next(r for r in rows if r["shot"] == row["shot"] and r["steady"] == 0)
        ratio = "" if row["flicker"] is None else f"{row['flicker'] / first['flicker']:.2f}"
        flicker = f"{row['flicker']:.3f}" if ratio else ""
        print(
            f"| {row['shot']} | {row['steady']:g} | {row['ahead']} | {flicker} | {ratio} | {row['jump']:.2f} |"
            f" {row['psnr']:.2f} | {row['psnr'] - first['psnr']:+.2f} | {row['asked']:.0%} |"
        )


if __name__ == "__main__":
    main()
