"""Colours between spaces: floats agree with Little CMS, and leave no steps."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from harmonyrt.runtime.images import colours as image_colours
from harmonyrt.runtime.images.colour_matrix import matrix_space

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def colours():
    return np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def test_sums_of_floats_agree_with_little_cms(colours, wide_profile):
    exact = image_colours.own_space(wide_profile, grey=False)(colours.astype(np.float32) / 255)
    rounded = image_colours.from_srgb(colours, wide_profile)
    assert np.abs(exact * 255 - rounded).max() < 1.1


def test_the_lattice_agrees_with_little_cms(colours, wide_profile):
    found = image_colours._through_lattice(wide_profile)(colours.astype(np.float32) / 255)
    rounded = image_colours.from_srgb(colours, wide_profile)
    assert np.abs(found * 255 - rounded).mean() < 1
    assert np.abs(found * 255 - rounded).max() < 12  # between points, where primaries far from sRGB's cut colours off


def test_16_bits_are_seen_with_16_bits(colours, wide_profile):
    deep = colours.astype(np.uint16) * 257
    seen = image_colours.seen(deep, wide_profile)
    assert seen.dtype == np.uint16
    assert np.abs(seen / 257 - image_colours.to_srgb(colours, wide_profile)).max() < 1.1


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_grey_profiles_lead_there_and_back(gamma):
    profile = grey_profile(gamma)
    grey = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    seen = image_colours.seen(grey, profile)
    back = image_colours.own_space(profile, grey=True)(seen / np.float32(65535))
    assert np.abs(back[..., 0] * 65535 - grey)[2:].max() < 20


def test_parametric_curves_are_read():
    image = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    profile = matrix_profile(b"para\0\0\0\0\0\3\0\0" + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
    found = image_colours.own_space(profile, grey=False)
    if found is not None:  # nearly sRGB
        assert np.abs(found(image / np.float32(255)) * 255 - image).max() < 1.5
    space = matrix_space(profile)
    assert space.curves[0][32768] == pytest.approx(((0.50001 + 0.055) / 1.055) ** 2.4, abs=1e-4)


@pytest.mark.parametrize("profile", [b"", b"x" * 300, SRGB[:200], SRGB.replace(b"rTRC", b"A2B0")])
def test_what_is_no_matrix_profile_is_left_to_little_cms(profile):
    assert matrix_space(profile) is None


def fixed(*values):
    return b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def matrix_profile(curve):
    """sRGB's primaries with another curve."""
    tags = [(name, b"XYZ \0\0\0\0" + fixed(*row)) for name, row in zip(
        (b"rXYZ", b"gXYZ", b"bXYZ"), matrix_space(SRGB).to_xyz, strict=True)]  # fmt: skip
    return profile_of(b"RGB ", tags + [(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")])


def grey_profile(gamma):
    return profile_of(b"GRAY", [(b"kTRC", b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0")])


def profile_of(space, tags):
    tags = [(b"wtpt", b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249)), *tags]
    index, body = struct.pack(">I", len(tags)), b""
    for name, data in tags:
        index += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    head = struct.pack(">I", 128 + len(index) + len(body)) + b"\0" * 4 + b"\x02\x40\0\0mntr" + space + b"XYZ "
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28 + fixed(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + index + body


def test_a_profile_without_a_way_back_is_recognised(one_way_profile, wide_profile, colours):
    assert image_colours.has_way_back(wide_profile, 3)
    assert not image_colours.has_way_back(one_way_profile, 3)
    Image.fromarray(image_colours.to_srgb(colours, one_way_profile))
