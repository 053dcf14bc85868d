"""A change as a 3D LUT, and the file that readers of others open."""

from fractions import Fraction

import numpy as np
import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.lut import ColourLut, fit_lut, identity


@pytest.fixture(scope="module")
def colours():
    """6000 warm colours, uint16."""
    random = np.random.default_rng(4)
    return (random.uniform([0.3, 0.2, 0.1], [0.9, 0.7, 0.5], (6000, 3)) * 65535).astype(np.uint16)


def change(colours):
    unit = colours / 65535
    matrix = np.array([[0.9, 0.05, 0.0], [0.0, 0.8, 0.1], [0.05, 0.0, 0.9]])
    return np.rint((unit**1.1 @ matrix) * 65535).clip(0, 65535).astype(np.uint16)


@pytest.fixture(scope="module")
def lut(colours):
    return fit_lut(colours, change(colours), np.full(len(colours), 255, np.uint8))


def test_a_change_of_colours_alone_fits(lut, colours):
    assert lut.table.shape == (33, 33, 33, 3)
    assert lut.mean < 0.1
    assert lut.p95 < 0.3
    random = np.random.default_rng(5)
    others = (random.uniform([0.35, 0.25, 0.15], [0.85, 0.65, 0.45], (500, 3)) * 65535).astype(np.uint16)
    missed = np.abs(lut.apply(others / 65535) - change(others) / 65535) * 255
    assert missed.max() < 1


def test_it_is_smooth_and_does_nothing_far_away(lut):
    moved = (lut.table - identity()) * 255
    assert np.abs(moved[0, 32, 32]).max() < 1.5  # cyan: no such colour was there
    assert np.abs(moved).max() < 45  # the change itself goes to 40
    assert np.abs(np.diff(moved, axis=0)).max() < 14
    assert np.abs(np.diff(moved, axis=2)).max() < 14


def test_what_a_lut_cannot_say_is_its_residual(colours):
    colours = np.repeat(colours, 2, axis=0)  # each colour in two places, of which one becomes half as bright
    after = np.where(np.arange(len(colours))[:, None] % 2 == 0, colours, colours // 2)
    lut = fit_lut(colours, after, np.full(len(colours), 255, np.uint8))
    missed = colours / 257 / 4  # three quarters are the mean of one and a half
    assert lut.mean == pytest.approx(missed.mean(), rel=0.02)
    assert lut.p95 == pytest.approx(np.percentile(missed, 95), rel=0.05)


def test_soft_pixels_count_less(colours):
    colours = np.repeat(colours, 2, axis=0)
    mask = np.where(np.arange(len(colours)) % 2 == 0, 255, 1).astype(np.uint8)
    after = np.where(mask[:, None] == 255, colours, colours // 2)
    lut = fit_lut(colours, after, mask)
    moved = np.abs(lut.apply(colours / 65535) - colours / 65535) * 255
    assert moved.mean() < 1


def test_the_file_is_as_adobe_describes_it(tmp_path):
    table = identity(3).astype(np.float32)
    table[2, 0, 1] = (0.25, 0.5, 0.125)  # red 1, green 0, blue 0.5
    ColourLut(table, 1.0, 2.0).write(tmp_path / "Abend.cube", title='he said "now"\nö')
    lines = [line for line in (tmp_path / "Abend.cube").read_text("ascii").splitlines() if not line.startswith("#")]
    assert lines[0] == 'TITLE "he said _now___"'
    assert lines[1:4] == ["LUT_3D_SIZE 3", "DOMAIN_MIN 0.0 0.0 0.0", "DOMAIN_MAX 1.0 1.0 1.0"]
    rows = [[float(value) for value in line.split()] for line in lines[4:]]
    assert len(rows) == 27
    assert rows[1] == [0.5, 0, 0]  # red goes fastest
    assert rows[2 + 3 * 0 + 9 * 1] == [0.25, 0.5, 0.125]


def test_other_names_and_sizes_are_refused(tmp_path, colours):
    with pytest.raises(HarmonyError, match=r"does not end in \.cube"):
        ColourLut(identity(2), 0, 0).write(tmp_path / "change.txt")
    with pytest.raises(HarmonyError, match="size is 66; give 2 to 65"):
        fit_lut(colours, colours, np.full(len(colours), 255, np.uint8), 66)
    assert not list(tmp_path.iterdir())


def test_ffmpeg_reads_it_and_makes_the_harmonized_colours(static_bundle, composite, ellipse, tmp_path):
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install av")
    picture = np.clip(composite, 60, 180)
    with Harmonizer.open(static_bundle, backend="onnxruntime", threads=1) as harmonizer:
        result = harmonizer.harmonize_detailed(picture, ellipse)
    lut = result.lut()
    lut.write(tmp_path / "change.cube")
    shown = _through_ffmpeg(av, picture, tmp_path / "change.cube")
    ours = lut.apply(picture.reshape(-1, 3) / 255).reshape(picture.shape) * 255
    assert np.abs(shown - ours).max() <= 1.01  # both between the same points; ffmpeg rounds to 8 bits
    inside = ellipse == 255
    missed = np.abs(shown[inside].astype(float) - result.picture[inside])
    assert missed.mean() <= lut.mean + 0.5
    assert missed.mean() < 0.5 * np.abs(picture[inside].astype(float) - result.picture[inside]).mean()


def _through_ffmpeg(av, picture, path):
    height, width, _ = picture.shape
    graph = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format="rgb24", time_base=Fraction(1, 25))
    table, sink = graph.add("lut3d", f"file={path}:interp=trilinear"), graph.add("buffersink")
    source.link_to(table)
    table.link_to(sink)
    graph.configure()
    source.push(av.VideoFrame.from_ndarray(picture, format="rgb24"))
    return sink.pull().to_ndarray(format="rgb24").astype(int)
