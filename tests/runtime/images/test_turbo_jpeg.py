"""simplejpeg and Pillow give the same bits and the same refusals, whatever the file; without it all is as before."""

import io

import numpy as np
import pytest
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images import turbo_jpeg
from harmonyrt.runtime.images.pictures import read_picture_file

KINDS = {
    **{f"subsampling {number}": {"subsampling": number} for number in (0, 1, 2)},
    "progressive": {"progressive": True},
    "progressive full": {"progressive": True, "subsampling": 0},
    "optimized": {"optimize": True, "quality": 30},
    "restarts": {"restart_marker_blocks": 3},
    "coarse": {"quality": 1},
    "stored as RGB": {"keep_rgb": True},
}
SIZES = ((48, 64), (47, 61), (1, 1), (3, 200), (17, 16))


@pytest.fixture(autouse=True)
def there():
    pytest.importorskip("simplejpeg", reason="the extra jpeg is not installed")
    if turbo_jpeg._library() is None:
        pytest.skip("this Pillow decodes with another libjpeg")


def file_of(height: int, width: int, grey: bool = False, **options) -> bytes:
    rng = np.random.default_rng(height * 1000 + width)
    shape = (height, width) if grey else (height, width, 3)
    smooth = np.linspace(0, 200, height * width).reshape(height, width)
    pixels = (smooth if grey else smooth[..., None]) + rng.integers(0, 56, shape)
    content = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(content, "JPEG", **options)
    return content.getvalue()


def by_turbo(content: bytes) -> np.ndarray | None:
    file = io.BytesIO(content)
    with Image.open(file) as image:
        return turbo_jpeg.decoded(image, file)


def by_pillow(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_colours_are_pillows_bits(kind, size):
    content = file_of(*size, **KINDS[kind])
    found = by_turbo(content)
    assert found is not None
    np.testing.assert_array_equal(found, by_pillow(content))


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_grey_is_pillows_bits(options, size):
    content = file_of(*size, grey=True, **options)
    np.testing.assert_array_equal(by_turbo(content)[..., 0], by_pillow(content))


def test_print_colours_and_other_formats_are_left_to_pillow():
    for mode, kind in (("CMYK", "JPEG"), ("RGB", "PNG"), ("L", "PNG")):
        content = io.BytesIO()
        Image.new(mode, (16, 16)).save(content, kind)
        assert by_turbo(content.getvalue()) is None


def answer(content: bytes) -> tuple[str, bytes, tuple[str, ...]]:
    """What reading a file comes to: pixels and notes, or the sentence that refuses it."""
    try:
        picture = read_picture_file(content, name="x.jpg")
    except HarmonyError as error:
        return str(error), b"", ()
    return "", picture.native.tobytes(), picture.notes


def test_damaged_files_get_the_same_answer_as_without_it(monkeypatch):
    rng = np.random.default_rng(5)
    broken = []
    for options in ({}, {"progressive": True}, {"restart_marker_blocks": 2}):
        whole = file_of(40, 56, **options)
        broken += [whole[:-2], whole[: len(whole) // 2], whole + b"\0" * 9, whole + whole, whole[:-2] + b"\xff"]
        for place in rng.integers(20, len(whole), 40):
            changed = bytearray(whole)
            changed[place] = rng.integers(0, 256)
            broken.append(bytes(changed))
    with_turbo = list(map(answer, broken))
    monkeypatch.setattr(turbo_jpeg, "_library", lambda: None)
    assert with_turbo == list(map(answer, broken))
    assert any(sentence for sentence, _, _ in with_turbo)
    assert any(not sentence for sentence, _, _ in with_turbo)


def test_rotation_profile_and_exif_stay(monkeypatch):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    content = file_of(30, 50, exif=exif.tobytes(), dpi=(300, 300))
    fast = read_picture_file(content)
    monkeypatch.setattr(turbo_jpeg, "_library", lambda: None)
    slow = read_picture_file(content)
    np.testing.assert_array_equal(fast.native, slow.native)
    assert (fast.exif, fast.dpi, fast.orientation, fast.file_format, fast.mode) == (
        slow.exif,
        slow.dpi,
        slow.orientation,
        slow.file_format,
        slow.mode,
    )
    assert fast.native.shape == (50, 30, 3)
