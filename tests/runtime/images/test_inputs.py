"""The two files of a pair are read side by side, and nothing else about them changes."""

import io
import threading

import numpy as np
import pytest
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images import inputs
from harmonyrt.runtime.images.inputs import Placing, Reading, read_composed, read_pair

PIXELS = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
MASK = np.zeros((6, 8), np.uint8)
MASK[2:4, 3:6] = 255


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def readers(monkeypatch):
    """The threads that files are read in, by the names of the files; on two cores."""
    seen: dict[str, threading.Thread] = {}

    def spied(read):
        def reading(source, *, name=None, **more):
            seen[name] = threading.current_thread()
            return read(source, name=name, **more)

        return reading

    for name in ("read_picture_file", "read_mask_file"):
        monkeypatch.setattr(inputs, name, spied(getattr(inputs, name)))
    monkeypatch.setattr(inputs, "cores", lambda: 2)
    return seen


def test_a_pair_is_read_in_two_threads(readers):
    found = read_pair(png(PIXELS), png(MASK), Reading(), "c.png", "m.png")
    np.testing.assert_array_equal(found.picture.rgb, PIXELS)
    np.testing.assert_array_equal(found.mask, MASK)
    assert readers["c.png"] is threading.current_thread()
    assert readers["m.png"] is not threading.current_thread()
    assert not readers["m.png"].is_alive()


def test_a_composition_is_read_in_two_threads(readers):
    cutout = np.dstack([PIXELS, MASK])
    found = read_composed(png(cutout), png(PIXELS), Placing(), Reading(), "cut.png", "back.png")
    np.testing.assert_array_equal(found.mask, MASK)
    assert readers["cut.png"] is not readers["back.png"]


def test_one_core_reads_one_file_after_the_other(readers, monkeypatch):
    monkeypatch.setattr(inputs, "cores", lambda: 1)
    read_pair(png(PIXELS), png(MASK), Reading(), "c.png", "m.png")
    assert readers["c.png"] is readers["m.png"]


def test_one_open_file_is_not_read_by_two_threads(readers, tmp_path):
    path = tmp_path / "both.png"
    path.write_bytes(png(MASK))
    read_pair(path, str(path), Reading(), "c.png", "m.png")
    assert readers["c.png"] is readers["m.png"]
    file = io.BytesIO(png(MASK))
    with pytest.raises(HarmonyError, match=r"m\.png is empty"):  # the first reading leaves nothing
        read_pair(file, file, Reading(), "c.png", "m.png")
    assert readers["c.png"] is readers["m.png"]


@pytest.mark.parametrize(
    ("composite", "mask", "named"), [(b"", b"", "c.png"), (b"", png(MASK), "c.png"), (png(PIXELS), b"", "m.png")]
)
def test_the_first_files_error_counts(readers, composite, mask, named):
    with pytest.raises(HarmonyError, match=f"^{named} is empty"):
        read_pair(composite, mask, Reading(), "c.png", "m.png")
    assert not any(thread.name.startswith("harmonyrt-read") for thread in threading.enumerate())
