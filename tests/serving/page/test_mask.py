"""A composite and its mask: sent as they came, mended by brush, turned and stretched when asked."""

from __future__ import annotations

import numpy as np
from PIL import Image
from selenium.webdriver.common.keys import Keys

from fakes.browser import flat
from fakes.served import decoded

GREEN = (40, 150, 60)


def test_files_that_nobody_changed_are_sent_as_they_came(page, files, heard):
    page.give("#choose", files["composite.jpg"], files["mask.png"])
    page.harmonize()
    wish = heard.wishes[-1]
    assert bytes(wish.pictures["composite"]) == files["composite.jpg"].read_bytes()
    assert bytes(wish.pictures["mask"]) == files["mask.png"].read_bytes()
    assert wish.format is None
    page.click("#download")
    assert page.downloaded().name == "composite-harmonized.jpg"
    assert page.downloaded().read_bytes() == heard.answers[-1]


def test_the_brush_mends_the_mask_at_full_size(page, heard, tmp_path):
    """A picture that is larger than its copy on the screen."""
    Image.fromarray(flat(GREEN, 3000, 2000)).save(tmp_path / "large.png")
    mask = np.zeros((2000, 3000), np.uint8)
    mask[500:1500, 1000:1400] = 255
    Image.fromarray(mask).save(tmp_path / "large_mask.png")
    page.give("#choose", tmp_path / "large.png", tmp_path / "large_mask.png")
    page.the("#mask-card")
    width = page.run("return document.getElementById('stage').clientWidth")
    unit = 3000 / width  # the picture is as wide as the stage
    assert page.ask("return (await import(new URL('js/state.js', location))).base().preview.width") == 2048
    page.drag("#stage", (200, 0), (100, 0))
    page.drag("#stage", (-300, 100), (0, 50))
    page.click("#undo")
    page.click("input[name=brush][value=erase]")
    page.drag("#stage", (-150, 0), (10, 0))
    page.harmonize()
    sent = heard.mask
    assert sent.shape == (2000, 3000)
    assert heard.composite.shape == (2000, 3000, 3)

    def level(right: float, down: float) -> int:
        return sent[round(1000 + down * unit), round(1500 + right * unit)]

    assert level(250, 0) == 255  # painted
    assert level(250, 20) == 0
    assert level(-300, 125) == 0  # painted and undone
    assert level(-145, 0) == 0  # erased
    assert level(-145, 20) == 255


def test_the_brush_by_keyboard(page, files, heard):
    page.give("#choose", files["composite.png"], files["mask.png"])
    page.the("#mask-card")
    page.tab_to("#stage")
    page.press("]", "]", " ", Keys.ARROW_RIGHT * 3)
    page.until(lambda: page.text("#brush-now") == "32 px", page.text("#brush-now"))
    page.press("x")
    page.press(" ")
    page.harmonize()
    middle = heard.mask[100]
    assert middle[160] == 255
    unit = 320 / page.run("return document.getElementById('stage').clientWidth")
    assert middle[160 + round(48 * unit)] == 0  # three steps of half a brush to the right, erased
    assert middle[160 + round(70 * unit)] == 255


def test_what_the_server_refuses_is_its_sentence(page, files, heard):
    Image.open(files["mask.png"]).transpose(Image.Transpose.ROTATE_90).save(files["mask.png"])
    page.give("#choose", files["composite.png"], files["mask.png"])
    page.until(lambda: "on its side" in page.text("#mask-hint"), "no hint")
    page.click("#go")
    error = page.the("#error").text
    assert error.startswith("The mask")
    assert "200x320" in error
    assert error.endswith(".")
    assert heard.answers == []


def test_a_mask_can_be_painted_from_nothing(page, files, heard):
    page.click("input[name=way][value=mask]")
    page.give("#file-composite", files["composite.png"])
    page.click("#go")
    assert "paint" in page.the("#error").text
    page.drag("#stage", (-50, 0), (100, 0))
    page.harmonize()
    assert heard.mask.max() == 255
    assert heard.mask[100, 160] == 255


def test_a_composite_may_bring_its_mask_as_alpha(page, files, heard):
    composite, mask = (decoded(files[name].read_bytes()) for name in ("composite.png", "mask.png"))
    Image.fromarray(np.dstack([composite, mask])).save(files["composite.png"])
    page.click("input[name=way][value=mask]")
    page.give("#file-composite", files["composite.png"])
    page.harmonize()
    assert set(heard.wishes[-1].pictures) == {"composite"}
    assert page.text("#error") == ""


def test_an_inverted_mask_is_noticed_and_turned(page, files, heard):
    Image.fromarray(255 - decoded(files["mask.png"].read_bytes())).save(files["mask.png"])
    page.give("#choose", files["composite.png"], files["mask.png"])
    page.until(lambda: "inverted" in page.text("#mask-hint"), "no hint")
    page.click("#invert")
    page.until(lambda: not page.shown("#mask-hint"), "the hint stays")
    page.harmonize()
    assert heard.wishes[-1].invert_mask
    assert not page.shown("#notes")


def test_a_mask_of_another_size_is_stretched_when_asked(page, files, heard):
    Image.open(files["mask.png"]).resize((160, 100)).save(files["mask.png"])
    page.give("#choose", files["composite.png"], files["mask.png"])
    assert "160 × 100" in page.the("#mask-hint").text
    page.click("#go")
    assert "same size" in page.the("#error").text
    page.click("#fit")
    page.harmonize()
    assert heard.wishes[-1].fit_mask
    assert not page.shown("#error")
