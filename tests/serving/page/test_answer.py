"""The answer: before and after, strength and format, zoom, notes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.keys import Keys

from fakes.browser import Browser
from fakes.served import decoded


def test_the_divider_shows_before_and_after(page, files, heard):
    page.give("#choose", files["composite.png"], files["mask.png"])
    page.harmonize()
    divider = page.the("#divider")
    assert divider.get_attribute("role") == "slider"
    divider.send_keys(Keys.HOME)
    assert divider.get_attribute("aria-valuenow") == "0"
    assert page.pixel(0.5, 0.5)[1] == pytest.approx(135, abs=2)
    divider.send_keys(Keys.END)
    assert page.pixel(0.5, 0.5)[1] == pytest.approx(150, abs=2)
    divider.send_keys(Keys.ARROW_LEFT * 2, Keys.PAGE_DOWN)
    assert divider.get_attribute("aria-valuenow") == "88"
    width = page.run("return document.getElementById('stage').clientWidth")
    page.drag("#divider", (0, 0), (-0.88 * width + 0.25 * width, 0))
    assert int(divider.get_attribute("aria-valuenow")) == pytest.approx(25, abs=2)
    assert page.pixel(0.4, 0.5)[1] == pytest.approx(135, abs=2)


def test_strength_and_format_ask_again(page, files, heard):
    page.give("#choose", files["composite.png"], files["mask.png"])
    page.harmonize()
    page.the("#strength").send_keys(Keys.ARROW_RIGHT * 2)
    page.until(lambda: len(heard.answers) == 2 and page.shown("#download"), "it was not asked again")
    assert heard.wishes[-1].strength == pytest.approx(1.1)
    page.set("#format", "webp")
    page.until(lambda: len(heard.answers) == 3 and page.shown("#download"), "it was not asked again")
    page.click("#download")
    assert page.downloaded().name == "composite-harmonized.webp"
    assert page.downloaded().read_bytes() == heard.answers[-1]


def test_zoom_to_100_percent_and_pan(page, files):
    page.give("#choose", files["composite.png"], files["mask.png"])
    page.the("#mask-card")
    page.click("#zoom-full")
    page.until(lambda: page.text("#zoom-now") == "Now 100 %", "it is not 100 %")
    assert page.pixel(0, 0) == [40, 150, 0]
    left = page.run("return document.getElementById('stage').clientWidth") / 2 - 160
    page.until(lambda: stage_at(page, left - 2) == [0, 0, 0, 0], "the picture is not 320 pixels wide")
    for _ in range(8):
        page.click("#zoom-in")
    page.until(lambda: page.text("#zoom-now") == "Now 1600 %", page.text("#zoom-now"))
    page.the("#stage").send_keys(Keys.ARROW_RIGHT * 3)
    page.click("#zoom-fit")
    page.until(lambda: page.text("#zoom-now") not in ("Now 100 %", "Now 1600 %"), "it does not fit again")


def stage_at(page: Browser, x: float) -> list[int]:
    """RGBA in the middle row of the stage."""
    script = """
        const canvas = document.getElementById('canvas');
        return [...canvas.getContext('2d').getImageData(arguments[0], canvas.height / 2, 1, 1).data];
    """
    return page.run(script, round(x))


def test_notes_of_the_runtime_are_shown(page, files):
    Image.fromarray((decoded(files["mask.png"].read_bytes()) > 0).astype(np.uint8)).save(files["mask.png"])
    page.click("input[name=way][value=mask]")
    page.give("#file-composite", files["composite.png"])
    page.give("#file-mask", files["mask.png"])
    page.harmonize()
    assert page.the("#notes").text.endswith(".")


def test_what_stays_is_chosen_and_the_layer_alone_is_had(page, files, heard):
    page.give("#choose", files["composite.png"], files["mask.png"])
    page.set("#keep", "hue")
    page.set("#format", "layer")
    page.harmonize()
    assert heard.wishes[-1].keep == "hue"
    page.click("#download")
    assert page.downloaded().name == "composite-layer.png"
    layer = decoded(page.downloaded().read_bytes())
    assert layer.shape[2] == 4
    assert np.array_equal(layer[..., 3], decoded(files["mask.png"].read_bytes()))
    page.the("#divider").send_keys(Keys.HOME)
    assert page.pixel(0.9, 0.9)[:2] == [40, 150]  # the composite shows around the layer
    assert page.pixel(0.5, 0.5)[1] < 140
