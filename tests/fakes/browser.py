"""A real headless Chromium, with what tests of the page ask of it."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

SECONDS = 60.0
"""Before a test gives up waiting: enough for a busy machine."""
PHONE, TABLET, DESKTOP = (360, 740), (768, 1024), (1440, 900)


class Browser:
    """Chromium, for one page at a time.

    Args:
        downloads: folder that its downloads go to.
    """

    def __init__(self, downloads: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = _program("chromium", "chromium-browser", "google-chrome")
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.downloads = downloads
        self.driver = webdriver.Chrome(options=options, service=Service(_program("chromedriver")))
        self.driver.set_script_timeout(SECONDS)
        self._tell("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    def _tell(self, command: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, parameters)

    # ---- the page

    def open(self, url: str, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> None:
        """Open a page afresh, at a window's size in CSS pixels and in a colour scheme."""
        self.driver.get("about:blank")
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        for left in self.downloads.iterdir():
            left.unlink()
        width, height = size
        self._tell(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self._tell("Emulation.setEmulatedMedia", features=features)
        self.driver.get(url)
        self.until(lambda: self.find(".example"), "the page did not start")

    @contextlib.contextmanager
    def prepared(self, script: str) -> Iterator[None]:
        """Run a script before those of every page that is opened meanwhile."""
        added = self._tell("Page.addScriptToEvaluateOnNewDocument", source=script)
        yield
        self._tell("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])

    def find(self, selector: str) -> WebElement | None:
        found = self.driver.find_elements(By.CSS_SELECTOR, selector)
        return found[0] if found else None

    def the(self, selector: str) -> WebElement:
        """An element that is shown; waits for it."""
        self.until(lambda: (found := self.find(selector)) and found.is_displayed(), f"{selector} is not shown")
        found = self.find(selector)
        assert found
        return found

    def shown(self, selector: str) -> bool:
        found = self.find(selector)
        return bool(found and found.is_displayed())

    def until(self, condition: Callable[[], Any], what: str) -> None:
        end = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < end, f"{what}; the page says: {self.text('#error')}"
            time.sleep(0.03)

    def text(self, selector: str) -> str:
        found = self.find(selector)
        return found.get_attribute("textContent") or "" if found else ""

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def give(self, selector: str, *files: Path) -> None:
        """Choose files in a file input."""
        self.driver.find_element(By.CSS_SELECTOR, selector).send_keys("\n".join(map(str, files)))

    def click(self, selector: str) -> None:
        element = self.the(selector)
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def drag(self, selector: str, start: tuple[float, float], *moves: tuple[float, float]) -> None:
        """Press at a place of an element, given in its CSS pixels from its middle, move, and let go."""
        actions = ActionChains(self.driver, duration=20)
        actions.move_to_element_with_offset(self.the(selector), *map(round, start)).click_and_hold()
        for move in moves:
            actions.move_by_offset(*map(round, move))
        actions.release().perform()

    def pinch(self, selector: str, middle: tuple[float, float], start: float, end: float) -> None:
        """Two fingers, level, whose distance changes; places as those of `drag`."""
        box = self.run(
            "const b = arguments[0].getBoundingClientRect(); return [b.x, b.y, b.width, b.height]", self.the(selector)
        )
        x, y = box[0] + box[2] / 2 + middle[0], box[1] + box[3] / 2 + middle[1]
        for step in range(7):
            apart = start + (end - start) * max(0, step - 1) / 5
            points = [{"x": x - apart / 2, "y": y, "id": 1}, {"x": x + apart / 2, "y": y, "id": 2}]
            kind = "touchStart" if step == 0 else "touchMove"
            self._tell("Input.dispatchTouchEvent", type=kind, touchPoints=points)
        self._tell("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def hand_over(self, kind: str, *files: Path) -> None:
        """Drop files on the page, or paste them."""
        given = [[file.name, base64.b64encode(file.read_bytes()).decode()] for file in files]
        self.run(
            """
            const [kind, given] = arguments;
            const data = new DataTransfer();
            for (const [name, text] of given) {
              const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
              data.items.add(new File([bytes], name, {type: 'image/png'}));
            }
            const options = {bubbles: true, cancelable: true};
            const event = kind === 'drop' ? new DragEvent(kind, {...options, dataTransfer: data})
                                          : new ClipboardEvent(kind, {...options, clipboardData: data});
            document.body.dispatchEvent(event);
        """,
            kind,
            given,
        )

    def press(self, *keys: str) -> None:
        """Press keys where the focus is."""
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def set(self, selector: str, value: object) -> None:
        """Give a field or a slider a value, as a user would leave it."""
        script = """
            const [field, value] = arguments;
            field.value = value;
            for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, {bubbles: true}));
        """
        self.run(script, self.the(selector), value)

    def number(self, selector: str, attribute: str = "value") -> int:
        """The value of a field or a slider."""
        return int(self.the(selector).get_attribute(attribute) or "")

    def harmonize(self) -> None:
        """Press the button and wait for the answer."""
        self.click("#go")
        self.until(lambda: self.shown("#download"), "there was no answer")

    def corners(self) -> list[float]:
        """Left, top, right and bottom of the cut-out's frame on the stage, in CSS pixels from the stage's middle."""
        return self.ask("""
            const {view, toCanvas} = await import(new URL('js/view.js', location));
            const {x, y, width, height} = (await import(new URL('js/placement.js', location))).box();
            const [left, top] = toCanvas(x, y);
            const [right, bottom] = toCanvas(x + width, y + height);
            const [across, down] = [view.width / 2, view.height / 2];
            return [left - across, top - down, right - across, bottom - down].map((n) => n / view.ratio);
        """)

    def ask(self, script: str, *arguments: Any) -> Any:
        """What a script with `await` returns."""
        call = f"(async () => {{ {script} }})().then(done, (error) => done(`failed: ${{error}}`));"
        whole = f"const [...given] = arguments, done = given.pop(); {call}"
        found = self.driver.execute_async_script(whole, *arguments)
        assert not str(found).startswith("failed: "), found
        return found

    def tab_to(self, selector: str) -> None:
        """Walk there with the Tab key."""
        for _ in range(80):
            self.press(Keys.TAB)
            if self.run("return document.activeElement.matches(arguments[0])", selector):
                return
        raise AssertionError(f"the Tab key does not reach {selector}")

    def pixel(self, x: float, y: float) -> list[int]:
        """RGB of the stage at shares of the picture's width and height."""
        script = """
            const {view} = await import(new URL('js/view.js', location));
            const {base} = await import(new URL('js/state.js', location));
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            const [x, y] = given;
            const at = [view.x + x * base().width * view.scale, view.y + y * base().height * view.scale];
            const context = document.getElementById('canvas').getContext('2d');
            return [...context.getImageData(Math.round(at[0]), Math.round(at[1]), 1, 1).data].slice(0, 3);
        """
        return self.ask(script, x, y)

    def photograph(self, path: Path) -> None:
        """Save what the window shows, as PNG."""
        path.write_bytes(self.driver.get_screenshot_as_png())

    # ---- what it did

    def downloaded(self) -> Path:
        """The file that was downloaded; waits for it."""

        def finished() -> list[Path]:
            """Chromium writes a .crdownload, with an empty file of the final name next to it for a moment."""
            found = list(self.downloads.iterdir())
            whole = all(path.suffix != ".crdownload" and path.stat().st_size for path in found)
            return found if whole else []

        self.until(finished, "nothing was downloaded")
        (path,) = finished()
        return path

    def complaints(self) -> list[str]:
        """Errors and warnings of the console since the page was opened; not that tests read pixels."""
        entries = [entry for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
        return [entry["message"] for entry in entries if "willReadFrequently" not in entry["message"]]

    def requested(self) -> list[str]:
        """Addresses that were asked for since the page was opened."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def close(self) -> None:
        self.driver.quit()


def _program(*names: str) -> str:
    found = next(filter(None, map(shutil.which, names)), None)
    return found or pytest.skip(f"{names[0]} is not installed: sudo sh tests/serving/install_deps.sh")


@contextlib.contextmanager
def browser(downloads: Path) -> Iterator[Browser]:
    """Chromium, closed in the end."""
    started = Browser(downloads)
    try:
        yield started
    finally:
        started.close()


def flat(colour: tuple[int, ...], width: int, height: int) -> np.ndarray:
    """A picture of one colour."""
    return np.broadcast_to(np.array(colour, np.uint8), (height, width, len(colour))).copy()
