"""Renew the pictures of README and docs that show the shipped weights. The page is shown by the tests' Chromium.

PYTHONPATH=tests python examples/make_pictures.py engines/phnet-128-fp32
"""

import io
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageOps

from fakes.browser import DESKTOP, PHONE, Browser, browser
from fakes.served import Running
from harmonyrt.cli import demo_video
from harmonyrt.runtime import Harmonizer
from harmonyrt.serving.settings import Settings
from harmonyrt.video import harmonize_video

HERE = Path(__file__).parent
OUT = HERE.parent / "docs" / "pictures"
ROW = 1440
SHRUNK = (1296, 810)
"""The desktop's picture."""
GAP, GROUND = 24, (58, 62, 64)


def main(bundle: str) -> None:
    with Harmonizer.open(bundle) as harmonizer:
        before_and_after(harmonizer)
        controls(harmonizer)
        clip(harmonizer)
    page(bundle)


def before_and_after(harmonizer: Harmonizer) -> None:
    """Composite, mask and harmonized image of each example."""
    for name in ("lemur", "bus"):
        composite, mask = example(name)
        parts = (composite, mask.convert("RGB"), harmonizer.harmonize(composite, mask))
        save(side_by_side([narrowed(part, ROW // len(parts)) for part in parts]), name)


def controls(harmonizer: Harmonizer) -> None:
    """The lemur as it was, then with each control."""
    composite, mask = example("lemur")
    wishes = ({"strength": 0.5}, {}, {"strength": 1.5}, {"keep": "luminance"}, {"keep": "hue"})
    left, top, right, bottom = mask.getbbox()
    box = (left - 30, top - 30, right + 30, bottom)
    parts = [composite, *(harmonizer.harmonize(composite, mask, **wish) for wish in wishes)]
    save(side_by_side([narrowed(part.crop(box), ROW // len(parts)) for part in parts]), "controls")


def clip(harmonizer: Harmonizer) -> None:
    """Moments of the clip of `make demo-video`."""
    with tempfile.TemporaryDirectory() as folder:
        shot, mask, out = (Path(folder) / name for name in ("shot.mp4", "mask.mp4", "harmonized.mp4"))
        demo_video.write_shot(shot, mask)
        harmonize_video(shot, mask, out, harmonizer)
        demo_video.contact_sheet(shot, out, OUT / "video.jpg")


def page(bundle: str) -> None:
    """The page with an answer on a desktop, and three moments of it on a phone."""
    server = Running(Settings(bundles=[Path(bundle)]))
    try:
        with tempfile.TemporaryDirectory() as downloads, browser(Path(downloads)) as chromium:
            chromium.open(server.url, DESKTOP)
            chromium.click(".example")
            chromium.harmonize()
            save(screen(chromium).resize(SHRUNK, Image.Resampling.LANCZOS), "page")
            chromium.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
            chromium.open(server.url, PHONE, "dark")
            chromium.click(".example")
            moments = [screen(chromium)]
            chromium.open(server.url, PHONE, "dark")
            chromium.click("li:nth-child(2) .example")
            moments.append(screen(chromium))
            chromium.harmonize()
            moments.append(screen(chromium))
            save(side_by_side(moments, GAP), "page_phone")
    finally:
        server.stop()


def screen(chromium: Browser) -> Image.Image:
    """What the window shows, from the top."""
    chromium.run("scrollTo(0, 0)")
    time.sleep(1)  # thumbnails and the canvas are drawn after the answer
    return Image.open(io.BytesIO(chromium.driver.get_screenshot_as_png())).convert("RGB")


def example(name: str) -> tuple[Image.Image, Image.Image]:
    return Image.open(HERE / f"{name}.jpg"), Image.open(HERE / f"{name}_mask.png")


def narrowed(part: Image.Image, width: int) -> Image.Image:
    return ImageOps.contain(part, (width, 10 * width), Image.Resampling.LANCZOS)


def side_by_side(parts: list[Image.Image], gap: int = 0) -> Image.Image:
    """Pictures of one size from left to right, with a border of `gap` pixels around each."""
    width, height = parts[0].size
    whole = Image.new("RGB", (len(parts) * (width + gap) + gap, height + 2 * gap), GROUND)
    for index, part in enumerate(parts):
        whole.paste(part, (gap + index * (width + gap), gap))
    return whole


def save(picture: Image.Image, name: str) -> None:
    picture.save(OUT / f"{name}.jpg", quality=88)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
