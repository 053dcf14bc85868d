"""The table of what runs where, and the sentences made of it."""

from __future__ import annotations

import pytest

from harmonyrt.common import HarmonyError
from harmonyrt.runtime.backends.tensorrt import versions


@pytest.mark.parametrize(
    ("target", "version", "capability", "runs"),
    [
        ("tensorrt", "8.6.1", (7, 0), True),
        ("tensorrt", "10.0.1", (7, 0), True),
        ("tensorrt", "10.4.0", (7, 0), True),
        ("tensorrt", "10.4.0.26", (7, 0), True),
        ("tensorrt", "10.5.0", (7, 0), False),
        ("tensorrt", "10.16.1.11", (7, 0), False),
        ("tensorrt", "11.4.0", (7, 0), False),
        ("tensorrt", "11.4.0", (7, 5), True),
        ("tensorrt", "10.9.0", (9, 0), True),
        ("tensorrt-rtx", "1.7.1.116", (8, 9), True),
        ("tensorrt-rtx", "1.7.1.116", (7, 0), False),
        ("tensorrt-rtx", "1.7.1.116", (9, 0), False),
    ],
)
def test_which_release_takes_which_gpu(target, version, capability, runs):
    assert (versions.why_unsupported(target, version, capability) is None) is runs


def test_a_v100_is_advised_the_last_series_that_takes_it_and_newer_gpus_the_newest():
    assert "'tensorrt-cu12==10.4.0'" in versions.advice(versions.V100)
    assert "'tensorrt>=11'" in versions.advice((8, 9))


def test_every_series_names_its_source():
    assert all(series.source and series.install and series.cuda for series in versions.SERIES)


@pytest.mark.parametrize(
    ("need", "capability", "admitted"),
    [
        ("8.9", (8, 9), True),
        ("8.9", (8, 6), False),
        ("8.0, 8.6, 12.0", (12, 0), True),
        ("8.0+", (12, 0), True),
        ("8.0+", (7, 5), False),
    ],
)
def test_needs_of_a_manifest(need, capability, admitted):
    assert versions.admits(need, capability) is admitted


def test_versions_are_compared_as_far_as_both_are_given():
    assert versions.version_fits("10.4.0", "10.4.0.26")
    assert not versions.version_fits("10.4.0", "10.4.1")
    assert versions.version_fits("10.4.0", "11.0.0", compatible=True)
    assert not versions.version_fits("10.4.0", "10.3.0", compatible=True)
    assert versions.parse_version("10.14.1.48.post1") == (10, 14, 1, 48)


@pytest.mark.parametrize("text", ["8.9", "sm_89", "SM89", "89"])
def test_capabilities_are_read_in_the_usual_spellings(text):
    assert versions.parse_capability(text) == (8, 9)
    assert versions.parse_capability("12.0") == versions.parse_capability("sm120") == (12, 0)


def test_a_capability_that_is_none_is_one_sentence():
    with pytest.raises(HarmonyError, match=r"compute capability 'ampere' is not of the form 8\.9"):
        versions.parse_capability("ampere")


def test_a_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(versions._MODULES, "tensorrt", ("no_such_tensorrt",))
    for look in (versions.check_installed, versions.load):
        with pytest.raises(HarmonyError, match=r"not installed: run pip install 'harmonyrt\[tensorrt\]'"):
            look("tensorrt")
