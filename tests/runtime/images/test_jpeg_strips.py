"""Strips are the whole picture's own bytes between restart markers, for any number of threads."""

import io

import numpy as np
import pytest
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images import jpeg_strips
from harmonyrt.runtime.images.encode import save, write_picture_file
from harmonyrt.runtime.images.pictures import read_picture_file

OPTIONS = {"quality": 95, "subsampling": "4:4:4"}


def noise(height: int, width: int, grey: bool = False) -> np.ndarray:
    shape = (height, width) if grey else (height, width, 3)
    return np.random.default_rng(height + width).integers(0, 256, shape).astype(np.uint8)


@pytest.fixture(autouse=True)
def small_strips(monkeypatch):
    monkeypatch.setattr(jpeg_strips, "STRIP", 1000)


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("size", [(48, 64), (301, 61), (50, 333), (83, 125), (2, 3000), (3000, 2)], ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_the_file_is_pillows_with_restart_markers(size, grey, threads, monkeypatch):
    monkeypatch.setattr(jpeg_strips, "cores", lambda: threads)
    pixels = noise(*size, grey)
    metadata = {"icc_profile": b"profile", "dpi": (300, 300), "exif": Image.Exif().tobytes()}
    found, whole = io.BytesIO(), io.BytesIO()
    assert jpeg_strips.save(pixels, found, OPTIONS, metadata)
    rows = jpeg_strips.rows_of_blocks(*size)
    Image.fromarray(pixels).save(whole, "JPEG", **OPTIONS, **metadata, restart_marker_rows=rows)
    assert found.getvalue() == whole.getvalue()


def test_a_strip_of_the_real_size_fits_an_interval(monkeypatch):
    monkeypatch.setattr(jpeg_strips, "STRIP", 1 << 20)
    for width in (1, 7, 9, 4000, 65500):
        rows = jpeg_strips.rows_of_blocks(65500, width) or 1
        assert rows * -(-width // jpeg_strips.BLOCK) <= 65535
    assert jpeg_strips.rows_of_blocks(1024, 1024) is None


def test_pixels_are_those_of_a_file_written_at_once_and_metadata_stay(monkeypatch):
    source = io.BytesIO()
    exif = Image.Exif()
    exif[0x010F] = "maker"
    Image.fromarray(noise(90, 70)).save(source, "JPEG", exif=exif.tobytes(), dpi=(72, 72))
    picture = read_picture_file(source.getvalue())
    in_strips, at_once = io.BytesIO(), io.BytesIO()
    save(picture, in_strips, "JPEG", "x.jpg", quality=80)
    monkeypatch.setattr(jpeg_strips, "rows_of_blocks", lambda height, width: None)
    save(picture, at_once, "JPEG", "x.jpg", quality=80)
    assert len(in_strips.getvalue()) > len(at_once.getvalue())
    found, wanted = read_picture_file(in_strips.getvalue()), read_picture_file(at_once.getvalue())
    np.testing.assert_array_equal(found.native, wanted.native)
    assert (found.exif, found.dpi, found.notes) == (wanted.exif, wanted.dpi, wanted.notes)
    assert found.exif


def test_sides_beyond_the_format_are_refused_as_before(tmp_path):
    picture = read_picture_file(_png(np.zeros((65501, 2), np.uint8)))
    with pytest.raises(HarmonyError, match=r"cannot write .*long\.jpg as JPEG"):
        write_picture_file(picture, tmp_path / "long.jpg")
    assert not list(tmp_path.iterdir())


def _png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()
