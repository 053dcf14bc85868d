"""`harmonyrt video`: files and pipes, and every wrong use is one sentence."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from fakes.clips import HEIGHT, WIDTH, frame_of, frames_in, make_clip, spot, values


@pytest.fixture
def clips(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "shot.mkv", (frame_of("yuv420p", values("yuv420p", seed=i)) for i in range(8)), sound=True)
    make_clip(tmp_path / "mask.mkv", (frame_of("gray", [spot()]) for _ in range(8)))
    Image.fromarray(spot()).save("mask.png")
    (tmp_path / "masks").mkdir()
    for i in range(8):
        Image.fromarray(spot()).save(f"masks/{i + 5}.png")  # 5 to 12: not in the alphabet's order
    return tmp_path


@pytest.mark.parametrize("mask", ["mask.mkv", "mask.png", "masks"])
def test_a_clip_with_masks_of_each_kind(clips, run, bundle, mask):
    ended = run("video", "shot.mkv", "--mask", mask, "-o", "out.mp4", "--bundle", bundle, "--codec", "libx264")
    assert (ended.code, ended.out) == (0, "out.mp4\n")
    assert "note: shot.mkv names no colour matrix; it is taken as BT.601, by its size" in ended.err
    assert "harmonized 8 frames at " in ended.err
    assert len(frames_in(clips / "out.mp4")) == 8


def test_json_tells_what_was_done(clips, run, bundle):
    ended = run("video", "shot.mkv", "--mask", "mask.png", "-o", "out.mkv", "--bundle", bundle, "--json")
    result = json.loads(ended.out)["result"]
    assert (result["frames"], result["cuts"], result["failed"]) == (8, 0, [])
    assert json.loads(ended.out)["engine"]["precision"] == "fp32"


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["shot.mkv", "-o", "out.mp4"], "no mask was given"),
    (["shot.mkv", "--mask", "mask.png"], "no output was given"),
    (["--mask", "mask.png", "-o", "out.mp4"], "no shot was given"),
    (["shot.mkv", "--mask", "mask.png", "-o", "shot.mkv"], "is the input shot.mkv"),
    (["shot.mkv", "--mask", "mask.png", "--alpha-mask", "-o", "out.mp4"], "give one"),
    (["shot.mkv", "--alpha-mask", "-o", "out.mp4"], "has no alpha (yuv420p); give a mask"),
    (["none.mkv", "--mask", "mask.png", "-o", "out.mp4"], "there is no file none.mkv"),
    (["mask.png", "--mask", "mask.png", "-o", "out.txt"], "its suffix chooses the container"),
    (["shot.mkv", "--mask", "none.png", "-o", "out.mp4"], "none.png"),
    (["shot.mkv", "--mask", "mask.png", "-o", "out.mp4", "--strength", "2"], "the strength is 2"),
    (["shot.mkv", "--mask", "mask.png", "-o", "out.mp4", "--steady", "-1"], "the steadiness is -1"),
    (["shot.mkv", "--mask", "mask.png", "-o", "out.mp4", "--start", "2:xx"], "--start 2:xx is no time"),
    (["shot.mkv", "--mask", "mask.png", "-o", "out.mp4", "--start", "3", "--end", "2"], "hold nothing"),
    (["shot.mkv", "--mask", "mask.png", "-o", "out.mp4", "--start", "9"], "has no frames there (it has 8)"),
    (["shot.mkv", "--mask", "mask.png", "-o", "out.mp4", "--codec", "nonesuch"], "there is no encoder nonesuch"),
    (["shot.mkv", "--mask", "mask.png", "-o", "out.webm", "--codec", "libx264"], "holds no libx264"),
    (["shot.mkv", "--mask", "mask.png", "-o", "out.mp4", "--codec", "mpeg4", "--crf", "3"], "has no quality scale"),
    (["shot.mkv", "--mask", "mask.png", "-o", "out.mkv", "--codec", "ffv1", "--pix-fmt", "uyvy422"], "take uyvy422"),
    (["shot.mkv", "--mask", "mask.png", "-o", "nowhere/out.mp4"], "cannot write nowhere/out.mp4"),
    (["-", "--mask", "mask.png", "-o", "out.mp4"], "give --size"),
    (["-", "--mask", "mask.png", "-o", "out.mp4", "--size", "big"], "--size big is no size"),
    (["--foreground", "shot.mkv", "-o", "out.mp4"], "go together"),
    (["--foreground", "shot.mkv", "--background", "shot.mkv", "-o", "out.mp4"], "has no alpha"),
])  # fmt: skip
def test_wrong_use_is_one_sentence(clips, run, bundle, arguments, sentence):
    before = {p.name for p in clips.iterdir()}
    ended = run("video", *arguments, "--bundle", bundle)
    assert ended.code == 2
    errors = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert any(part in errors[0] for part in sentence.split("|")), errors
    assert {p.name for p in clips.iterdir()} == before


def test_existing_outputs_are_skipped_or_refused(clips, run, bundle):
    (clips / "out.mp4").write_bytes(b"kept")
    given = ("video", "shot.mkv", "--mask", "mask.png", "-o", "out.mp4", "--bundle", bundle, "--existing")
    assert run(*given, "skip").code == 0
    assert run(*given, "refuse").code == 2
    assert (clips / "out.mp4").read_bytes() == b"kept"


def test_frames_go_through_stdin_and_stdout(clips, bundle):
    planes = values("yuv420p")
    frame = b"".join(p.astype(np.uint8).tobytes() for p in planes)
    command = [sys.executable, "-m", "harmonyrt.cli", "video", "-", "--size", f"{WIDTH}x{HEIGHT}", "--rate", "25"]
    command += ["--mask", "mask.png", "-o", "-", "--bundle", str(bundle), "--ahead", "0"]
    done = subprocess.run(command, input=frame * 3, capture_output=True, cwd=clips)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) == 3 * len(frame)
    luma = np.frombuffer(done.stdout[: WIDTH * HEIGHT], np.uint8).reshape(HEIGHT, WIDTH)
    assert np.array_equal(luma[spot() == 0], planes[0].astype(np.uint8)[spot() == 0])
    assert (luma != planes[0])[spot() == 255].all()


@pytest.mark.alone
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_clip_leaves_nothing(clips, bundle, number, code):
    frames = (frame_of("yuv420p", values("yuv420p", seed=i % 3)) for i in range(500))
    make_clip(clips / "long.mkv", frames)
    before = {p.name for p in clips.iterdir()}
    command = [sys.executable, "-m", "harmonyrt.cli", "video", "long.mkv", "--mask", "mask.png", "-o", "out.mp4"]
    with subprocess.Popen([*command, "--bundle", str(bundle)], cwd=clips, stderr=subprocess.PIPE, text=True) as process:
        limit = time.monotonic() + 60
        while not any(p.stat().st_size > 2000 for p in clips.glob(".out.*")) and time.monotonic() < limit:
            time.sleep(0.05)
        process.send_signal(number)
        told = process.communicate(timeout=60)[1]
    assert process.returncode == code, told
    assert {p.name for p in clips.iterdir()} == before
    assert "Traceback" not in told
