"""Renew the pictures of README and docs that show the shipped weights. Run in a checkout with Chromium and its driver.

python examples/make_pictures.py engines/phnet-128-fp32
"""

import io
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageOps
from selenium import webdriver
from selenium.webdriver.common.by import By

from harmonyrt.cli import demo_video
from harmonyrt.runtime import Harmonizer
from harmonyrt.video import harmonize_video

HERE = Path(__file__).parent
OUT = HERE.parent / "docs" / "pictures"
ROW = 1440
DESKTOP, PHONE = (1440, 900), (360, 740)
SHRUNK = (1296, 810)
"""The desktop's picture."""
GAP, GROUND = 24, (58, 62, 64)
SECONDS = 60


def main(bundle: str) -> None:
    with Harmonizer.open(bundle) as harmonizer:
        before_and_after(harmonizer)
        controls(harmonizer)
        clip(harmonizer)
    server = subprocess.Popen(["harmonyrt", "serve", bundle, "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        address = next(found[0] for line in server.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        page(address)
    finally:
        server.terminate()
        server.wait()


def before_and_after(harmonizer: Harmonizer) -> None:
    """Composite, mask and harmonized image of each example."""
    for name in ("lemur", "bus"):
        composite, mask = example(name)
        parts = (composite, mask.convert("RGB"), harmonizer.harmonize(composite, mask))
        save(row(parts, ROW // len(parts)), name)


def controls(harmonizer: Harmonizer) -> None:
    """The lemur as it was, then with each control."""
    composite, mask = example("lemur")
    wishes = ({"strength": 0.5}, {}, {"strength": 1.5}, {"keep": "luminance"}, {"keep": "hue"})
    left, top, right, bottom = mask.getbbox()
    box = (left - 30, top - 30, right + 30, bottom)
    parts = [composite, *(harmonizer.harmonize(composite, mask, **wish) for wish in wishes)]
    save(row([part.crop(box) for part in parts], ROW // len(parts)), "controls")


def clip(harmonizer: Harmonizer) -> None:
    """Moments of the clip of `make demo-video`."""
    with tempfile.TemporaryDirectory() as folder:
        shot, mask, out = (Path(folder) / name for name in ("shot.mp4", "mask.mp4", "harmonized.mp4"))
        pictures = list(demo_video.pan())
        demo_video.write_clip(shot, (picture for picture, _ in pictures), "yuv420p")
        demo_video.write_clip(mask, (levels for _, levels in pictures), "gray")
        harmonize_video(shot, mask, out, harmonizer)
        demo_video.contact_sheet(shot, out, OUT / "video.jpg")


def page(address: str) -> None:
    """The page with an answer on a desktop, and three moments of it on a phone."""
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options)
    try:
        look_at(driver, address, DESKTOP, "light")
        press(driver, ".example")
        press(driver, "#go")
        wait_for(lambda: shown(driver, "#download"))
        save(shot(driver).resize(SHRUNK, Image.Resampling.LANCZOS), "page")
        look_at(driver, address, PHONE, "dark")
        press(driver, ".example")
        moments = [shot(driver)]
        look_at(driver, address, PHONE, "dark")
        press(driver, "li:nth-child(2) .example")
        moments.append(shot(driver))
        press(driver, "#go")
        wait_for(lambda: shown(driver, "#download"))
        moments.append(shot(driver))
        save(side_by_side(moments), "page_phone")
    finally:
        driver.quit()


def look_at(driver: webdriver.Chrome, address: str, size: tuple[int, int], scheme: str) -> None:
    width, height = size
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < height}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": width < height})
    media = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    driver.get(address)


def press(driver: webdriver.Chrome, selector: str) -> None:
    wait_for(lambda: shown(driver, selector))
    driver.find_element(By.CSS_SELECTOR, selector).click()


def shown(driver: webdriver.Chrome, selector: str) -> bool:
    return any(found.is_displayed() for found in driver.find_elements(By.CSS_SELECTOR, selector))


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > end:
            sys.exit("the page did not get there")
        time.sleep(0.1)


def shot(driver: webdriver.Chrome) -> Image.Image:
    time.sleep(1)  # thumbnails and the canvas are drawn after the answer
    return Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")


def example(name: str) -> tuple[Image.Image, Image.Image]:
    return Image.open(HERE / f"{name}.jpg"), Image.open(HERE / f"{name}_mask.png")


def row(parts: list[Image.Image] | tuple[Image.Image, ...], width: int) -> Image.Image:
    """Pictures of one size, each `width` wide, from left to right."""
    small = [ImageOps.contain(part, (width, 10 * width), Image.Resampling.LANCZOS) for part in parts]
    whole = Image.new("RGB", (width * len(small), small[0].height))
    for index, part in enumerate(small):
        whole.paste(part, (width * index, 0))
    return whole


def side_by_side(parts: list[Image.Image]) -> Image.Image:
    """Screens of one size with a border around each."""
    width, height = parts[0].size
    whole = Image.new("RGB", (len(parts) * (width + GAP) + GAP, height + 2 * GAP), GROUND)
    for index, part in enumerate(parts):
        whole.paste(part, (GAP + index * (width + GAP), GAP))
    return whole


def save(picture: Image.Image, name: str) -> None:
    picture.save(OUT / f"{name}.jpg", quality=88)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
