"""A cut-out on a photo: placed by mouse and by numbers, composed at full size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from fakes.browser import flat
from fakes.served import decoded

GREEN, ORANGE = (40, 150, 60), (230, 120, 30)


def test_a_cut_out_is_placed_at_full_size_and_the_download_is_the_answer(page, files, heard):
    page.give("#choose", files["photo.png"], files["cutout.png"])
    page.set("#size", 100 * 60 / 200)  # the cut-out's own
    page.set("#left", 50)
    page.set("#top", 30)
    page.harmonize()
    photo, cutout = decoded(files["photo.png"].read_bytes()), decoded(files["cutout.png"].read_bytes())
    composite, mask = heard.composite, heard.mask
    there = np.zeros((200, 320), bool)
    there[30:90, 50:130] = cutout[..., 3] > 0
    assert composite.shape == photo.shape
    assert np.array_equal(mask > 127, there)
    assert np.array_equal(composite[~there], photo[~there])
    assert (composite[there] == ORANGE).all()
    page.click("#download")
    path = page.downloaded()
    assert path.name == "photo-harmonized.png"
    assert path.read_bytes() == heard.answers[-1]
    assert np.allclose(decoded(path.read_bytes())[there], np.array(ORANGE) * 0.9, atol=2)


def test_the_mouse_places_and_sizes_and_flip_mirrors(page, files, heard):
    two_sided = flat((*ORANGE, 255), 80, 60)
    two_sided[:, :40, :3] = (20, 20, 220)
    two_sided[0, 0, 3] = 0
    Image.fromarray(two_sided).save(files["cutout.png"])
    page.give("#choose", files["photo.png"], files["cutout.png"])
    left, top, size = (page.number(f"#{name}") for name in ("left", "top", "size"))
    page.drag("#stage", (0, 60), (-60, -30), (-30, -20))
    assert page.number("#left") < left
    assert page.number("#top") < top
    assert page.number("#size") == size
    left, top, right, bottom = page.corners()
    page.drag("#stage", (right, bottom), ((left - right) / 3, (top - bottom) / 3))
    assert page.number("#size") < size
    page.click("#flip")
    page.harmonize()
    rows, columns = np.nonzero(heard.mask > 127)
    composite = heard.composite
    middle = (rows.min() + rows.max()) // 2
    assert composite[middle, columns.min() + 3, 0] > 200  # what was right is left now
    assert composite[middle, columns.max() - 3, 2] > 200


def test_a_turned_photo_is_upright(page, files, heard, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    Image.fromarray(flat(GREEN, 320, 200)).save(tmp_path / "turned.jpg", exif=exif)
    page.give("#choose", tmp_path / "turned.jpg", files["cutout.png"])
    page.harmonize()
    assert heard.composite.shape == (320, 200, 3)
    assert heard.wishes[-1].format == ".jpg"  # as the photo came


def test_erasing_cuts_the_cut_out_itself_and_follows_it(page, files, heard):
    page.give("#choose", files["photo.png"], files["cutout.png"])
    page.click("[data-tool=brush]")
    page.click("input[name=brush][value=erase]")
    left, top, right, _ = page.corners()
    page.drag("#stage", (left + 5, top + 12), (right - left - 10, 0))  # along the upper edge
    page.click("[data-tool=place]")
    page.set("#left", 10)
    page.harmonize()
    erased = 200 - 120 + 3  # a row: the cut-out was placed 120 high, at the lower edge
    assert (heard.mask[erased, 20:150] == 0).all()
    assert (heard.composite[erased, 20:150, 0] < 100).all()  # the photo shows
    assert heard.mask[195, 20] == 255


def test_two_fingers_size_the_cut_out(page, files):
    page.give("#choose", files["photo.png"], files["cutout.png"])
    size = page.number("#size")
    left, top, right, bottom = page.corners()
    middle = ((left + right) / 2, (top + bottom) / 2)
    page.pinch("#stage", middle, 40, 80)
    assert page.number("#size") == pytest.approx(2 * size, abs=4)
    page.click("[data-tool=brush]")
    page.until(lambda: page.shown("#mask-card"), "no brush")
    zoom = page.text("#zoom-now")
    page.pinch("#stage", (0, 0), 40, 120)
    page.until(lambda: page.text("#zoom-now") != zoom, "it does not zoom")
    assert not page.the("#undo").is_enabled()  # two fingers paint nothing


def test_files_may_be_dropped_and_pasted(page, files):
    page.hand_over("drop", files["photo.png"])
    page.until(lambda: page.shown("#stage"), "the photo is not there")
    assert "cut-out" in page.text("#stage-help")
    page.hand_over("paste", files["cutout.png"])
    page.the("#place-card")
    page.hand_over("drop", files["mask.png"], files["composite.png"])
    page.the("#mask-card")
    assert page.run("return document.querySelector('input[name=way]:checked').value") == "mask"


WITHOUT_WORKERS = "delete window.OffscreenCanvas;"
WITHOUT_CANVAS_FILES = (
    "HTMLCanvasElement.prototype.toBlob = () => { throw new Error('the page writes pictures itself'); };"
)


def test_a_worker_makes_what_is_sent_and_the_page_where_there_is_none(page, server, files, heard):
    sent = []
    for script in (WITHOUT_CANVAS_FILES, WITHOUT_WORKERS):
        with page.prepared(script):
            page.open(server.url)
            page.give("#choose", files["photo.png"], files["cutout.png"])
            page.click("[data-tool=brush]")
            page.click("input[name=brush][value=erase]")
            left, top, right, _ = page.corners()
            page.drag("#stage", (left + 5, top + 12), (right - left - 10, 0))
            page.harmonize()
            page.click("input[name=way][value=mask]")
            page.give("#choose", files["mask.png"], files["composite.png"])
            page.drag("#stage", (-20, -20), (40, 30))
            page.harmonize()
            composites = [decoded(bytes(wish.pictures["composite"])) for wish in heard.wishes[-2:]]
            masks = [decoded(bytes(wish.pictures["mask"])) for wish in heard.wishes[-2:]]
            sent.append([*composites, *(mask if mask.ndim == 2 else mask[..., 0] for mask in masks)])
    for ours, theirs in zip(*sent, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert 0 < (sent[0][3] > 0).sum() < 80 * 120  # the stroke, which still erases, was on the mask
