"""The C++ program loads the native kernels where an engine needs them, as Python does."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakes import native_engines
from harmonyrt.runtime import Harmonizer, native

INSTALLED = Path(os.environ.get("HARMONYRT_CPP", Path(__file__).parents[2] / "build/cpp/install"))
PROGRAM = INSTALLED / "bin/hrt"


@pytest.fixture(params=["openvino", "onnxruntime"])
def backend(request):
    pytest.importorskip(request.param)
    if not PROGRAM.is_file() or not (INSTALLED / f"lib/harmonyrt/libharmonyrt_{request.param}.so").is_file():
        pytest.skip(f"needs the C++ runtime with its {request.param} module: run make cpp")
    return request.param


def harmonize(bundle, tmp_path, library, backend):
    rng = np.random.default_rng(0)
    composite, mask = rng.integers(0, 256, (41, 53, 3), np.uint8), np.zeros((41, 53), np.uint8)
    mask[9:30, 12:40] = 255
    files = [tmp_path / f"{name}.png" for name in ("composite", "mask", "output")]
    Image.fromarray(composite).save(files[0])
    Image.fromarray(mask).save(files[1])
    environ = {**native_engines.environment(), native.VARIABLE: str(library), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [PROGRAM, bundle, *files, "--backend", backend, "--threads", "1"]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True,
        env=environ, timeout=300,
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
def test_what_is_missing_is_one_sentence_with_what_to_do(needing, tmp_path, version, said, backend):
    done, *_, output = harmonize(needing(version), tmp_path, tmp_path / "none.so", backend)
    assert done.returncode == 2
    assert said in done.stderr
    assert not output.exists()


def test_libraries_of_another_version_are_told_as_python_tells_them(needing, tmp_path, backend, monkeypatch):
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    monkeypatch.setattr(native, "cpu_model_and_flags", lambda: ("a CPU", frozenset({"avx2", "fma"})))
    library = tmp_path / f"libharmonyrt_native_{backend}.so"
    monkeypatch.setenv(native.VARIABLE, str(library))
    for version, function in (("2", ""), ("2", "int harmonyrt_native_version(void) { return 1; }")):
        library.unlink(missing_ok=True)
        command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
        subprocess.run(command, input=function, text=True, check=True)
        bundle = needing(version)
        done, *_, output = harmonize(bundle, tmp_path, library, backend)
        assert done.returncode == 2
        assert f"it needs native kernels of version 2, and {library} has version 1: run make native" in done.stderr
        assert f"it needs native kernels of version 2, and {library} has version 1" in native.why_not(version, backend)
        assert not output.exists()
        shutil.rmtree(bundle)


def test_with_the_kernels_it_gives_pythons_picture(tmp_path, backend):
    if native.library(backend) is None:
        pytest.skip("needs the kernels in C++: run make native")
    bundle = native_engines.bundle_of(native_engines.small_graph(), backend, tmp_path / "bundle")
    done, composite, mask, output = harmonize(bundle, tmp_path, native.library(backend), backend)
    assert done.returncode == 0, done.stderr
    with Harmonizer.open(bundle, backend=backend, threads=1, cache="") as harmonizer:
        assert harmonizer.info.native
        expected = harmonizer.harmonize(composite, mask)
    np.testing.assert_array_equal(np.asarray(Image.open(output)), expected)
    assert not (tmp_path / "cache").exists()  # a native engine compiles as fast as its copy would be read


def test_the_plain_engine_stands_by_and_is_announced(tmp_path, backend):
    if native.library(backend) is None:
        pytest.skip("needs the kernels in C++: run make native")
    both = native_engines.bundle_of(native_engines.small_graph(), backend, tmp_path / "both")
    plain = native_engines.bundle_of(native_engines.small_graph(rewritten=False), backend, tmp_path / "plain")
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in (plain, both)]
    for file in manifests[0]["engines"][0]["files"]:
        (plain / file["path"]).rename(both / f"plain-{file['path']}")
        file["path"] = f"plain-{file['path']}"
    manifests[1]["engines"] += manifests[0]["engines"]
    (both / "manifest.json").write_text(json.dumps(manifests[1]))
    done, *_, output = harmonize(both, tmp_path, tmp_path / "none.so", backend)
    assert done.returncode == 0, done.stderr
    assert f"warning: {backend} ({native_engines.TARGET[backend]} fp32, " in done.stderr
    assert "slower than with native kernels: it needs the native kernels" in done.stderr
    assert output.exists()
