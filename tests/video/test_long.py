"""A long clip: memory does not depend on its length."""

import numpy as np
import pytest

from fakes.clips import frame_of, make_clip, spot, values
from harmonyrt.video import Coding, VideoOptions, harmonize_video

FRAMES = 10_000


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.slow
def test_ten_thousand_frames_without_growth(tmp_path, harmonizer):
    frames = [frame_of("yuv420p", values("yuv420p", seed=i)) for i in range(5)]
    long = (frames[i // 500 % 5] for i in range(FRAMES))
    shot = make_clip(tmp_path / "shot.mkv", long, "libx264", options={"preset": "ultrafast"})
    seen: list[int] = []

    def progress(done, total):
        if done % 1000 == 0:
            seen.append(resident())

    options = VideoOptions(coding=Coding("libx264", preset="ultrafast"))
    report = harmonize_video(shot, spot(), tmp_path / "out.mkv", harmonizer, options, progress)
    assert report.frames == FRAMES
    assert max(seen[2:]) - seen[1] < 24 << 20, np.array(seen) >> 20
