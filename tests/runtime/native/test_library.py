"""Where the fused kernels are looked for, and what is said when there are none."""

import pytest

from harmonyrt.runtime import native


@pytest.fixture
def nowhere(monkeypatch):
    monkeypatch.delenv(native.VARIABLE, raising=False)
    monkeypatch.setattr(native, "_PLACES", ())


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


def test_another_version_of_the_operator_is_told_so(any_cpu):
    assert "version 99" in native.why_not("99")
