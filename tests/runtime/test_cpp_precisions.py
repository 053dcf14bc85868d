"""The C++ program takes the same engine of a bundle of several precisions as Python, by the same measurement.

tests/vectors/select.json holds both to one order; here both read, and write, one cache.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harmonyrt.runtime import Harmonizer, cpu_speed, native
from harmonyrt.runtime.compiled_cache import CompiledCache

INSTALLED = Path(os.environ.get("HARMONYRT_CPP", Path(__file__).parents[2] / "build/cpp/install"))
PROGRAM = INSTALLED / "bin/hrt"


@pytest.fixture
def bundle(static_bundle, altered):
    """A bundle with its OpenVINO engine as INT8 and FP32."""

    def change(manifest):
        engine = next(e for e in manifest["engines"] if e["target"] == "openvino")
        manifest.update(schema=2, engines=[{**engine, "precision": "int8"}, engine])

    return altered(static_bundle, change)


@pytest.fixture
def opened(bundle, tmp_path, monkeypatch):
    """opened("--precision", "fastest") -> what `hrt` says; the user's cache is an empty folder."""
    if not PROGRAM.is_file() or not (INSTALLED / "lib/harmonyrt/libharmonyrt_openvino.so").is_file():
        pytest.skip("needs the C++ runtime with its openvino module: run make cpp")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(cpu_speed.SWITCH, raising=False)
    kernels = native.library("openvino")  # each looks in a place of its own, and what is kept is of one build of them
    monkeypatch.setenv(native.VARIABLE, str(kernels or tmp_path))
    pair = [tmp_path / "composite.png", tmp_path / "mask.png"]
    Image.fromarray(np.full((41, 53, 3), 120, np.uint8)).save(pair[0])
    Image.fromarray(np.pad(np.full((20, 20), 255, np.uint8), ((10, 11), (10, 23)))).save(pair[1])

    def opened(*more, code=0, **environment):
        command = [PROGRAM, bundle, *pair, tmp_path / "output.png", "--threads", "1", *more]
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, timeout=300,
            env={**os.environ, **environment}, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stderr + done.stdout

    return opened


def keep(times):
    """Write what Python would have measured into the user's cache."""
    openvino = pytest.importorskip("openvino")
    content = {"cpu": "a CPU", "library": openvino.__version__, "milliseconds": times, "copy_gb_per_s": 10.0}
    CompiledCache.at(None).write(cpu_speed._key(openvino), lambda file: file.write(json.dumps(content).encode()))


@pytest.mark.parametrize(("int8", "fastest"), [(2.0, "int8"), (30.0, "fp32")])
def test_both_follow_what_python_measured(opened, bundle, int8, fastest):
    keep({"fp32": 10.0, "int8": int8})
    for options, precision in (((), "fp32"), (("--precision", "fastest"), fastest), (("--precision", "int8"), "int8")):
        said = opened(*options)
        assert f"with openvino {precision} on cpu" in said
        assert ("its fp32 engine is faster here" in said) == (precision == "int8" and int8 > 10)
        asked = options[-1] if options else None
        with Harmonizer.open(bundle, precision=asked, device="cpu", threads=1) as harmonizer:
            assert harmonizer.info.precision == precision


def test_nothing_is_measured_where_that_is_switched_off(opened):
    pytest.importorskip("openvino")
    assert "with openvino fp32 on cpu" in opened("--precision", "fastest", HARMONYRT_MEASURE="0")
    assert cpu_speed.kept() is None


@pytest.mark.slow
def test_python_reads_what_the_program_measured(opened):
    pytest.importorskip("openvino")
    opened()
    found = cpu_speed.kept()
    assert found is not None
    assert {"fp32", "fp32 winograd"} <= found.milliseconds.keys()
    assert ("fp32 native" in found.milliseconds) == (native.why_not(native.NEEDED["fp32"]) is None)
    assert found.cpu == cpu_speed.cpu_model_and_flags()[0]


@pytest.mark.parametrize(
    ("precision", "sentence"),
    [
        ("bf16", "precision bf16: found openvino int8, openvino fp32"),
        ("half", "'half' is not known; give one of fp32, fp16, bf16, int8, or fastest"),
    ],
)
def test_what_is_not_there_is_one_sentence(opened, precision, sentence):
    said = opened("--precision", precision, code=2)
    assert sentence in said
    assert len(said.splitlines()) == 1
