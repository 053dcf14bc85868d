"""Small hand-made bundles (those that the C++ suite uses too) and pictures."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from fakes.altered import altered_copy
from harmonyrt.runtime.images import deep as deep_images

BUNDLES = Path(__file__).parents[1] / "vectors"


@pytest.fixture(scope="session")
def static_bundle():
    """64 x 64, batch 1, engines for onnx and openvino; output = M @ image + G * mask + B + Q * image^2."""
    return BUNDLES / "hand-made-64"


@pytest.fixture(scope="session")
def dynamic_bundle():
    """Any multiple of 8, any batch; the same network."""
    return BUNDLES / "hand-made-dynamic"


@pytest.fixture
def altered(tmp_path):
    """Copies a bundle and lets the test change its manifest: altered(bundle, lambda manifest: ...)."""

    def make(bundle, change=lambda manifest: None):
        return altered_copy(bundle, tmp_path, change)

    return make


@pytest.fixture(scope="session")
def composite():
    """150 x 200 x 3 uint8, smooth with some grain."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (8, 10, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((200, 150), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(smooth + random.integers(-8, 9, smooth.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def ellipse():
    """150 x 200 uint8 mask with a soft edge, 255 inside."""
    down, across = np.mgrid[0:150, 0:200]
    distance = np.hypot((down - 80) / 40, (across - 90) / 55)
    return (np.clip((1 - distance) * 12 + 0.5, 0, 1) * 255).astype(np.uint8)


@pytest.fixture(scope="session")
def wide_profile():
    """An RGB profile that is far from sRGB: sRGB's own with the red and blue primaries exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for index in range(int.from_bytes(profile[128:132], "big")):
        entry = 132 + 12 * index
        profile[entry : entry + 4] = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(
            bytes(profile[entry : entry + 4]), bytes(profile[entry : entry + 4])
        )
    return bytes(profile)


@pytest.fixture(scope="session")
def one_way_profile():
    """An RGB profile with a table from its space to Lab, and none back: close to sRGB with a gamma of 2.2."""
    points = 9
    axis = np.linspace(0, 1, points) ** 2.2
    linear = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    white = np.array([0.9642, 1.0, 0.8249])
    xyz = linear @ np.array([[0.436, 0.2225, 0.0139], [0.385, 0.7169, 0.0971], [0.1431, 0.0606, 0.7139]]) / white
    f = np.where(xyz > 0.008856, np.cbrt(xyz), (903.3 * xyz + 16) / 116)
    lab = [(116 * f[..., 1] - 16) * 652.8, (500 * (f[..., 0] - f[..., 1]) + 128) * 256]
    lab = np.stack([*lab, (200 * (f[..., 1] - f[..., 2]) + 128) * 256], -1).clip(0, 65535).astype(">u2")

    def fixed(*values):
        return b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    ends = np.array([0, 65535] * 3, ">u2").tobytes()
    table = b"mft2\0\0\0\0" + bytes([3, 3, points, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + struct.pack(">HH", 2, 2)
    tags = [(b"wtpt", b"XYZ \0\0\0\0" + fixed(*white)), (b"A2B0", table + ends + lab.tobytes() + ends)]
    index, body = struct.pack(">I", len(tags)), b""
    for name, data in tags:
        index += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    head = struct.pack(">I", 128 + len(index) + len(body)) + b"\0" * 4 + b"\x02\x40\0\0mntrRGB Lab "
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28 + fixed(*white)
    return head.ljust(128, b"\0") + index + body


@pytest.fixture
def deep_png(tmp_path):
    """Writes 16-bit pixels (H,W,C) as a PNG: deep_png(pixels, profile=None) -> its path."""

    def write(pixels, profile=None):
        with open(tmp_path / "deep.png", "wb") as file:
            deep_images.encode_png(file, pixels, profile, None)
        return tmp_path / "deep.png"

    return write
