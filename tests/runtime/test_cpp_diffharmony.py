"""The C++ program gives Python's DiffHarmony picture for a seed, on real engines. `make cpp` builds the program."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harmonyrt.runtime import Harmonizer
from harmonyrt.runtime.diffusion import RunOptions

INSTALLED = Path(__file__).parents[2] / "build/cpp/install"
PROGRAM = INSTALLED / "bin/hrt"
# width, height, run; larger and smaller than the engines' 64 and 32 px, odd ones among them
RUNS = [
    (97, 75, RunOptions()),
    (64, 64, RunOptions(seed=2**64 - 1, sample=3, steps=5)),
    (31, 45, RunOptions(seed=12345678901234567890, steps=1)),
]


@pytest.fixture(params=["openvino", "onnxruntime"])
def backend(request) -> str:
    if not (INSTALLED / f"lib/harmonyrt/libharmonyrt_{request.param}.so").is_file() or not PROGRAM.is_file():
        pytest.skip(f"needs the C++ runtime with its {request.param} module: run make cpp")
    pytest.importorskip(request.param, reason=f"needs the {request.param} backend")
    return request.param


def environment() -> dict[str, str]:
    """The wheel's own ONNX Runtime serves the module too."""
    found = importlib.util.find_spec("onnxruntime")
    folder = Path(found.origin).parent / "capi" if found and found.origin else Path()
    library = next(folder.glob("libonnxruntime.so.*"), None)
    return {**os.environ, **({"HARMONYRT_ONNXRUNTIME": str(library)} if library else {})}


def pair(width: int, height: int) -> tuple[Image.Image, Image.Image]:
    """A smooth picture with a soft disc as its mask."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    planes = [127 + 110 * np.sin(x / 17 + p) * np.cos(y / 13 - p) for p in (0.2, 1.1, 2.3)]
    distance = np.hypot((x - width / 2) / width, (y - height / 2) / height)
    cover = np.clip((0.36 - distance) * 12, 0, 1) * 255
    return Image.fromarray(np.stack(planes, -1).astype(np.uint8)), Image.fromarray(cover.astype(np.uint8))


@pytest.mark.parametrize("kind", ["kl", "harmony"])
def test_a_seed_gives_the_picture_that_python_gives(kind, backend, diffharmony_bundles, tmp_path):
    files = [str(tmp_path / name) for name in ("composite.png", "mask.png", "output.png")]
    with Harmonizer.open(diffharmony_bundles[kind], backend=backend, threads=1) as harmonizer:
        for width, height, run in RUNS:
            composite, mask = pair(width, height)
            composite.save(files[0])
            mask.save(files[1])
            command = [str(PROGRAM), str(diffharmony_bundles[kind]), *files, "--backend", backend, "--threads", "1"]
            command += ["--seed", str(run.seed), "--sample", str(run.sample)]
            command += ["--steps", str(run.steps)] if run.steps else []
            done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600, check=False)
            assert done.returncode == 0, done.stderr
            parts = (run.steps or 2) + 3
            assert f"{parts} of {parts} parts done" in done.stderr
            found = np.asarray(Image.open(files[2])).astype(int)
            expected = np.asarray(harmonizer.harmonize(composite, mask, options=run)).astype(int)
            assert np.abs(found - expected).max() <= 1
            outside = np.asarray(mask) == 0
            assert np.array_equal(found[outside], np.asarray(composite)[outside])
            assert not np.array_equal(found, np.asarray(composite))


def test_steps_that_the_bundle_lacks_are_a_sentence(diffharmony_bundles, backend, tmp_path):
    files = [str(tmp_path / name) for name in ("composite.png", "mask.png", "output.png")]
    for image, file in zip(pair(20, 20), files[:2], strict=True):
        image.save(file)
    command = [str(PROGRAM), str(diffharmony_bundles["kl"]), *files, "--backend", backend, "--steps", "3"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 2
    assert "steps 3 are not in this bundle, which has 1, 2, 5; build it with --steps 3" in done.stderr
    assert not Path(files[2]).exists()
