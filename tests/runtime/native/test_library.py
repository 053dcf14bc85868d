"""Where the fused kernels are looked for, and what is said when there are none, or others than an engine needs."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from harmonyrt.runtime import native
from harmonyrt.runtime.native.library_version import version_of


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    monkeypatch.delenv(native.VARIABLE, raising=False)
    monkeypatch.setattr(native, "_CHECKOUT", tmp_path / "checkout")
    monkeypatch.setattr(native, "_installed", lambda: None)


@pytest.fixture
def any_cpu(monkeypatch):
    flags = {"avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_bf16"}
    monkeypatch.setattr(native, "cpu_model_and_flags", lambda: ("a CPU", frozenset(flags)))


@pytest.fixture
def any_file_fits(monkeypatch):
    """Files that are no libraries are taken for ours."""
    monkeypatch.setattr(native, "version_of", lambda path, backend: int(native.VERSION))


def test_engines_without_native_kernels_need_none(nowhere):
    assert native.why_not(None) is None


def test_the_usual_place_is_announced_with_what_to_run(nowhere, any_cpu):
    assert "run make native" in native.why_not(native.VERSION)


def test_the_variable_wins_and_is_named_when_it_is_wrong(monkeypatch, tmp_path, any_cpu, any_file_fits):
    path = tmp_path / "kernels.so"
    monkeypatch.setenv(native.VARIABLE, str(path))
    assert native.library() is None
    assert str(path) in native.why_not(native.VERSION)
    path.write_bytes(b"")
    assert native.library() == path
    assert native.why_not(native.VERSION) is None


def test_a_cpu_without_avx2_is_told_so(monkeypatch):
    monkeypatch.setattr(native, "cpu_model_and_flags", lambda: ("an old CPU", frozenset({"sse4_2"})))
    assert "AVX2" in native.why_not(native.VERSION)


def test_bf16_engines_need_the_instructions_of_their_kernel(monkeypatch, any_file_fits):
    flags = {"avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"}
    monkeypatch.setattr(native, "library", lambda backend: "kernels.so")
    for lacking, said in ((set(), None), ({"avx512_bf16"}, "lacks avx512_bf16"), ({"avx512vl"}, "lacks avx512vl")):
        have = frozenset((flags | {"avx512_bf16"}) - lacking)
        monkeypatch.setattr(native, "cpu_model_and_flags", lambda have=have: ("a CPU", have))
        reason = native.why_not(native.VERSION, precision="bf16")
        assert reason is None if said is None else said in reason and "use an fp32 engine" in reason
        assert native.why_not(native.VERSION, precision="fp32") is None


@pytest.mark.parametrize("needed", ["99", "", "two"])
def test_a_version_that_only_a_later_release_knows_is_told_so(any_cpu, needed):
    reason = native.why_not(needed)
    assert f"version {needed}, and this HarmonyRT knows those up to {native.VERSION}" in reason
    assert "build the bundle again" in reason


@pytest.fixture
def an_old_library(monkeypatch, tmp_path, any_cpu):
    """One of the time before libraries told their version: any other library, which has no such function."""
    shared = importlib.util.find_spec("onnxruntime").submodule_search_locations[0]
    found = Path(shared) / "capi/libonnxruntime_providers_shared.so"
    if not found.is_file():
        pytest.skip("needs a library that is not ours: this ONNX Runtime has none")
    path = tmp_path / native._NAMES["onnxruntime"]
    shutil.copy(found, path)
    monkeypatch.setenv(native.VARIABLE, str(tmp_path))
    return path


def test_an_old_library_still_computes_the_engines_of_its_time(an_old_library):
    assert version_of(an_old_library, "onnxruntime") == 1
    assert native.why_not("1", "onnxruntime", "fp32") is None


@pytest.mark.parametrize(("needed", "precision"), [("2", "fp32"), ("1", "int8"), ("2", "int8"), ("1", "bf16")])
def test_an_old_library_is_told_from_what_a_newer_engine_needs(an_old_library, needed, precision):
    reason = native.why_not(needed, "onnxruntime", precision)
    assert f"needs native kernels of version 2, and {an_old_library} has version 1: run make native" in reason
    assert f"have {native.VARIABLE} name newer ones" in reason


def test_an_old_library_of_the_package_is_mended_by_pip(monkeypatch, an_old_library):
    monkeypatch.delenv(native.VARIABLE)
    monkeypatch.setattr(native, "_CHECKOUT", an_old_library.parent / "checkout")
    monkeypatch.setattr(native, "_installed", lambda: an_old_library.parent)
    monkeypatch.setattr(native, "_version", {"harmonyrt": "1.2.3", native.PACKAGE: "1.2.3"}.__getitem__)
    reason = native.why_not(native.VERSION, "onnxruntime", "int8")
    assert reason.endswith("run pip install --force-reinstall harmonyrt-native==1.2.3")


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_library_that_does_not_load_is_told_so(monkeypatch, tmp_path, any_cpu, backend):
    pytest.importorskip(backend)
    path = tmp_path / native._NAMES[backend]
    path.write_bytes(b"no library")
    monkeypatch.setenv(native.VARIABLE, str(path))
    reason = native.why_not("1", backend)
    assert f"of {path} do not fit this " in reason
    assert "run make native again" in reason


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_what_make_native_builds_tells_the_newest_version(backend):
    path = native.library(backend)
    if path is None or importlib.util.find_spec(backend) is None:
        pytest.skip("needs the kernels in C++: run make native")
    assert version_of(path, backend) == int(native.VERSION)
    assert set(native.NEEDED.values()) <= {str(one) for one in range(1, int(native.VERSION) + 1)}


def test_of_a_library_for_openvino_nothing_is_said_without_openvino(monkeypatch, tmp_path, any_cpu):
    from harmonyrt.runtime.native import library_version

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(library_version.importlib, "import_module", absent)
    assert version_of(tmp_path / "kernels.so", "openvino") is None


@pytest.fixture
def package(monkeypatch, nowhere, any_cpu, any_file_fits, tmp_path):
    """package(version): `harmonyrt-native` of a version is installed, with libraries for both backends."""

    def install(version):
        for name in native._NAMES.values():
            (tmp_path / name).write_bytes(b"")
        monkeypatch.setattr(native, "_installed", lambda: tmp_path)
        monkeypatch.setattr(native, "_version", {"harmonyrt": "1.2.3", native.PACKAGE: version}.__getitem__)
        return tmp_path

    return install


def test_the_package_of_our_version_has_a_library_for_each_backend(package):
    folder = package("1.2.3")
    found = {backend: native.library(backend) for backend in ("openvino", "onnxruntime")}
    assert found == {backend: folder / f"libharmonyrt_native_{backend}.so" for backend in found}
    assert native.why_not(native.VERSION, "onnxruntime") is None


def test_the_package_of_another_version_is_not_used_and_said_to_be_another(package):
    package("1.2.2")
    assert native.library("openvino") is None
    reason = native.why_not(native.VERSION, "openvino")
    assert "harmonyrt-native 1.2.2 is installed next to harmonyrt 1.2.3" in reason
    assert "pip install harmonyrt-native==1.2.3" in reason


def test_a_package_that_lacks_a_library_is_told_so(package):
    (package("1.2.3") / "libharmonyrt_native_onnxruntime.so").unlink()
    assert native.why_not(native.VERSION, "openvino") is None
    assert "has none for onnxruntime" in native.why_not(native.VERSION, "onnxruntime")


def test_the_variable_may_name_a_folder_or_the_library_of_either_backend(monkeypatch, tmp_path, nowhere):
    libraries = [tmp_path / native._NAMES[backend] for backend in ("openvino", "onnxruntime")]
    for library in libraries:
        library.write_bytes(b"")
    for named in (tmp_path, *libraries):
        monkeypatch.setenv(native.VARIABLE, str(named))
        assert [native.library(backend) for backend in ("openvino", "onnxruntime")] == libraries
