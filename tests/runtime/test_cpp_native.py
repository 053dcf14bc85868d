"""The C++ program loads the native kernels where an engine needs them, as Python does."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harmonyrt.runtime import Harmonizer, native

INSTALLED = Path(os.environ.get("HARMONYRT_CPP", Path(__file__).parents[2] / "build/cpp/install"))
PROGRAM = INSTALLED / "bin/hrt"

pytest.importorskip("openvino")
pytestmark = pytest.mark.skipif(
    not PROGRAM.is_file() or not (INSTALLED / "lib/harmonyrt/libharmonyrt_openvino.so").is_file(),
    reason="needs the C++ runtime with its openvino module: run make cpp",
)


def harmonize(bundle, tmp_path, library):
    rng = np.random.default_rng(0)
    composite, mask = rng.integers(0, 256, (41, 53, 3), np.uint8), np.zeros((41, 53), np.uint8)
    mask[9:30, 12:40] = 255
    files = [tmp_path / f"{name}.png" for name in ("composite", "mask", "output")]
    Image.fromarray(composite).save(files[0])
    Image.fromarray(mask).save(files[1])
    command = [PROGRAM, bundle, *files, "--backend", "openvino", "--target", "openvino", "--threads", "1"]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True,
        env={**os.environ, native.VARIABLE: str(library)}, timeout=120,
    )  # fmt: skip
    return done, composite, mask, files[2]


@pytest.fixture
def needing(static_bundle, tmp_path):
    """A bundle whose OpenVINO engine says that it needs a version of the native kernels."""

    def make(version):
        bundle = tmp_path / f"bundle-{version}"
        shutil.copytree(static_bundle, bundle)
        path = bundle / "manifest.json"
        manifest = json.loads(path.read_text())
        for engine in manifest["engines"]:
            engine["needs"] = {native.NEED: version}
        path.write_text(json.dumps(manifest))
        return bundle

    return make


@pytest.mark.parametrize(("version", "said"), [(native.VERSION, "run make native"), ("99", "of version 99")])
def test_what_is_missing_is_one_sentence_with_what_to_do(needing, tmp_path, version, said):
    done, *_, output = harmonize(needing(version), tmp_path, tmp_path / "none.so")
    assert done.returncode == 2
    assert said in done.stderr
    assert not output.exists()


@pytest.mark.skipif(native.library() is None, reason="needs the kernels in C++: run make native")
def test_with_the_kernels_it_gives_pythons_picture(needing, tmp_path):
    bundle = needing(native.VERSION)
    done, composite, mask, output = harmonize(bundle, tmp_path, native.library())
    assert done.returncode == 0, done.stderr
    with Harmonizer.open(bundle, backend="openvino", target="openvino", threads=1) as harmonizer:
        expected = harmonizer.harmonize(composite, mask)
    np.testing.assert_array_equal(np.asarray(Image.open(output)), expected)
