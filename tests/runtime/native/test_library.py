"""Where the fused kernels are looked for, and what is said when there are none."""

import pytest

from harmonyrt.runtime import native


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    monkeypatch.delenv(native.VARIABLE, raising=False)
    monkeypatch.setattr(native, "_CHECKOUT", tmp_path / "checkout")
    monkeypatch.setattr(native, "_installed", lambda: None)


@pytest.fixture
def any_cpu(monkeypatch):
    monkeypatch.setattr(native, "cpu_model_and_flags", lambda: ("a CPU", frozenset({"avx2", "fma"})))


def test_engines_without_native_kernels_need_none(nowhere):
    assert native.why_not(None) is None


def test_the_usual_place_is_announced_with_what_to_run(nowhere, any_cpu):
    assert "run make native" in native.why_not(native.VERSION)


def test_the_variable_wins_and_is_named_when_it_is_wrong(monkeypatch, tmp_path, any_cpu):
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


def test_bf16_engines_need_the_instructions_of_their_kernel(monkeypatch):
    flags = {"avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"}
    monkeypatch.setattr(native, "library", lambda backend: "kernels.so")
    for lacking, said in ((set(), None), ({"avx512_bf16"}, "lacks avx512_bf16"), ({"avx512vl"}, "lacks avx512vl")):
        have = frozenset((flags | {"avx512_bf16"}) - lacking)
        monkeypatch.setattr(native, "cpu_model_and_flags", lambda have=have: ("a CPU", have))
        reason = native.why_not(native.VERSION, precision="bf16")
        assert reason is None if said is None else said in reason and "use an fp32 engine" in reason
        assert native.why_not(native.VERSION, precision="fp32") is None


def test_another_version_of_the_operator_is_told_so(any_cpu):
    assert "version 99" in native.why_not("99")


@pytest.fixture
def package(monkeypatch, nowhere, any_cpu, tmp_path):
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
