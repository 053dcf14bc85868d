"""Real files in, real files out: what a file says of its frames is kept, and nothing changes outside the mask."""

import itertools
from fractions import Fraction

import av
import numpy as np
import pytest

from fakes.clips import HEIGHT, WIDTH, frame_of, frames_in, make_clip, packets_in, planes_in, spot, values
from harmonyrt.common import HarmonyError
from harmonyrt.video import Coding, VideoOptions, harmonize_video
from harmonyrt.video.pixel_formats import layout_of
from harmonyrt.video.reading import Clip

LOSSLESS = VideoOptions(coding=Coding("ffv1"))


def check_outside(before, after, mask):
    """Bit-identical where no pixel of a value is in the mask; changed inside."""
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        for index, (was, now) in enumerate(zip(old, new, strict=True)):
            down, across = -(-mask.shape[0] // was.shape[0]), -(-mask.shape[1] // was.shape[1])
            rows, columns = np.nonzero(mask)
            touched = np.zeros(was.shape, bool)
            touched[rows // down, columns // across] = True
            assert np.array_equal(was[~touched], now[~touched])
            assert index or (was != now)[touched].mean() > 0.5


@pytest.mark.parametrize(("width", "height"), [(64, 48), (63, 47)])
@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p10le", "yuv420p12le", "gbrp10le", "bgra", "gray"]
)
def test_nothing_changes_outside_the_mask(tmp_path, harmonizer, pix_fmt, width, height):
    frames = (frame_of(pix_fmt, values(pix_fmt, width, height, i), width, height) for i in range(3))
    shot = make_clip(tmp_path / "shot.mkv", frames)
    mask = spot(width, height)
    report = harmonize_video(shot, mask, tmp_path / "out.mkv", harmonizer, LOSSLESS)
    assert report.frames == 3
    assert frames_in(tmp_path / "out.mkv")[0].format.name == pix_fmt
    check_outside(planes_in(shot), planes_in(tmp_path / "out.mkv"), mask)


@pytest.mark.parametrize("full", [False, True])
def test_the_foreground_is_what_the_network_says(tmp_path, harmonizer, full):
    def tagged(_, stream):
        stream.codec_context.color_range = 2 if full else 1
        stream.codec_context.colorspace = 1

    frames = (frame_of("yuv444p10le", values("yuv444p10le", seed=i)) for i in range(2))
    shot = make_clip(tmp_path / "shot.mkv", frames, prepare=tagged)
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    harmonize_video(shot, mask, tmp_path / "out.mkv", harmonizer, LOSSLESS)
    before, after = (planes_in(path)[0] for path in (shot, tmp_path / "out.mkv"))
    black = 0 if full else 64
    ratio = (after[0].astype(float) - black).mean() / (before[0].astype(float) - black).mean()
    assert ratio == pytest.approx(0.9, abs=0.01)
    assert (after[1].astype(float) - 512).mean() == pytest.approx(0.9 * (before[1].astype(float) - 512).mean(), abs=1.5)


def test_every_time_stamp_of_a_variable_rate_is_kept(tmp_path, harmonizer):
    times = [0, 40, 41, 200, 333, 1000, 1001]
    frames = (frame_of("yuv420p", values("yuv420p", seed=i)) for i in range(len(times)))
    shot = make_clip(tmp_path / "shot.mp4", frames, "libx264", 25, times, Fraction(1, 1000))
    harmonize_video(shot, spot(), tmp_path / "out.mp4", harmonizer)
    for path in (shot, tmp_path / "out.mp4"):
        assert [round(f.pts * f.time_base * 1000) for f in frames_in(path)] == times


def test_rotation_and_aspect_and_colours_are_kept(tmp_path, harmonizer):
    def tagged(_, stream):
        context = stream.codec_context
        context.sample_aspect_ratio = Fraction(4, 3)
        context.colorspace, context.color_range, context.color_primaries, context.color_trc = 5, 1, 5, 6
        stream.set_display_rotation(90)

    frames = (frame_of("yuv420p", values("yuv420p", seed=i)) for i in range(3))
    shot = make_clip(tmp_path / "shot.mp4", frames, "libx264", prepare=tagged)
    mask = np.rot90(spot(), 1)  # as a viewer sees it
    with Clip(shot) as clip:
        assert clip.info.turns == 1
        wanted = clip.info
    harmonize_video(shot, mask, tmp_path / "out.mp4", harmonizer)
    with Clip(tmp_path / "out.mp4") as clip:
        assert clip.info.matrix == wanted.matrix
        assert clip.info.aspect == wanted.aspect == Fraction(4, 3)
        assert clip.info.tags == wanted.tags
        assert (clip.info.tags.matrix, clip.info.tags.range, clip.info.tags.primaries) == (5, 1, 5)


@pytest.mark.parametrize(
    ("degrees", "mirrored"), [(0, False), (90, False), (180, False), (270, False), (0, True), (90, True)]
)
def test_masks_and_the_network_are_upright(tmp_path, harmonizer, monkeypatch, degrees, mirrored):
    """The frame shows a light corner where a viewer sees it upper left; so does the mask, and so must the network."""

    def tagged(_, stream):
        stream.set_display_rotation(degrees, hflip=mirrored)

    high, wide = (HEIGHT, WIDTH) if degrees % 180 == 0 else (WIDTH, HEIGHT)
    shown = np.full((high, wide), 60, np.uint8)
    shown[: high // 3, : wide // 4] = 220
    # As FFmpeg shows such files: turned counter-clockwise and then mirrored, which is mirrored and turned clockwise.
    stored = np.rot90(shown, degrees // 90 if mirrored else -(degrees // 90))
    stored = np.ascontiguousarray(np.fliplr(stored) if mirrored else stored)
    frames = (frame_of("gray", [stored]) for _ in range(2))
    shot = make_clip(tmp_path / "shot.mov", frames, "png", prepare=tagged)
    seen = []
    answer = type(harmonizer).answer

    def looking(self, fitted):
        seen.append(fitted)
        return answer(self, fitted)

    monkeypatch.setattr(type(harmonizer), "answer", looking)
    mask = np.where(shown > 100, np.uint8(255), np.uint8(0))
    harmonize_video(shot, mask, tmp_path / "out.mkv", harmonizer, LOSSLESS)
    assert seen[0].image[0, 3, 3] > 0.8
    assert seen[0].mask[3, 3] == 1
    assert seen[0].image[0, -3, -3] < 0.3
    after = planes_in(tmp_path / "out.mkv")[0][0]
    assert np.array_equal(after != stored, stored > 100)


def test_what_else_is_in_the_file_is_kept(tmp_path, harmonizer):
    def more(container, stream):
        stream.metadata["timecode"] = "01:00:00:00"
        container.metadata["title"] = "A title"
        chapter = {"id": 0, "start": 0, "end": 200, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}}
        container.set_chapters([chapter])

    frames = (frame_of("yuv420p", values("yuv420p", seed=i)) for i in range(12))
    shot = make_clip(tmp_path / "shot.mov", frames, "libx264", prepare=more, sound=True)
    for resume in (False, True):
        options = VideoOptions(coding=Coding(preset="ultrafast"), resume=resume)
        report = harmonize_video(shot, spot(), tmp_path / "out.mov", harmonizer, options)
        assert not any("left out" in note for note in report.notes)
        with av.open(str(tmp_path / "out.mov")) as container:
            assert container.metadata["title"] == "A title"
            assert [c["metadata"]["title"] for c in container.chapters()] == ["One"]
            assert container.streams.video[0].metadata["timecode"] == "01:00:00:00"


def test_a_transport_stream_is_written(tmp_path, harmonizer):
    frames = (frame_of("yuv420p", values("yuv420p", seed=i)) for i in range(12))
    shot = make_clip(tmp_path / "shot.ts", frames, "libx264")
    harmonize_video(shot, spot(), tmp_path / "out.ts", harmonizer)
    times = [[f.time for f in frames_in(path)] for path in (shot, tmp_path / "out.ts")]
    assert times[0] == pytest.approx(times[1])
    assert times[0][0] > 0  # transport streams do not begin at 0


def test_sound_is_copied_bit_by_bit(tmp_path, harmonizer):
    frames = (frame_of("yuv420p", values("yuv420p", seed=i)) for i in range(24))
    shot = make_clip(tmp_path / "shot.mp4", frames, "libx264", sound=True)
    report = harmonize_video(shot, spot(), tmp_path / "out.mp4", harmonizer)
    assert report.frames == 24
    before, after = (packets_in(path, "audio") for path in (shot, tmp_path / "out.mp4"))
    assert before == after
    assert len(before) > 20


def test_masks_of_another_number_are_refused_before_the_work(tmp_path, shot, harmonizer):
    frames = (frame_of("gray", [spot()]) for _ in range(5))
    masks = make_clip(tmp_path / "mask.mkv", frames)
    with pytest.raises(HarmonyError, match=r"5 masks for the 6 frames .*; give one mask for each frame"):
        harmonize_video(shot, masks, tmp_path / "out.mkv", harmonizer, LOSSLESS)
    assert not list(tmp_path.glob("*out*"))


def test_a_clip_of_masks_is_followed(tmp_path, shot, harmonizer):
    moving = [np.roll(spot(), i * 4, 1) for i in range(6)]
    masks = make_clip(tmp_path / "mask.mkv", (frame_of("gray", [m]) for m in moving))
    harmonize_video(shot, masks, tmp_path / "out.mkv", harmonizer, LOSSLESS)
    for before, after, mask in zip(planes_in(shot), planes_in(tmp_path / "out.mkv"), moving, strict=True):
        check_outside([before], [after], mask)


def test_a_file_without_frames_is_one_sentence(tmp_path, harmonizer):
    (tmp_path / "none.mp4").write_bytes(b"")
    with pytest.raises(HarmonyError, match=r"none\.mp4 cannot be read as a clip"):
        harmonize_video(tmp_path / "none.mp4", spot(), tmp_path / "out.mp4", harmonizer)


def test_layouts_know_every_plane():
    assert layout_of("yuv410p").size_of(1, 47, 63) == (12, 16)
    with pytest.raises(HarmonyError, match="gbrpf32le cannot be harmonized"):
        layout_of("gbrpf32le")


@pytest.mark.parametrize("codec", ["mpeg2video", "mpeg4"])
def test_encoders_that_count_frames_keep_the_time_stamps(tmp_path, harmonizer, codec):
    frames = (frame_of("yuv420p", values("yuv420p", seed=i)) for i in range(12))
    shot = make_clip(tmp_path / "shot.ts", frames, "mpeg2video", Fraction(30000, 1001))
    before = [frame.time for frame in frames_in(shot)]
    for resume in (False, True):
        options = VideoOptions(coding=Coding(codec), resume=resume)
        harmonize_video(shot, spot(), tmp_path / "out.mkv", harmonizer, options)
        after = [frame.time - before[0] for frame in frames_in(tmp_path / "out.mkv")]
        np.testing.assert_allclose(after, np.subtract(before, before[0]), atol=0.001)  # Matroska's own step
    uneven = [0, 40, 50, 130, 150, 290]
    frames = (frame_of("yuv420p", values("yuv420p", seed=i)) for i in range(6))
    shot = make_clip(tmp_path / "shot.mkv", frames, "ffv1", 25, uneven, Fraction(1, 1000))
    harmonize_video(shot, spot(), tmp_path / "out.mkv", harmonizer, VideoOptions(coding=Coding(codec)))
    assert [round(frame.time * 1000) for frame in frames_in(tmp_path / "out.mkv")] == uneven


@pytest.mark.parametrize("name", ["shot.mkv", "shot.mp4", "shot.ts"])
def test_a_clip_that_begins_late_is_whole(tmp_path, harmonizer, name):
    times = [3000 + 40 * i for i in range(10)]
    frames = (frame_of("yuv420p", values("yuv420p", seed=i)) for i in range(10))
    shot = make_clip(tmp_path / name, frames, "libx264", 25, times, Fraction(1, 1000))
    harmonize_video(shot, spot(), tmp_path / f"out{shot.suffix}", harmonizer)
    before, after = frames_in(shot), frames_in(tmp_path / f"out{shot.suffix}")
    assert [f.time for f in after] == [f.time for f in before]


def _through(frames, name, setting):
    """Frames through one of FFmpeg's filters."""
    graph = None
    for frame in frames:
        if graph is None:
            graph = av.filter.Graph()
            form = {"width": frame.width, "height": frame.height, "format": frame.format}
            steps = [graph.add_buffer(**form, time_base=Fraction(1, 25)), graph.add(name, setting)]
            steps.append(graph.add("buffersink"))
            for one, other in itertools.pairwise(steps):
                one.link_to(other)
            graph.configure()
        graph.push(frame)
        yield graph.pull()


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize(("codec", "name"), [("mpeg2video", "shot.ts"), ("libx264", "shot.mp4")])
def test_fields_keep_their_order(tmp_path, harmonizer, order, codec, name):
    def prepare(container, stream):
        flags = av.codec.context.Flags
        stream.codec_context.flags |= flags.interlaced_dct | flags.interlaced_me

    frames = _through((frame_of("yuv422p", values("yuv422p", seed=i)) for i in range(5)), "setfield", order)
    shot = make_clip(tmp_path / name, frames, codec, 25, prepare=prepare)
    report = harmonize_video(shot, spot(), tmp_path / f"out{shot.suffix}", harmonizer)
    assert any("interlaced" in note for note in report.notes)
    for one in (shot, tmp_path / f"out{shot.suffix}"):
        found = frames_in(one)
        assert all(frame.interlaced_frame for frame in found)
        for frame, same in zip(found, _through(frames_in(one), "fieldorder", order), strict=True):
            np.testing.assert_array_equal(frame.to_ndarray(), same.to_ndarray())  # another order would be moved


def test_an_encoder_without_fields_says_so(tmp_path, harmonizer):
    frames = _through((frame_of("yuv422p", values("yuv422p", seed=i)) for i in range(3)), "setfield", "tff")
    flags = av.codec.context.Flags.interlaced_dct
    mark = lambda container, stream: setattr(stream.codec_context, "flags", stream.codec_context.flags | flags)  # noqa: E731
    shot = make_clip(tmp_path / "shot.mkv", frames, "libx264", 25, prepare=mark)
    options = VideoOptions(coding=Coding("libvpx-vp9"))
    report = harmonize_video(shot, spot(), tmp_path / "out.mkv", harmonizer, options)
    assert any("fields" in note and "libvpx-vp9" in note for note in report.notes)


@pytest.mark.parametrize("codec", [None, "libx265"])
@pytest.mark.parametrize(("width", "height"), [(63, 48), (64, 47)])
def test_a_size_that_halved_chroma_does_not_divide_gets_more_chroma(tmp_path, harmonizer, codec, width, height):
    frames = (frame_of("yuv420p", values("yuv420p", width, height, i), width, height) for i in range(3))
    shot, out, mask = make_clip(tmp_path / "shot.mkv", frames), tmp_path / "out.mov", spot(width, height)
    report = harmonize_video(shot, mask, out, harmonizer, VideoOptions(coding=Coding(codec)))
    assert any(f"takes no yuv420p of {width}x{height}" in note for note in report.notes)
    written = frames_in(out)
    chroma = "yuv444p" if width % 2 else "yuv422p"
    assert [(f.width, f.height, f.format.name) for f in written] == [(width, height, chroma)] * 3
    asked = VideoOptions(coding=Coding("libx264", pix_fmt="yuv420p"))
    with pytest.raises(HarmonyError, match=rf"^libx264 does not take yuv420p of {width}x{height}; it takes .*yuv444p"):
        harmonize_video(shot, mask, tmp_path / "refused.mov", harmonizer, asked)
    assert not (tmp_path / "refused.mov").exists()


def test_quicktime_gets_no_codec_that_only_mp4_has(tmp_path, harmonizer):
    frames = (frame_of("yuv420p", values("yuv420p", seed=i)) for i in range(3))
    shot = make_clip(tmp_path / "shot.webm", frames, "libvpx-vp9")
    harmonize_video(shot, spot(), tmp_path / "out.mov", harmonizer)
    with av.open(str(tmp_path / "out.mov")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
    with pytest.raises(HarmonyError, match=r"^a mov file holds no libvpx-vp9"):
        harmonize_video(shot, spot(), tmp_path / "no.mov", harmonizer, VideoOptions(coding=Coding("libvpx-vp9")))
