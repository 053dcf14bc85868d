"""The change in a clip's own planes is the change of the RGB that they mean."""

import numpy as np
import pytest

from fakes.clips import frame_of, spot, values
from harmonyrt.runtime.colour_maps import ColourMaps
from harmonyrt.runtime.transfer import apply_maps
from harmonyrt.video.change import apply_change, change_of
from harmonyrt.video.colours import Tags, colour_space
from harmonyrt.video.pixel_formats import layout_of

WIDTH, HEIGHT = 201, 149  # odd, and wider than a tile


@pytest.fixture
def maps():
    rng = np.random.default_rng(1)
    matrix = np.eye(3) + rng.normal(0, 0.03, (3, 3))
    scale = 1 + rng.normal(0, 0.05, (8, 10, 3))
    shift = rng.normal(0, 6, (8, 10, 3))
    return ColourMaps(*(a.astype(np.float32) for a in (matrix, scale, shift)))


def rgb_of(planes, space):
    """What values mean, 0 to 255, chroma at its luma's places."""
    height, width = planes[0].shape
    full = []
    for plane in planes:
        down, across = -(-height // plane.shape[0]), -(-width // plane.shape[1])
        full.append(np.repeat(np.repeat(plane, down, 0), across, 1)[:height, :width])
    return (np.stack(full, -1) - space.offset) @ space.to_rgb


@pytest.mark.parametrize("matrix", [1, 6, 9, 8])
@pytest.mark.parametrize("pix_fmt", ["yuv444p10le", "yuvj444p", "gbrp12le", "rgb24", "yuv444p16le"])
def test_a_change_of_values_is_the_change_of_their_rgb(maps, pix_fmt, matrix):
    layout = layout_of(pix_fmt)
    space = colour_space(Tags(matrix), layout.kind, layout.bits, (WIDTH, HEIGHT), layout.full_by_name)
    frame = frame_of(pix_fmt, values(pix_fmt, WIDTH, HEIGHT), WIDTH, HEIGHT)
    planes, mask = layout.planes(frame), spot(WIDTH, HEIGHT)
    before = [p.copy() for p in planes]
    apply_change(planes, mask, change_of(maps, space, 0.8))

    rgb = rgb_of(before, space)
    deep = np.round(np.clip(rgb, 0, 255) * 257).astype(np.uint16)
    wanted = rgb + 0.8 * (apply_maps(deep, mask, maps).astype(float) - deep) / 257
    error = np.abs(rgb_of(planes, space) - wanted)
    inside = ((rgb > 4) & (rgb < 251) & (wanted > 4) & (wanted < 251)).all(-1)
    assert inside.mean() > 0.5
    step = 255 / space.highest * (1.6 if layout.kind == "yuv" else 0.6)  # half a code of each plane
    assert error[inside].max() < step + 0.02


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv411p", "yuv410p"])
def test_subsampled_chroma_follows_the_mean_of_its_pixels(maps, pix_fmt):
    layout = layout_of(pix_fmt)
    space = colour_space(Tags(1), layout.kind, layout.bits, (WIDTH, HEIGHT))
    given = values(pix_fmt, WIDTH, HEIGHT)
    frame = frame_of(pix_fmt, given, WIDTH, HEIGHT)
    planes = layout.planes(frame)
    before = [p.copy() for p in planes]
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    apply_change(planes, mask, change_of(maps, space))
    rgb = rgb_of(before, space)
    deep = np.round(np.clip(rgb, 0, 255) * 257).astype(np.uint16)
    wanted = rgb + (apply_maps(deep, mask, maps).astype(float) - deep) / 257
    inside = ((rgb > 9) & (rgb < 246) & (wanted > 9) & (wanted < 246)).all(-1)  # no RGB of these is clipped
    error = (rgb_of(planes, space) - wanted)[inside]
    assert inside.mean() > 0.4
    assert np.abs(error.mean(0)).max() < 0.2
    assert np.sqrt((error**2).mean()) < 1.5  # grain of luma, which chroma has only the mean of, and rounding


@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuv422p10le", "yuva444p10le", "gbrp", "rgba", "gray", "ya8", "rgb48be"]
)
def test_values_outside_the_mask_are_not_touched(maps, pix_fmt):
    layout = layout_of(pix_fmt)
    space = colour_space(Tags(6), layout.kind, layout.bits, (WIDTH, HEIGHT))
    frame = frame_of(pix_fmt, values(pix_fmt, WIDTH, HEIGHT), WIDTH, HEIGHT)
    planes, mask = layout.planes(frame), spot(WIDTH, HEIGHT)
    before = [p.copy() for p in planes]
    apply_change(planes[: layout.colours], mask, change_of(maps, space))
    for index, (old, new) in enumerate(zip(before, planes, strict=True)):
        down, across = -(-HEIGHT // old.shape[0]), -(-WIDTH // old.shape[1])
        rows, columns = np.nonzero(mask)
        touched = np.zeros(old.shape, bool)
        touched[rows // down, columns // across] = True
        assert np.array_equal(old[~touched], new[~touched])
        assert index >= layout.colours or (old != new)[touched].mean() > 0.3


def test_no_strength_is_no_change(maps):
    space = colour_space(Tags(1), "yuv", 8, (WIDTH, HEIGHT))
    planes = [p.astype(np.uint8) for p in values("yuv420p", WIDTH, HEIGHT)]
    before = [p.copy() for p in planes]
    apply_change(planes, spot(WIDTH, HEIGHT), change_of(maps, space, 0.0))
    assert all(np.array_equal(a, b) for a, b in zip(before, planes, strict=True))


@pytest.mark.parametrize(
    ("matrix", "full", "colour", "codes"),
    [
        (1, False, (255, 0, 0), (63, 102, 240)),  # BT.709 limited: ITU-R BT.709-6, 3.4
        (6, False, (0, 0, 255), (41, 240, 110)),  # BT.601 limited
        (9, True, (0, 255, 0), (173, 36, 11)),  # BT.2020 full
        (1, True, (255, 255, 255), (255, 128, 128)),
    ],
)
def test_codes_mean_the_colours_that_the_standards_say(matrix, full, colour, codes):
    space = colour_space(Tags(matrix, 2 if full else 1), "yuv", 8, (64, 64))
    assert np.abs(np.array(colour) @ space.from_rgb + space.offset - codes).max() < 0.6
