"""One version everywhere: pyproject.toml, the C header (which CMake reads), CITATION.cff and the changelog."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def found(pattern: str, name: str) -> str:
    match = re.search(pattern, text(name), re.MULTILINE)
    assert match, f"{name} has no version"
    return match[1]


VERSION = found(r'^version = "(.+)"$', "pyproject.toml")


def test_the_header_has_the_version_of_pyproject():
    header = "runtime/cpp/include/harmonyrt.h"
    numbers = [found(rf"#define HRT_VERSION_{part} (\d+)", header) for part in ("MAJOR", "MINOR", "PATCH")]
    assert ".".join(numbers) == VERSION
    assert f'/* "{VERSION}": the library' in text(header)


def test_the_citation_has_the_version_of_pyproject():
    assert found(r"^version: (.+)$", "CITATION.cff") == VERSION


def test_the_changelog_begins_with_the_version_of_pyproject():
    assert found(r"^## (?:\[)?(\d+\.\d+\.\d+)", "CHANGELOG.md") == VERSION


def test_the_second_wheel_has_the_version_of_pyproject_and_needs_it():
    second = "runtime/native/pyproject.toml"
    assert found(r'^version = "(.+)"$', second) == VERSION
    assert found(r'"harmonyrt==([^"]+)"', second) == VERSION


def test_the_second_wheel_is_linked_with_the_tested_openvino():
    tested = found(r"^openvino==(\S+)$", "constraints.txt")
    assert set(re.findall(r'"openvino==([^"]+)"', text("runtime/native/pyproject.toml"))) == {tested}


def test_documents_ask_cmake_for_this_minor_version():
    minor = ".".join(VERSION.split(".")[:2])
    for name in ("docs/embedding.md", "runtime/cpp/tests/consumer/CMakeLists.txt"):
        assert found(r"find_package\(HarmonyRT (\S+) REQUIRED\)", name) == minor
