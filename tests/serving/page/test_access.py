"""For everybody: by keyboard alone, with a screen reader, on a phone, in the dark. And the policy holds."""

from __future__ import annotations

from importlib.resources import files as package
from pathlib import Path

import httpx
import pytest
from selenium.webdriver.common.keys import Keys

from fakes.browser import DESKTOP, PHONE, TABLET, Browser

AXE = package("axe_core_python").joinpath("axe.min.js")
LOOKS = [(size, scheme) for size in (PHONE, TABLET, DESKTOP) for scheme in ("light", "dark")]


def test_everything_by_keyboard(page, heard):
    page.tab_to(".example")
    page.press(Keys.ENTER)
    page.the("#place-card")
    page.run("document.body.focus(); document.activeElement.blur()")
    page.tab_to("[data-tool=place]")
    page.tab_to("#stage")
    left, size = page.number("#left"), page.number("#size")
    page.press(Keys.ARROW_LEFT * 5, Keys.SHIFT + Keys.ARROW_LEFT + Keys.NULL, "+", "+", "f")
    page.until(lambda: page.number("#size") > size, "+ does not size it")
    assert page.number("#left") < left - 20
    page.until(lambda: page.text("#stage-status").startswith(f"Left {page.number('#left')}, top "), "it is not said")
    assert page.the("#flip").get_attribute("aria-pressed") == "true"
    page.tab_to("#strength")
    page.press(Keys.ARROW_LEFT)
    page.tab_to("#go")
    page.press(Keys.ENTER)
    page.until(lambda: page.shown("#download"), "there was no answer")
    assert heard.wishes[-1].strength == pytest.approx(0.95)
    assert page.text("#status") == "Done. The picture is harmonized."
    page.tab_to("#download")
    page.press(Keys.ENTER)
    assert page.downloaded().read_bytes() == heard.answers[-1]
    page.run("document.getElementById('strength').focus()")
    page.tab_to("#go")
    page.run("document.getElementById('start-over').focus()")
    page.press(Keys.ENTER)
    page.until(lambda: page.shown("#welcome"), "it does not start over")
    assert page.run("return document.activeElement.id") == "choose"


def test_the_divider_is_a_slider(page):
    page.click(".example")
    page.until(lambda: page.run("return document.activeElement.id") == "stage", "the focus is lost")
    page.harmonize()
    page.tab_to("#divider")
    before = page.number("#divider", "aria-valuenow")
    page.press(Keys.ARROW_RIGHT)
    assert page.number("#divider", "aria-valuenow") == before + 1


@pytest.mark.parametrize(
    ("size", "scheme"), LOOKS, ids=lambda value: value if isinstance(value, str) else f"{value[0]}px"
)
def test_axe_finds_nothing_serious(chromium, server, size, scheme, tmp_path):
    chromium.open(server.url, size, scheme)
    looked_at(chromium, tmp_path / "1_welcome.png", size)
    chromium.click(".example")
    chromium.the("#place-card")
    looked_at(chromium, tmp_path / "2_place.png", size)
    chromium.click("[data-tool=brush]")
    chromium.the("#mask-card")
    looked_at(chromium, tmp_path / "3_mask.png", size)
    chromium.harmonize()
    looked_at(chromium, tmp_path / "4_compare.png", size)
    chromium.give("#file-cutout", Path(__file__))
    chromium.the("#error")
    looked_at(chromium, tmp_path / "5_error.png", size)


def looked_at(page: Browser, picture: Path, size: tuple[int, int]) -> None:
    """Nothing serious by axe, nothing wider than the window, everything large enough for a finger."""
    page.run("scrollTo(0, 0)")
    page.photograph(picture)
    if size != TABLET:
        listen_to_axe(page, picture)
    assert page.run("return document.documentElement.scrollWidth") <= size[0]
    assert not page.run(SMALL), picture.name


def listen_to_axe(page: Browser, picture: Path) -> None:
    if not page.run("return 'axe' in window"):
        page.run(AXE.read_text(encoding="utf-8"))
    found = page.driver.execute_async_script("axe.run(document, {resultTypes: ['violations']}).then(arguments[0]);")
    serious = [
        f"{v['id']}: {v['nodes'][0]['html']}" for v in found["violations"] if v["impact"] in ("serious", "critical")
    ]
    assert not serious, picture.name


SMALL = """
    const touched = document.querySelectorAll('button, a, select, input:not(.file), .slot, label.button, #divider');
    return [...touched].filter((element) => element.checkVisibility({opacityProperty: true, visibilityProperty: true})
        && !element.closest('.skip, footer')).map((element) => element.closest('label') ?? element)
        .filter((element) => {
          const {width, height} = element.getBoundingClientRect();
          return width < 44 || height < 44;
        }).map((element) => element.outerHTML.slice(0, 120));
"""
"""What is touched and smaller than 44 px; a field counts with its label."""


def test_the_policy_lets_nothing_else_in(chromium, server):
    chromium.open(server.url)
    policy = httpx.get(server.url).headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    chromium.run("""
        const script = document.createElement('script');
        script.textContent = 'window.broken = true';
        document.body.append(script);
        const inline = 'style="color: rgb(1, 2, 3)" onclick="window.broken = true"';
        document.body.insertAdjacentHTML('beforeend', `<p id="styled" ${inline}>`);
        document.getElementById('styled').click();
    """)
    assert chromium.run("return window.broken") is None
    assert chromium.run("return getComputedStyle(document.getElementById('styled')).color") != "rgb(1, 2, 3)"
    blocked = "const done = arguments[0]; fetch('http://127.0.0.2:9/').then(() => done('sent'), () => done('blocked'));"
    assert chromium.driver.execute_async_script(blocked) == "blocked"
    complaints = " ".join(chromium.complaints())
    assert complaints.count("Content Security Policy") >= 3
