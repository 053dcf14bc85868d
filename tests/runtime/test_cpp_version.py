"""The C header and the Python distribution are of one version."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_header_has_the_version_of_pyproject():
    header = (ROOT / "runtime/cpp/include/harmonyrt.h").read_text(encoding="utf-8")
    numbers = [re.search(rf"#define HRT_VERSION_{part} (\d+)", header)[1] for part in ("MAJOR", "MINOR", "PATCH")]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^version = "(.+)"$', project, re.MULTILINE)[1] == ".".join(numbers)
