"""Picture files: what is read, how it comes back, and what is refused in one sentence."""

import contextlib
import io
import os

import numpy as np
import pytest
from PIL import Image, ImageCms

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.images import deep as deep_images
from harmonyrt.runtime.images.encode import check_writable, write_picture_file
from harmonyrt.runtime.images.mask_files import read_mask_file
from harmonyrt.runtime.images.pictures import read_picture_file, to_8_bits

RNG = np.random.default_rng(7)


@pytest.fixture
def colours():
    return RNG.integers(0, 256, (12, 17, 3), dtype=np.uint8)


@pytest.fixture
def deep():
    return RNG.integers(0, 65536, (12, 17, 3), dtype=np.uint16)


def saved(folder, image, name="in.png", **options):
    image.save(folder / name, **options)
    return folder / name


def deep_png(folder, pixels, profile=None):
    with open(folder / "deep.png", "wb") as file:
        deep_images.encode_png(file, pixels, profile, None)
    return folder / "deep.png"


def brightened(picture, box=np.s_[2:6, 3:9]):
    rgb = picture.rgb.copy()
    rgb[box] = np.clip(rgb[box].astype(int) + 20, 0, 255)
    return picture.with_rgb(rgb)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".bmp"])
def test_lossless_formats_return_every_pixel(tmp_path, colours, suffix):
    picture = read_picture_file(saved(tmp_path, Image.fromarray(colours)))
    write_picture_file(picture, tmp_path / f"out{suffix}")
    assert (read_picture_file(tmp_path / f"out{suffix}").rgb == colours).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(tmp_path, colours, orientation):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    path = saved(tmp_path, Image.fromarray(colours), exif=exif)
    picture = read_picture_file(path)
    upright = {
        1: colours,
        2: colours[:, ::-1],
        3: colours[::-1, ::-1],
        4: colours[::-1],
        5: colours.swapaxes(0, 1),
        6: np.rot90(colours, -1),
        7: np.rot90(colours, 2).swapaxes(0, 1),
        8: np.rot90(colours, 1),
    }[orientation]
    assert (picture.rgb == upright).all()
    write_picture_file(picture, tmp_path / "out.png")
    written = Image.open(tmp_path / "out.png")
    assert written.size == upright.shape[1::-1]
    assert written.getexif().get(0x0112, 1) == 1
    assert written.getexif()[0x010F] == "Maker"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_exif_and_profile_travel(tmp_path, colours, wide_profile, suffix):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2026:01:01 00:00:00"
    path = saved(tmp_path, Image.fromarray(colours), "in.jpg", exif=exif, icc_profile=wide_profile, dpi=(300, 300))
    write_picture_file(read_picture_file(path), tmp_path / f"out{suffix}")
    written = Image.open(tmp_path / f"out{suffix}")
    assert written.info["icc_profile"] == wide_profile
    assert written.getexif()[0x010F] == "Maker"
    assert written.getexif().get_ifd(0x8769)[0x9003] == "2026:01:01 00:00:00"


def test_a_tiff_keeps_its_descriptive_tags_only(tmp_path, colours):
    path = saved(tmp_path, Image.fromarray(colours), "in.tif", tiffinfo={271: "Maker"})
    write_picture_file(read_picture_file(path), tmp_path / "out.jpg")
    assert dict(Image.open(tmp_path / "out.jpg").getexif()) == {271: "Maker"}


def test_a_wide_profile_is_shown_in_srgb_and_changed_in_its_own_space(tmp_path, colours, wide_profile):
    picture = read_picture_file(saved(tmp_path, Image.fromarray(colours), icc_profile=wide_profile))
    assert (picture.native == colours).all()
    assert np.abs(picture.rgb.astype(int) - colours).max() > 50
    changed = brightened(picture)
    outside = np.ones(colours.shape[:2], bool)
    outside[2:6, 3:9] = False
    assert (changed.native[outside] == colours[outside]).all()
    assert (changed.native[~outside] != colours[~outside]).any()


def test_changes_in_a_wide_space_look_as_meant(tmp_path, wide_profile):
    flat = np.full((8, 8, 3), (140, 120, 100), np.uint8)
    picture = read_picture_file(saved(tmp_path, Image.fromarray(flat), icc_profile=wide_profile))
    target = picture.rgb.copy()
    target[2:5] = np.clip(target[2:5].astype(int) + np.array([6, -5, 8]), 0, 255)
    write_picture_file(picture.with_rgb(target), tmp_path / "out.png")
    seen = read_picture_file(tmp_path / "out.png").rgb
    assert np.abs(seen.astype(int) - target).max() <= 2


def test_an_srgb_profile_costs_no_conversion(tmp_path, colours):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = read_picture_file(saved(tmp_path, Image.fromarray(colours), icc_profile=profile))
    assert picture.rgb is picture.native
    assert picture.profile == profile


def test_a_broken_profile_is_named_and_dropped(tmp_path, colours):
    picture = read_picture_file(saved(tmp_path, Image.fromarray(colours), icc_profile=b"not a profile"))
    assert picture.profile is None
    assert "sRGB is assumed" in picture.notes[0]


def test_a_profile_without_a_way_back_is_applied_and_said(tmp_path, colours, one_way_profile):
    picture = read_picture_file(saved(tmp_path, Image.fromarray(colours), icc_profile=one_way_profile))
    assert picture.profile is None
    assert picture.native is picture.rgb
    assert "not back: the picture becomes sRGB" in picture.notes[0]
    assert 0 < np.abs(picture.rgb.astype(int) - colours).mean() < 12


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_alpha_is_kept(tmp_path, colours, suffix):
    alpha = RNG.integers(0, 256, colours.shape[:2], dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(np.dstack([colours, alpha])))
    changed = brightened(read_picture_file(path))
    write_picture_file(changed, tmp_path / f"out{suffix}")
    again = np.asarray(Image.open(tmp_path / f"out{suffix}").convert("RGBA"))
    assert (again[..., 3] == alpha).all()
    assert (again[..., :3] == changed.rgb).all()


def test_alpha_that_a_format_cannot_hold_is_refused_unless_opaque(tmp_path, colours):
    for alpha, refused in ((128, True), (255, False)):
        layers = np.dstack([colours, np.full(colours.shape[:2], alpha, np.uint8)])
        picture = read_picture_file(saved(tmp_path, Image.fromarray(layers)))
        if refused:
            with pytest.raises(HarmonyError, match="no transparency"):
                write_picture_file(picture, tmp_path / "out.jpg")
            assert not (tmp_path / "out.jpg").exists()
        else:
            write_picture_file(picture, tmp_path / "out.jpg")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_survive_where_nothing_changed(tmp_path, channels, suffix):
    pixels = RNG.integers(0, 65536, (12, 17, channels), dtype=np.uint16)
    picture = read_picture_file(deep_png(tmp_path, pixels))
    assert picture.bits == 16
    assert np.abs(picture.rgb[..., 0] - pixels[..., 0] / 257).max() <= 0.5
    changed = brightened(picture)
    write_picture_file(changed, tmp_path / f"out{suffix}")
    again = read_picture_file(tmp_path / f"out{suffix}")
    assert again.bits == 16
    assert (again.native.reshape(12, 17, -1)[..., 0] == changed.native.reshape(12, 17, -1)[..., 0]).all()
    original = pixels[..., 0] if channels < 3 else pixels[..., :3]
    assert (changed.native[8:] == original[8:]).all()
    if channels in (2, 4):
        assert (again.alpha == pixels[..., -1]).all()


def test_16_bit_changes_keep_the_fine_steps(tmp_path):
    ramp = np.repeat(np.arange(20000, 20120, dtype=np.uint16)[None, :, None], 3, axis=2)
    changed = brightened(read_picture_file(deep_png(tmp_path, ramp)), np.s_[:, 10:])
    steps = np.diff(changed.native[0, 10:, 0].astype(int))
    assert (steps == 1).all()


def test_every_16_bit_value_is_rounded_to_8():
    values = np.arange(65536, dtype=np.uint16)
    assert (to_8_bits(values) == np.rint(values / 257)).all()


def test_16_bits_in_an_8_bit_format_are_said(tmp_path, deep):
    notes = write_picture_file(read_picture_file(deep_png(tmp_path, deep)), tmp_path / "out.jpg")
    assert "8 of the picture's 16 bits" in notes[0]


def test_grey_stays_grey(tmp_path):
    grey = RNG.integers(0, 230, (12, 17), dtype=np.uint8)
    changed = brightened(read_picture_file(saved(tmp_path, Image.fromarray(grey))))
    write_picture_file(changed, tmp_path / "out.png")
    written = Image.open(tmp_path / "out.png")
    assert written.mode == "L"
    assert (np.asarray(written)[8:] == grey[8:]).all()
    assert (np.asarray(written)[2:6, 3:9] == grey[2:6, 3:9] + 20).all()


def test_cmyk_becomes_srgb_and_says_so(tmp_path, colours):
    picture = read_picture_file(saved(tmp_path, Image.fromarray(colours).convert("CMYK"), "in.tif"))
    assert (picture.rgb == colours).all()
    assert "CMYK" in picture.notes[0]


def test_palettes_and_colour_keys_are_read_as_they_look(tmp_path, colours):
    image = Image.fromarray(colours).quantize(8)
    assert (read_picture_file(saved(tmp_path, image, "in.gif")).rgb == np.asarray(image.convert("RGB"))).all()
    keyed = read_picture_file(saved(tmp_path, image, "in.png", transparency=3))
    assert ((keyed.alpha == 0) == (np.asarray(image) == 3)).all()


def test_a_mask_may_be_grey_colour_labels_or_a_cut_out(tmp_path):
    area = np.zeros((12, 17), bool)
    area[3:7, 4:10] = True
    expected = area * np.uint8(255)
    labels = Image.fromarray(area.astype(np.uint8))
    palette = Image.fromarray(area.astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 128, 0, 0])
    cut_out = Image.fromarray(np.dstack([np.full((12, 17, 3), 90, np.uint8), expected]))
    deep = Image.fromarray(expected.astype(np.uint16) * 257)
    for image in (Image.fromarray(expected), Image.fromarray(area), labels, palette, cut_out, deep):
        assert (read_mask_file(saved(tmp_path, image)).values == expected).all()


def _truncated(content):
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda png: b"", "is empty"),
        (lambda png: b"hello, I am text", "not a picture"),
        (lambda png: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (_truncated, "damaged or cut short"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_sentence(tmp_path, content, words):
    stream = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(stream, "PNG")
    (tmp_path / "in.png").write_bytes(content(stream.getvalue()))
    with pytest.raises(HarmonyError, match=words) as caught:
        read_picture_file(tmp_path / "in.png")
    assert "\n" not in str(caught.value)
    assert "in.png" in str(caught.value)


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM"])
def test_a_file_cut_anywhere_is_refused_or_read_whole(kind):
    stream = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(stream, kind)
    whole = stream.getvalue()
    for end in range(1, len(whole), max(len(whole) // 60, 1)):
        with contextlib.suppress(HarmonyError):
            assert read_picture_file(whole[:end], name="cut").rgb.shape == (40, 40, 3)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(HarmonyError, match="does not exist"):
        read_picture_file(tmp_path / "nowhere.png")
    with pytest.raises(HarmonyError, match="is a folder"):
        read_picture_file(tmp_path)


def test_a_file_without_permission_is_named(tmp_path, colours, monkeypatch):
    path = saved(tmp_path, Image.fromarray(colours))

    def denied(*arguments):  # root, who may run these tests, is denied nothing
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("harmonyrt.runtime.images.opening.open", denied, raising=False)
    with pytest.raises(HarmonyError, match="may not be read"):
        read_picture_file(path)


def test_size_is_limited_before_decoding(tmp_path):
    path = saved(tmp_path, Image.new("1", (3000, 2000)))
    with pytest.raises(HarmonyError, match=r"6 megapixels .*limit of 5.*--max-megapixels"):
        read_picture_file(path, max_megapixels=5)
    assert read_picture_file(path, max_megapixels=6).rgb.shape == (2000, 3000, 3)


def test_the_limit_may_be_raised_beyond_pillows_own():
    header = io.BytesIO()
    Image.new("1", (20000, 20000)).save(header, "PNG")
    with pytest.raises(HarmonyError, match="400 megapixels"):
        read_picture_file(header.getvalue())
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(HarmonyError, match="damaged or cut short"):
        read_picture_file(header.getvalue()[:60], max_megapixels=500)
    assert before == Image.MAX_IMAGE_PIXELS


def test_animations_are_refused_and_further_pages_are_not_an_animation(tmp_path, colours):
    frames = [Image.fromarray(colours), Image.fromarray(255 - colours)]
    path = saved(tmp_path, frames[0], "in.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(HarmonyError, match="animation of 2 frames"):
        read_picture_file(path)
    path = saved(tmp_path, frames[0], "in.tif", save_all=True, append_images=frames[1:])
    assert (read_picture_file(path).rgb == colours).all()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("out.xyz", "suffix .xyz"),
        ("out", "no suffix"),
        ("nowhere/out.png", "does not exist"),
        ("folder.png", "is a folder"),
    ],
)
def test_unwritable_outputs_are_refused_early_and_late(tmp_path, colours, name, words):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(HarmonyError, match=words):
        check_writable(tmp_path / name)
    picture = read_picture_file(saved(tmp_path, Image.fromarray(colours)))
    with pytest.raises(HarmonyError):
        write_picture_file(picture, tmp_path / name)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_is_one_sentence_and_exit_code_1(tmp_path, colours, monkeypatch):
    picture = read_picture_file(saved(tmp_path, Image.fromarray(colours)))
    real_open = open
    monkeypatch.setattr(
        "harmonyrt.runtime.images.encode.open", lambda path, mode: real_open("/dev/full", mode), raising=False
    )
    with pytest.raises(HarmonyError, match="No space left") as caught:
        write_picture_file(picture, tmp_path / "out.png")
    assert caught.value.exit_code == 1
    assert not (tmp_path / "out.png").exists()
    assert not list(tmp_path.glob(".*"))


def test_sides_beyond_a_formats_limit_are_one_sentence(tmp_path):
    picture = read_picture_file(saved(tmp_path, Image.new("RGB", (17000, 1))))
    with pytest.raises(HarmonyError, match="as WEBP"):
        write_picture_file(picture, tmp_path / "out.webp")
    assert not (tmp_path / "out.webp").exists()
