"""Files that are whole though Pillow says otherwise."""

import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images.pictures import read_picture_file

SMOOTH = np.add.outer(np.arange(80), np.arange(90))[..., None] + np.array([0, 30, 60])
COLOURS = np.clip(SMOOTH + np.random.default_rng(4).integers(-9, 10, SMOOTH.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("megabytes", [2, 20])
@pytest.mark.parametrize("compressed", [True, False])
def test_long_texts_are_no_damage(megabytes, compressed):
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "x" * (megabytes << 20), zip=compressed)
    stream = io.BytesIO()
    Image.fromarray(COLOURS).save(stream, "PNG", pnginfo=info)
    before = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    assert (read_picture_file(stream.getvalue()).rgb == COLOURS).all()
    assert before == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)


def test_a_bomb_of_text_is_refused_as_what_it_is():
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "x" * (70 << 20), zip=True)
    stream = io.BytesIO()
    Image.fromarray(COLOURS).save(stream, "PNG", pnginfo=info)
    with pytest.raises(HarmonyError, match="more than 64 MB of text"):
        read_picture_file(stream.getvalue())


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:4:4", "restart_marker_rows": 1}])
@pytest.mark.parametrize("missing", [1, 2])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_without_its_end_marker_opens(options, missing, mode):
    stream = io.BytesIO()
    Image.fromarray(COLOURS).convert(mode).save(stream, "JPEG", quality=90, **options)
    whole = read_picture_file(stream.getvalue())
    cut = read_picture_file(stream.getvalue()[:-missing])
    assert (cut.rgb == whole.rgb).all()
    assert missing == 1 or "end marker" in cut.notes[0]


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_pixels_is_refused_or_equal(progressive):
    stream = io.BytesIO()
    Image.fromarray(COLOURS).save(stream, "JPEG", quality=90, progressive=progressive)
    whole = read_picture_file(stream.getvalue())
    refused = 0
    length = len(stream.getvalue())
    for end in (*range(300, length - 40, 61), *range(length - 40, length - 2)):
        try:
            assert (read_picture_file(stream.getvalue()[:end]).rgb == whole.rgb).all(), end
        except HarmonyError:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("kind", ["bytearray", "memoryview", "BytesIO", "file", "path-like"])
def test_files_may_be_given_in_any_form(tmp_path, kind):
    path = tmp_path / "in.png"
    Image.fromarray(COLOURS).save(path)

    class PathLike:
        def __fspath__(self):
            return str(path)

    with open(path, "rb") as file:
        given = {
            "bytearray": bytearray(path.read_bytes()),
            "memoryview": memoryview(path.read_bytes()),
            "BytesIO": io.BytesIO(path.read_bytes()),
            "file": file,
            "path-like": PathLike(),
        }[kind]
        assert (read_picture_file(given).rgb == COLOURS).all()


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "in.txt").write_text("text")
    with pytest.raises(HarmonyError, match="mode 'rb'"), open(tmp_path / "in.txt") as file:
        read_picture_file(file)
    with pytest.raises(HarmonyError, match="a list was given"):
        read_picture_file([1, 2])
    with pytest.raises(HarmonyError, match="a NoneType was given"):
        read_picture_file(None)
