"""Pictures with more than 8 bits per channel: every bit is read, or an error says that this is impossible."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images import deep as deep_images
from harmonyrt.runtime.images import tiff_files
from harmonyrt.runtime.images.encode import write_picture_file
from harmonyrt.runtime.images.mask_files import read_mask_file
from harmonyrt.runtime.images.pictures import read_picture_file

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")

RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 65536, (20, 30), dtype=np.uint16)
RGB = RNG.integers(0, 65536, (20, 30, 3), dtype=np.uint16)
ALPHA = np.where(np.arange(600).reshape(20, 30) % 3 == 0, 65535, 30000).astype(np.uint16)
RGBA = np.dstack([RGB, ALPHA])


def tiff(pixels, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **{"photometric": "rgb", **options})
    return stream.getvalue()


WHOLE = {
    "plain": ({}, RGB),
    "big-endian": ({"byteorder": ">"}, RGB),
    "BigTIFF": ({"bigtiff": True}, RGB),
    "LZW with differences": ({"compression": "lzw", "predictor": True}, RGB),
    "LZW with differences, big-endian": ({"compression": "lzw", "predictor": True, "byteorder": ">"}, RGB),
    "zlib": ({"compression": "zlib"}, RGB),
    "ZSTD": ({"compression": "zstd"}, RGB),
    "tiles": ({"tile": (16, 16)}, RGB),
    "planes": ({"planarconfig": "separate"}, RGB),
    "grey": ({"photometric": "minisblack"}, GREY),
    "grey, big-endian": ({"photometric": "minisblack", "byteorder": ">"}, GREY),
    "grey, LZW with differences": ({"photometric": "minisblack", "compression": "lzw", "predictor": True}, GREY),
}


@pytest.mark.parametrize(("options", "pixels"), WHOLE.values(), ids=WHOLE)
def test_every_bit_of_a_16_bit_tiff_is_read(options, pixels):
    stored = pixels.transpose(2, 0, 1) if "planarconfig" in options else pixels
    picture = read_picture_file(tiff(np.ascontiguousarray(stored), **options))
    assert (picture.native == pixels).all()
    assert picture.notes == ()


@pytest.mark.parametrize("order", "<>")
def test_white_is_zero(order):
    content = tiff(65535 - GREY, photometric="miniswhite", byteorder=order)
    assert (read_picture_file(content).native == GREY).all()


def test_alpha_and_channels_without_a_name():
    plain = read_picture_file(tiff(RGBA, extrasamples=["unassalpha"]))
    assert (plain.native == RGB).all()
    assert (plain.alpha == ALPHA).all()
    unnamed = read_picture_file(tiff(RGBA, extrasamples=["unspecified"]))
    assert (unnamed.native == RGB).all()
    assert unnamed.alpha is None
    assert "does not name: left out" in unnamed.notes[0]
    eight = read_picture_file(tiff((RGBA >> 8).astype(np.uint8), extrasamples=["unspecified"]))
    assert "does not name: left out" in eight.notes[0]


def test_premultiplied_alpha_is_undone_and_said():
    colours = np.rint(RGB / 2.0 * (ALPHA[..., None] / 65535)).astype(np.uint16)
    picture = read_picture_file(tiff(np.dstack([colours, ALPHA]), extrasamples=["assocalpha"]))
    assert np.abs(picture.native - RGB / 2.0).max() < 2
    assert (picture.alpha == ALPHA).all()
    assert "multiplied by alpha" in picture.notes[0]


def test_premultiplied_alpha_of_8_bits_is_said():
    content = tiff((RGBA >> 9).astype(np.uint8), extrasamples=["assocalpha"])
    assert "multiplied by alpha" in read_picture_file(content).notes[0]


@pytest.mark.parametrize(
    ("pixels", "words"),
    [(GREY.astype(np.int16) // 4 + 9000, "signed integers of 16 bits: 65535"), (GREY.astype(np.uint32), "of 32 bits")],
)
def test_integers_whose_white_is_a_guess_are_said(pixels, words):
    assert words in read_picture_file(tiff(pixels, photometric="minisblack")).notes[0]


def test_a_tiff_that_nobody_reads_is_named_as_a_tiff():
    content = tiff(np.dstack([RGBA, ALPHA]).astype(np.uint8), photometric="separated", extrasamples=["unassalpha"])
    with pytest.raises(HarmonyError, match="a TIFF of 5 channels of 8 bits"):
        read_picture_file(content)


def test_grey_with_alpha():
    content = tiff(np.dstack([GREY, ALPHA]), photometric="minisblack", extrasamples=["unassalpha"])
    picture = read_picture_file(content)
    assert (picture.native == GREY).all()
    assert (picture.alpha == ALPHA).all()


def packed_tiff(values, bits):
    """Grey of `bits` bits, packed as TIFF packs them: the first bit highest, each row filled up to a byte."""
    height, width = values.shape
    rows = (values[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    data = np.packbits(rows.reshape(height, -1).astype(np.uint8), axis=1).tobytes()
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1), (278, height)]
    tags.append((279, len(data)))
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + b"\0\0\0\0"


@pytest.mark.parametrize("bits", [12, 10])
def test_fewer_bits_than_16_are_spread_over_the_range(bits):
    found = read_picture_file(packed_tiff(GREY >> (16 - bits), bits)).native
    assert np.abs(found - GREY.astype(float)).max() <= 65536 / 2**bits
    assert found.max() > 65000


def test_cmyk_of_16_bits_is_used_with_8_and_said():
    picture = read_picture_file(tiff(RGBA, photometric="separated"))
    assert picture.rgb.dtype == np.uint8
    assert "CMYK with 16 bits" in picture.notes[0]


@pytest.mark.parametrize(
    ("pixels", "options", "words"),
    [
        (RGB.astype(np.float32), {}, "32-bit floats"),
        (GREY.astype(np.float32), {"photometric": "minisblack"}, "32-bit floats"),
        ((RGB / 65535).astype(np.float16), {}, "16-bit floats"),
        (RGB.astype(np.uint32), {}, "32 bits per channel"),
        (RGB, {"photometric": "cielab"}, "neither grey nor RGB"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(pixels, options, words):
    with pytest.raises(HarmonyError, match=words) as caught:
        read_picture_file(tiff(pixels, **options))
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")  # of Pillow's about the file
@pytest.mark.parametrize("name", WHOLE)
def test_a_deep_tiff_cut_anywhere_is_refused_or_read_whole(name):
    options, pixels = WHOLE[name]
    stored = pixels.transpose(2, 0, 1) if "planarconfig" in options else pixels
    strips = {} if "tile" in options else {"rowsperstrip": 7}
    content = tiff(np.ascontiguousarray(stored), **options, **strips)
    for end in range(20, len(content), len(content) // 40):
        with contextlib.suppress(HarmonyError):
            assert (read_picture_file(content[:end]).native == pixels).all(), end


def test_very_many_channels_are_refused_before_they_are_decoded():
    with pytest.raises(HarmonyError, match="holds 40 channels"):
        read_picture_file(tiff(np.zeros((20, 30, 40), np.uint16), photometric="minisblack", planarconfig="contig"))


def test_without_the_extra_the_plain_kinds_are_read_and_the_rest_is_named(monkeypatch):
    monkeypatch.setattr(tiff_files, "_is_installed", lambda: False)
    for name in ("plain", "big-endian", "LZW with differences", "grey", "grey, big-endian"):
        options, pixels = WHOLE[name]
        assert (read_picture_file(tiff(pixels, **options)).native == pixels).all(), name
    assert (read_picture_file(tiff(65535 - GREY, photometric="miniswhite")).native == GREY).all()

    def absent(name, extra, why):
        raise HarmonyError(f"{why} needs {name}: pip install 'harmonyrt[{extra}]'")

    monkeypatch.setattr(tiff_files, "require", absent)
    for content in (
        tiff(RGBA, extrasamples=["unspecified"]),
        tiff(RGBA, extrasamples=["assocalpha"]),
        tiff(np.ascontiguousarray(RGB.transpose(2, 0, 1)), planarconfig="separate"),
    ):
        with pytest.raises(HarmonyError, match=r"harmonyrt\[deep\]"):
            read_picture_file(content)


def test_the_limit_on_megapixels_holds_for_what_only_tifffile_knows():
    content = tiff(np.dstack([GREY, ALPHA]), photometric="minisblack", extrasamples=["unassalpha"])
    with pytest.raises(HarmonyError, match="--max-megapixels"):
        read_picture_file(content, max_megapixels=1e-4)


def test_a_16_bit_mask_of_any_kind_reads_the_same():
    area = np.zeros((20, 30), np.uint16)
    area[4:12, 5:20] = 65535
    for content in (
        tiff(area, photometric="minisblack"),
        tiff(65535 - area, photometric="miniswhite", byteorder=">"),
        tiff(np.repeat(area[..., None], 3, axis=2)),
    ):
        assert (read_mask_file(content).values == area >> 8).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_transparent_colour_of_a_16_bit_png(channels):
    pixels = np.where(RNG.random((12, 17, 1)) < 0.5, 1000, 1001).astype(np.uint16).repeat(channels, axis=2)
    stream = io.BytesIO()
    deep_images.encode_png(stream, pixels, None, None, more=[(b"tRNS", struct.pack(">H", 1000) * channels)])
    picture = read_picture_file(stream.getvalue())
    assert picture.bits == 16
    assert ((picture.alpha == 0) == (pixels[..., 0] == 1000)).all()  # 1001 is the same in 8 bits


@pytest.mark.parametrize("highest", [65535, 1023])
def test_every_bit_of_a_ppm_is_read(highest):
    values = (RGB.astype(np.uint32) % (highest + 1)).astype(">u2")
    picture = read_picture_file(b"P6\n30 20\n%d\n" % highest + values.tobytes())
    assert np.abs(picture.native - values * (65535 / highest)).max() <= 0.5


def test_a_plain_text_ppm_with_16_bits_says_that_8_are_read():
    content = b"P3\n30 20\n65535\n" + b" ".join(b"%d" % v for v in RGB.ravel())
    assert "16 bits per channel, of which 8 are read" in read_picture_file(content).notes[0]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_resolution_of_16_bit_pictures_travels(tmp_path, suffix, channels):
    given = tmp_path / "in.tif"
    photometric = "minisblack" if channels == 1 else "rgb"
    pixels = RGBA[..., :channels] if channels > 1 else GREY
    extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    tifffile.imwrite(given, pixels, photometric=photometric, resolution=(300, 150), resolutionunit=2, **extra)
    picture = read_picture_file(given)
    assert picture.dpi == pytest.approx((300, 150))
    write_picture_file(picture, tmp_path / f"out{suffix}")
    with Image.open(tmp_path / f"out{suffix}") as image:
        assert [float(d) for d in image.info["dpi"]] == pytest.approx([300, 150], abs=0.1)


def test_a_16_bit_png_that_pillow_would_cut_to_8_bits_is_an_error(monkeypatch):
    stream = io.BytesIO()
    deep_images.encode_png(stream, RGB, None, None)
    monkeypatch.setattr(deep_images, "decode", lambda image, file: None)
    with pytest.raises(HarmonyError, match="holds 16 bits per channel"):
        read_picture_file(stream.getvalue())


def test_interlaced_16_bit_pngs_are_read_whole():
    width, height = 3, 2  # Adam7 by hand: passes 1, 6 and 7 hold pixels
    pixels = RGB[:height, :width]
    passes = [pixels[0:1, 0:1], pixels[0:1, 2:3], pixels[0:1, 1:2], pixels[1:2, :]]
    data = b"".join(b"\0" + row.astype(">u2").tobytes() for part in passes for row in part)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 1))
    content = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    assert (read_picture_file(content).native == pixels).all()
