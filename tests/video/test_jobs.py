"""Whole jobs: parts, interruptions, pipes, pasted foregrounds, damage."""

import signal
from fractions import Fraction
from io import BytesIO

import numpy as np
import pytest

from fakes.clips import HEIGHT, WIDTH, frame_of, frames_in, make_clip, packets_in, planes_in, spot, values
from harmonyrt.common import HarmonyError, WorkFailed
from harmonyrt.video import (
    Coding,
    PastingClip,
    RawClip,
    RawSink,
    Span,
    VideoOptions,
    harmonize_video,
    harmonized_frames,
)
from harmonyrt.video import segments as segments_module
from harmonyrt.video.colours import Tags
from harmonyrt.video.pixel_formats import layout_of
from harmonyrt.video.writing import Writer

LOSSLESS = Coding("ffv1")


def noisy(count, pix_fmt="yuv420p"):
    return (frame_of(pix_fmt, values(pix_fmt, seed=i)) for i in range(count))


def interrupt_after(frames):
    """Progress that is Ctrl-C at a frame."""

    def progress(done, total):
        if done >= frames:
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_job_leaves_nothing(tmp_path, harmonizer):
    shot = make_clip(tmp_path / "shot.mkv", noisy(20))
    with pytest.raises(KeyboardInterrupt):
        harmonize_video(shot, spot(), tmp_path / "out.mkv", harmonizer, progress=interrupt_after(5))
    assert [p.name for p in tmp_path.iterdir()] == ["shot.mkv"]


def test_an_interrupted_job_leaves_whole_frames_where_that_is_asked(tmp_path, harmonizer):
    shot = make_clip(tmp_path / "shot.mkv", noisy(20))
    options = VideoOptions(coding=Coding("libx264"), keep_partial=True)
    report = harmonize_video(shot, spot(), tmp_path / "out.mp4", harmonizer, options, interrupt_after(5))
    assert report.interrupted
    assert report.frames == len(frames_in(tmp_path / "out.mp4")) == 5


def test_a_resumed_job_ends_as_if_nothing_had_happened(tmp_path, harmonizer, monkeypatch):
    monkeypatch.setattr(segments_module, "FRAMES", 4)
    shot = make_clip(tmp_path / "shot.mkv", noisy(18), sound=True)
    moving = (frame_of("gray", [np.roll(spot(), i, 1)]) for i in range(18))
    masks = make_clip(tmp_path / "mask.mkv", moving)
    whole = VideoOptions(coding=LOSSLESS)
    harmonize_video(shot, masks, tmp_path / "whole.mkv", harmonizer, whole)

    parts = VideoOptions(coding=LOSSLESS, resume=True)
    with pytest.raises(KeyboardInterrupt):
        harmonize_video(shot, masks, tmp_path / "out.mkv", harmonizer, parts, interrupt_after(10))
    assert not (tmp_path / "out.mkv").exists()
    assert (tmp_path / "out.mkv.parts").is_dir()
    report = harmonize_video(shot, masks, tmp_path / "out.mkv", harmonizer, parts)
    assert (report.frames, report.harmonized) == (18, 8)
    assert not (tmp_path / "out.mkv.parts").exists()
    for before, after in zip(planes_in(tmp_path / "whole.mkv"), planes_in(tmp_path / "out.mkv"), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert [f.time for f in frames_in(tmp_path / "out.mkv")] == [f.time for f in frames_in(tmp_path / "whole.mkv")]
    assert packets_in(shot, "audio") == packets_in(tmp_path / "out.mkv", "audio")


@pytest.mark.parametrize("where", ["_mux", "close"])
@pytest.mark.parametrize("resume", [False, True])
def test_ctrl_c_in_the_middle_of_an_encoder_loses_no_frame(tmp_path, harmonizer, monkeypatch, where, resume):
    monkeypatch.setattr(segments_module, "FRAMES", 6)
    shot = make_clip(tmp_path / "shot.mkv", noisy(9))
    calls, work = [], getattr(Writer, where)

    def interrupted(writer, *arguments):
        calls.append(where)
        if len(calls) == (4 if where == "_mux" else 1):
            signal.raise_signal(signal.SIGINT)
        return work(writer, *arguments)

    monkeypatch.setattr(Writer, where, interrupted)
    options = VideoOptions(coding=LOSSLESS, resume=resume, keep_partial=not resume)
    if resume:
        with pytest.raises(KeyboardInterrupt):
            harmonize_video(shot, spot(), tmp_path / "out.mkv", harmonizer, options)
    report = harmonize_video(shot, spot(), tmp_path / "out.mkv", harmonizer, options)
    found = frames_in(tmp_path / "out.mkv")
    assert len(found) == report.frames
    assert [frame.time for frame in found] == [frame.time for frame in frames_in(shot)][: report.frames]
    assert report.frames == (4 if (where, resume) == ("_mux", False) else 9)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_parts_with_b_frames_join_without_a_seam(tmp_path, harmonizer, monkeypatch, codec):
    monkeypatch.setattr(segments_module, "FRAMES", 7)
    times = [i * 10 + (i % 3) for i in range(20)]
    shot = make_clip(tmp_path / "shot.mkv", noisy(20), "ffv1", 25, times, Fraction(1, 1000))
    options = VideoOptions(coding=Coding(codec, preset="fast"), resume=True)
    harmonize_video(shot, spot(), tmp_path / "out.mp4", harmonizer, options)
    assert [round(f.time * 1000) for f in frames_in(tmp_path / "out.mp4")] == times


def test_the_parts_of_another_job_are_refused(tmp_path, harmonizer):
    shot = make_clip(tmp_path / "shot.mkv", noisy(12))
    options = VideoOptions(coding=LOSSLESS, resume=True)
    with pytest.raises(KeyboardInterrupt):
        harmonize_video(shot, spot(), tmp_path / "out.mkv", harmonizer, options, interrupt_after(4))
    options = VideoOptions(coding=LOSSLESS, resume=True, strength=0.5)
    with pytest.raises(HarmonyError, match=r"another job \(its options differ\); give the same options, or remove it"):
        harmonize_video(shot, spot(), tmp_path / "out.mkv", harmonizer, options)


def raw(pix_fmt, count):
    """Bare frames, as FFmpeg's rawvideo has them."""
    data = b""
    for i in range(count):
        planes, layout = values(pix_fmt, seed=i), layout_of(pix_fmt)
        if pix_fmt == "rgb24":
            data += np.stack(planes, -1).astype(np.uint8).tobytes()
        else:
            order = (1, 2, 0) if pix_fmt.startswith("gbrp") else range(len(planes))
            data += b"".join(planes[k].astype(layout.dtype).tobytes() for k in order)
    return data


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "rgb24", "gbrp"])
def test_bare_frames_go_through_a_pipe(harmonizer, pix_fmt):
    given, out = raw(pix_fmt, 3), BytesIO()
    clip = RawClip(BytesIO(given), WIDTH, HEIGHT, pix_fmt, Fraction(25), Tags(1, 1))
    report = harmonize_video(clip, spot(), RawSink(out, pix_fmt), harmonizer)
    assert report.frames == 3
    assert len(out.getvalue()) == len(given)
    assert out.getvalue() != given
    unchanged = BytesIO()
    clip = RawClip(BytesIO(given), WIDTH, HEIGHT, pix_fmt, Fraction(25), Tags(1, 1))
    harmonize_video(clip, np.zeros((HEIGHT, WIDTH), np.uint8), RawSink(unchanged, pix_fmt), harmonizer)
    assert unchanged.getvalue() == given


def test_a_pipe_that_ends_inside_a_frame_is_an_error(harmonizer):
    clip = RawClip(BytesIO(raw("yuv420p", 2)[:-5]), WIDTH, HEIGHT, "yuv420p", Fraction(25), Tags(1, 1))
    with pytest.raises(WorkFailed, match="the pipe ends inside frame 1: 4603 of 4608 bytes came"):
        harmonize_video(clip, spot(), RawSink(BytesIO(), "yuv420p"), harmonizer)


@pytest.mark.parametrize(
    ("pix_fmt", "codec", "name"),
    [
        ("yuva444p10le", "prores_ks", "fg.mov"),
        ("yuva420p", "libvpx-vp9", "fg.webm"),
        ("rgba", "png", "fg.mov"),
        ("argb", "qtrle", "fg.mov"),
    ],
)
def test_a_foreground_goes_on_a_background(tmp_path, harmonizer, pix_fmt, codec, name):
    def cutout(seed):
        planes, layout = values(pix_fmt, seed=seed), layout_of(pix_fmt)
        return frame_of(pix_fmt, [*planes[:3], spot().astype(int) << (layout.bits - 8)])

    options = {"auto-alt-ref": "0", "crf": "2", "b": "0"} if codec == "libvpx-vp9" else {}
    foreground = make_clip(tmp_path / name, (cutout(i) for i in range(4)), codec, options=options)
    background = make_clip(tmp_path / "bg.mkv", (frame_of("yuv420p", values("yuv420p", seed=50)) for _ in range(4)))
    with PastingClip(background, foreground) as clip:
        report = harmonize_video(clip, None, tmp_path / "out.mkv", harmonizer, VideoOptions(coding=LOSSLESS))
    assert report.frames == 4
    before, after = (planes_in(path)[1][0].astype(int) for path in (background, tmp_path / "out.mkv"))
    outside = np.roll(spot() > 0, 0) == 0
    if codec != "libvpx-vp9":  # whose alpha is lossy
        assert np.array_equal(before[outside], after[outside])
    assert np.abs(before - after)[spot() > 250].mean() > 5


def test_a_foreground_of_another_length_or_place_is_a_sentence(tmp_path, harmonizer):
    frames = (frame_of("rgba", [*values("rgba")[:3], spot()]) for _ in range(3))
    foreground = make_clip(tmp_path / "fg.mov", frames, "png")
    background = make_clip(tmp_path / "bg.mkv", noisy(5))
    with PastingClip(background, foreground) as clip, pytest.raises(HarmonyError, match=r"has 3 frames and .* has 5"):
        harmonize_video(clip, None, tmp_path / "out.mkv", harmonizer)
    short = make_clip(tmp_path / "short.mkv", noisy(3))
    with PastingClip(short, foreground, (500, 0)) as clip, pytest.raises(HarmonyError, match="outside the background"):
        harmonize_video(clip, None, tmp_path / "out.mkv", harmonizer)
    opaque = make_clip(tmp_path / "opaque.mkv", noisy(3))
    with pytest.raises(HarmonyError, match="has no alpha"):
        PastingClip(short, opaque)


def test_alpha_is_the_mask_and_stays(tmp_path, harmonizer):
    frames = (frame_of("yuva444p10le", [*values("yuva444p10le", seed=i)[:3], spot().astype(int) * 4]) for i in range(3))
    shot = make_clip(tmp_path / "shot.mkv", frames)
    harmonize_video(shot, None, tmp_path / "out.mkv", harmonizer, VideoOptions(coding=LOSSLESS))
    for before, after in zip(planes_in(shot), planes_in(tmp_path / "out.mkv"), strict=True):
        assert np.array_equal(before[3], after[3])
        assert np.array_equal(before[0][spot() == 0], after[0][spot() == 0])
        assert (before[0] != after[0])[spot() > 200].mean() > 0.9


def test_a_part_of_a_clip_begins_at_nought(tmp_path, harmonizer):
    shot = make_clip(tmp_path / "shot.mkv", noisy(48), sound=True)
    options = VideoOptions(coding=LOSSLESS, span=Span(0.5, 1.0))
    harmonize_video(shot, np.zeros((HEIGHT, WIDTH), np.uint8), tmp_path / "out.mkv", harmonizer, options)
    before, after = planes_in(shot)[12:24], planes_in(tmp_path / "out.mkv")
    assert len(after) == 12
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(before, after, strict=True))
    assert frames_in(tmp_path / "out.mkv")[0].time == pytest.approx(0, abs=0.001)
    sound = packets_in(tmp_path / "out.mkv", "audio")
    assert 0 <= sound[0][0] < 50_000
    assert 400_000 < sound[-1][0] < 500_000


def test_a_preview_shows_both_side_by_side(tmp_path, harmonizer):
    shot = make_clip(tmp_path / "shot.mkv", noisy(3))
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    harmonize_video(shot, mask, tmp_path / "out.mp4", harmonizer, VideoOptions(preview=True))
    frame = frames_in(tmp_path / "out.mp4")[0]
    assert (frame.width, frame.height) == (2 * WIDTH, HEIGHT)
    luma = layout_of(frame.format.name).planes(frame)[0].astype(float) - 16
    assert luma[:, WIDTH:].mean() / luma[:, :WIDTH].mean() == pytest.approx(0.9, abs=0.02)


def test_a_truncated_file_is_an_error_or_gives_what_it_has(tmp_path, harmonizer):
    shot = make_clip(tmp_path / "shot.mkv", noisy(30), "libx264")
    data = shot.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(WorkFailed, match="ends early"):
        harmonize_video(cut, spot(), tmp_path / "out.mkv", harmonizer)
    assert not (tmp_path / "out.mkv").exists()
    report = harmonize_video(cut, spot(), tmp_path / "out.mkv", harmonizer, VideoOptions(keep_failed=True))
    assert 5 < report.frames < 30
    assert any("ends early" in note for note in report.notes)
    assert len(frames_in(tmp_path / "out.mkv")) == report.frames


def test_a_file_without_its_index_cannot_be_read(tmp_path, harmonizer):
    shot = make_clip(tmp_path / "shot.mp4", noisy(30), "libx264")
    (tmp_path / "cut.mp4").write_bytes(shot.read_bytes()[:2000])
    with pytest.raises(HarmonyError, match=r"cut\.mp4 (cannot be read|has no moving pictures)"):
        harmonize_video(tmp_path / "cut.mp4", spot(), tmp_path / "out.mp4", harmonizer)


def test_a_frame_that_fails_stops_the_work_or_stays_as_it_was(tmp_path, harmonizer, monkeypatch):
    shot = make_clip(tmp_path / "shot.mkv", noisy(6))
    calls = []
    answer = type(harmonizer).answer

    def sometimes(self, fitted):
        calls.append(0)
        if len(calls) % 6 == 3:
            raise WorkFailed("the engine gave values that are not finite")
        return answer(self, fitted)

    monkeypatch.setattr(type(harmonizer), "answer", sometimes)
    options = VideoOptions(coding=LOSSLESS)
    with pytest.raises(WorkFailed, match="frame 2: the engine gave values"):
        harmonize_video(shot, spot(), tmp_path / "out.mkv", harmonizer, options)
    assert not (tmp_path / "out.mkv").exists()
    calls.clear()
    options = VideoOptions(coding=LOSSLESS, keep_failed=True)
    report = harmonize_video(shot, spot(), tmp_path / "out.mkv", harmonizer, options)
    assert len(report.failed) == 1
    before, after = planes_in(shot), planes_in(tmp_path / "out.mkv")
    assert [np.array_equal(a[0], b[0]) for a, b in zip(before, after, strict=True)] == [False] * 2 + [True] + [
        False
    ] * 3


@pytest.mark.parametrize(("transfer", "name"), [(16, r"HDR \(PQ\)"), (18, r"HDR \(HLG\)"), (8, "linear light")])
def test_hdr_is_refused_in_a_sentence(tmp_path, harmonizer, transfer, name):
    def tagged(_, stream):
        stream.codec_context.color_trc, stream.codec_context.colorspace = transfer, 9
        stream.codec_context.color_primaries = 9

    shot = make_clip(tmp_path / "shot.mkv", noisy(2, "yuv420p10le"), prepare=tagged)
    with pytest.raises(HarmonyError, match=rf"is in {name}.*convert it to SDR"):
        harmonize_video(shot, spot(), tmp_path / "out.mkv", harmonizer)


def test_frames_come_one_by_one(tmp_path, harmonizer):
    shot = make_clip(tmp_path / "shot.mkv", noisy(5))
    frames = list(harmonized_frames(shot, spot(), harmonizer))
    assert [f.index for f in frames] == [0, 1, 2, 3, 4]
    assert frames[3].seconds == pytest.approx(3 / 24, abs=0.001)
    assert frames[0].to_rgb().shape == (HEIGHT, WIDTH, 3)
