"""What colours mean travels with the image or is reported as lost; else the background would look different."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images import colours as image_colours
from harmonyrt.runtime.images import named_spaces
from harmonyrt.runtime.images.encode import write_picture_file
from harmonyrt.runtime.images.pictures import read_picture_file

COLOURS = np.random.default_rng(9).integers(0, 256, (24, 30, 3), dtype=np.uint8)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks, mode="RGB", **options):
    stream = io.BytesIO()
    Image.fromarray(COLOURS).convert(mode).save(stream, "PNG", **options)
    content = stream.getvalue()
    return content[:33] + b"".join(chunks) + content[33:]


def chunk_kinds(path):
    content, at, kinds = path.read_bytes(), 8, []
    while at + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        kinds.append(kind)
        at += 12 + size
    return kinds


def cicp(primaries, transfer):
    return chunk(b"cICP", bytes([primaries, transfer, 0, 1]))


GAMMA_1 = chunk(b"gAMA", struct.pack(">I", 100000))
GAMMA_USUAL = chunk(b"gAMA", struct.pack(">I", 45455))
P3_POINTS = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
SRGB_POINTS = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))


@pytest.mark.parametrize("chunks", [[cicp(12, 13)], [GAMMA_1], [GAMMA_USUAL, P3_POINTS], [cicp(9, 8)]])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_colours_named_in_a_png_are_seen_and_get_a_profile(tmp_path, chunks, mode):
    if mode == "L":  # to which primaries mean nothing
        chunks = [GAMMA_1]
    picture = read_picture_file(png(*chunks, mode=mode))
    assert np.abs(picture.rgb.astype(int) - (picture.native if mode != "L" else picture.native[..., None])).max() > 3
    for suffix in (".png", ".tif", ".webp"):
        write_picture_file(picture, tmp_path / f"out{suffix}")
        again = read_picture_file(tmp_path / f"out{suffix}")
        assert (again.native == (picture.rgb if (mode, suffix) == ("L", ".webp") else picture.native)).all()
        assert np.abs(again.rgb.astype(int) - picture.rgb).max() <= 2


@pytest.mark.parametrize(
    "chunks",
    [[], [GAMMA_USUAL], [GAMMA_USUAL, SRGB_POINTS], [cicp(1, 13)], [chunk(b"sRGB", b"\0"), GAMMA_1], [cicp(1, 1)]],
)
def test_what_says_srgb_needs_nothing(chunks):
    picture = read_picture_file(png(*chunks))
    assert picture.profile is None
    assert picture.rgb is picture.native
    assert picture.notes == ()


@pytest.mark.parametrize(("transfer", "word"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_said_and_its_chunk_kept(tmp_path, transfer, word):
    more = chunk(b"cLLI", struct.pack(">II", 10_000_000, 4_000_000))
    picture = read_picture_file(png(cicp(9, transfer), more))
    assert word in picture.notes[0]
    assert write_picture_file(picture, tmp_path / "out.png") == []
    assert {b"cICP", b"cLLI"} <= set(chunk_kinds(tmp_path / "out.png"))
    assert "HDR" in write_picture_file(picture, tmp_path / "out.tif")[0]


def test_unknown_numbers_are_said():
    assert "200/13" in read_picture_file(png(cicp(200, 13))).notes[0]


def test_16_bit_pngs_keep_their_chunks_and_profile(tmp_path, deep_png, wide_profile):
    content = deep_png(COLOURS.astype(np.uint16) * 257, wide_profile).read_bytes()
    picture = read_picture_file(content[:33] + cicp(12, 13) + content[33:])
    write_picture_file(picture, tmp_path / "out.png")
    assert {b"cICP", b"iCCP"} <= set(chunk_kinds(tmp_path / "out.png"))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
@pytest.mark.parametrize(("points", "expected"), [((12, 13), "profile"), ((9, 16), "note"), ((1, 13), "nothing")])
def test_avif_names_its_colours_by_numbers(points, expected):
    stream = io.BytesIO()
    Image.fromarray(COLOURS).save(stream, "AVIF", quality=100)
    content = stream.getvalue()
    at = content.index(b"colrnclx") + 8
    picture = read_picture_file(content[:at] + struct.pack(">HH", *points) + content[at + 4 :])
    assert (picture.profile is not None) == (expected == "profile")
    assert bool(picture.notes) == (expected == "note")


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
@pytest.mark.parametrize("bits", [10, 12])
def test_the_depth_that_is_lost_from_avif_is_said(bits):
    imagecodecs = pytest.importorskip("imagecodecs")
    content = imagecodecs.avif_encode(COLOURS.astype(np.uint16) << (bits - 8), bitspersample=bits)
    notes = read_picture_file(content).notes
    assert any(f"{bits} bits per channel, of which 8 are read" in note for note in notes)


def test_the_depth_that_is_lost_from_jpeg_2000_is_said():
    imagecodecs = pytest.importorskip("imagecodecs")
    content = imagecodecs.jpeg2k_encode(COLOURS.astype(np.uint16) * 257, level=0, codecformat="jp2", reversible=True)
    assert "16 bits per channel, of which 8 are read" in read_picture_file(content).notes[0]
    grey = imagecodecs.jpeg2k_encode(COLOURS[..., 0].astype(np.uint16) * 257, level=0, reversible=True)
    assert (read_picture_file(grey).native == COLOURS[..., 0].astype(np.uint16) * 257).all()


def test_the_profile_inside_a_jpeg_2000_is_found():
    if not features.check("jpg_2000"):
        pytest.skip("this Pillow has no JPEG 2000")
    stream = io.BytesIO()
    Image.fromarray(COLOURS).save(stream, "JPEG2000")
    content, profile = stream.getvalue(), named_spaces.adobe_rgb()
    at, header = content.index(b"colr") - 4, content.index(b"jp2h") - 4
    (old,) = struct.unpack_from(">I", content, at)
    box = struct.pack(">I", 11 + len(profile)) + b"colr\x02\0\0" + profile
    (size,) = struct.unpack_from(">I", content, header)
    content = content[:header] + struct.pack(">I", size - old + len(box)) + content[header + 4 : at] + box + (
        content[at + old :]
    )  # fmt: skip
    assert read_picture_file(content).profile == profile


def test_adobe_rgb_by_exif_gets_a_profile(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    stream = io.BytesIO()
    Image.fromarray(COLOURS).save(stream, "JPEG", exif=exif, quality=95)
    picture = read_picture_file(stream.getvalue())
    assert "Adobe RGB" in picture.notes[0]
    assert np.abs(picture.rgb.astype(int) - picture.native).max() > 10
    write_picture_file(picture, tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.info["icc_profile"] == named_spaces.adobe_rgb()


def test_made_profiles_are_what_little_cms_takes_them_for():
    assert image_colours.is_srgb(named_spaces.make_profile(named_spaces.PRIMARIES[1], None, grey=False), 3)
    adobe = named_spaces.adobe_rgb()
    # Adobe RGB (1998), annex: its green of full strength is far outside sRGB, its grey is sRGB's grey.
    grey = np.full((1, 1, 3), 128, np.uint8)
    assert np.ptp(image_colours.to_srgb(grey, adobe).astype(int)) <= 1
    assert image_colours.to_srgb(np.array([[[100, 200, 100]]], np.uint8), adobe)[0, 0, 0] < 30
    ImageCms.ImageCmsProfile(io.BytesIO(named_spaces.make_profile(named_spaces.PRIMARIES[1], 1.0, grey=True)))


def jpeg(mark=b"", **options):
    stream = io.BytesIO()
    Image.fromarray(COLOURS).save(stream, "JPEG", **options)
    content = stream.getvalue()
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(mark)) + mark if mark else b""
    return content[:2] + segment + content[2:]


@pytest.mark.parametrize(
    "mark",
    [
        b'http://ns.adobe.com/xap/1.0/\0<rdf:Description hdrgm:Version="1.0"/>',
        b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0",
        b"http://ns.adobe.com/xap/1.0/\0<apdi:AuxiliaryImageType>urn:com:apple:photo:2020:aux:HDRGainMap",
    ],
)
def test_a_gain_map_that_is_left_out_is_said(mark):
    assert "gain map" in read_picture_file(jpeg(mark)).notes[0]
    assert read_picture_file(jpeg()).notes == ()


def test_further_pictures_of_a_jpeg_are_said():
    stream = io.BytesIO()
    Image.fromarray(COLOURS).save(stream, "MPO", save_all=True, append_images=[Image.fromarray(255 - COLOURS)])
    assert "holds 2 pictures; the first is taken" in read_picture_file(stream.getvalue()).notes[0]


def test_a_profile_that_bmp_cannot_hold_is_said(tmp_path, wide_profile):
    picture = read_picture_file(png(icc_profile=wide_profile))
    assert "looks different without" in write_picture_file(picture, tmp_path / "out.bmp")[0]


def test_further_pages_of_a_tiff_are_said():
    stream = io.BytesIO()
    Image.fromarray(COLOURS).save(stream, "TIFF", save_all=True, append_images=[Image.fromarray(COLOURS)])
    assert "has 2 pages; the first is taken" in read_picture_file(stream.getvalue()).notes[0]


def raw_like(tags):
    stream = io.BytesIO()
    Image.fromarray(COLOURS).save(stream, "TIFF", tiffinfo=tags)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: raw_like({254: 1}), "preview of 30 x 24"),
        (lambda: raw_like({50706: b"\1\4\0\0"}), "camera raw"),
        (lambda: raw_like({})[:8] + b"CR\2\0" + raw_like({})[12:], "camera raw"),
    ],
    ids=["a preview page", "DNG", "CR2"],
)
def test_previews_of_raw_files_are_not_mistaken_for_photos(content, words):
    with pytest.raises(HarmonyError, match=words):
        read_picture_file(content(), name="photo.tif")


@pytest.mark.parametrize("size", [(60, 48), (30, 24)])
def test_a_raw_page_in_a_sub_directory_makes_a_raw_file(size):
    tifffile = pytest.importorskip("tifffile")
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        writer.write(COLOURS, photometric="rgb", subifds=1)
        writer.write(np.zeros(size[::-1], np.uint16), photometric=32803 if size == (30, 24) else "minisblack")
    with pytest.raises(HarmonyError, match="camera raw"):
        read_picture_file(stream.getvalue(), name="photo.nef")
