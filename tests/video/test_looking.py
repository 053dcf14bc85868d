"""What the network sees of a frame."""

import itertools

import numpy as np
import pytest

from fakes.clips import frame_of, spot, values
from harmonyrt.runtime.fit import fit
from harmonyrt.video.colours import Tags, colour_space
from harmonyrt.video.looking import difference, fit_mask, is_cut, look
from harmonyrt.video.pixel_formats import layout_of

SIZE = (32, 48)
WIDTH, HEIGHT = 301, 200


@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuvj420p", "yuv422p10le", "yuv444p12le", "gbrp", "gbrp10le", "rgba", "gray", "gray10le"]
)
def test_a_frame_is_seen_as_the_runtime_sees_its_picture(pix_fmt):
    layout = layout_of(pix_fmt)
    space = colour_space(Tags(1), layout.kind, layout.bits, (WIDTH, HEIGHT), layout.full_by_name)
    planes = values(pix_fmt, WIDTH, HEIGHT)
    full = []
    for plane in planes[: layout.colours]:
        down, across = -(-HEIGHT // plane.shape[0]), -(-WIDTH // plane.shape[1])
        full.append(np.repeat(np.repeat(plane, down, 0), across, 1)[:HEIGHT, :WIDTH])
    rgb = np.clip((np.stack(full, -1) - space.offset) @ space.to_rgb, 0, 255)
    mask = spot(WIDTH, HEIGHT)
    fitted = fit(np.round(rgb * 257).astype(np.uint16), mask, SIZE, False)
    coverage = fit_mask(mask, SIZE)
    seen = look(frame_of(pix_fmt, planes, WIDTH, HEIGHT), layout, coverage, space, SIZE)
    assert np.abs(coverage - fitted.mask).max() < 2 / 255
    assert np.sqrt(((seen.fitted.image - fitted.image) ** 2).mean()) * 255 < 0.8


def test_wide_primaries_are_seen_as_they_look():
    space = colour_space(Tags(9, primaries=9), "yuv", 10, (WIDTH, HEIGHT))
    grey = np.full((3, 1, 4), 0.5, np.float32)
    assert np.abs(space.seen(grey) - 0.5).max() < 1e-4  # the white is the same
    colour = np.array([0.5, 0.4, 0.45], np.float32).reshape(3, 1, 1)
    assert space.seen(colour)[0] > 0.53  # BT.2020's red is redder than sRGB's
    assert np.abs(space.stored(space.seen(colour)) - colour).max() < 1e-4


def view(picture):
    planes = [np.round(p).astype(np.uint8) for p in picture.transpose(2, 0, 1)]
    layout = layout_of("gbrp")
    frame = frame_of("gbrp", planes, picture.shape[1], picture.shape[0])
    space = colour_space(Tags(), "rgb", 8, (64, 64))
    return look(frame, layout, np.ones((64, 64), np.float32), space, (64, 64))


def scene(seed, bright=0.0):
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(20 + bright, 180 + bright, (6, 8, 3))
    return np.kron(coarse, np.ones((40, 40, 1))).clip(0, 255)


def test_a_cut_is_found_and_a_pan_is_none():
    wide = scene(1)
    frames = [view(wide[20:180, i * 6 : i * 6 + 200]) for i in range(8)]
    usual = difference(frames[0], frames[1])
    assert not any(is_cut(a, b, usual) for a, b in itertools.pairwise(frames))
    assert is_cut(frames[-1], view(scene(2, 70)[20:180, :200]), usual)
    noise = np.random.default_rng(0).normal(0, 4, (160, 200, 3))
    assert not is_cut(frames[0], view((wide[20:180, :200] + noise).clip(0, 255)), 0.0)
