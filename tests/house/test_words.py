"""Words that had two meanings, or read as translated, stay out: docs/architecture.md has the words to use."""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HISTORY = (
    "CHANGELOG.md",
    "LICENSE",
    "docs/training_log.md",
    "benchmarks/results/",
    "tests/golden/",
    "tests/house/test_words.py",
)
OLD = {
    r"\bcards?\b": "GPU",
    r"\bbeside\b": "next to, besides, alongside",
    r"\banew\b": "again",
    r"\bfor want of\b": "because there is no",
    r"\b[Ww]orkshop\b": "BuildSession",
    r"\bLoopPlan\b": "SamplingSchedule",
    r"\bJudge\b|\bVerdict\b": "Evaluator, Quality",
    r"\b[Ll]otter(y|ies)\b": "weights, drawn by weight",
    r"\bFORMS\b|\bform_of\b|\b(residual|sigmoid|signed|unsigned) form\b": "QdqStyle, residual output",
    r"\bof (yours|mine)\b": "your, my",
    r"\ban? (process|thread|environment|folder|terminal) of its own\b": "a separate …",
    r"\bwhich this \w+ has not\b": "that this … does not have",
}
ALLOWED = re.compile(r"""[Mm]odel card|["']cards?["']|\.cards\b|["']#\w+-card["']|cards: tuple|\bcards=gpus""")
"""Model cards, and names that files and their readers share."""
SUFFIXES = (".py", ".md", ".cpp", ".hpp", ".h", ".cu", ".c", ".toml", ".yml")


@functools.cache
def lines() -> list[tuple[str, str]]:
    """(place, text) of every line of the code and documents, without what is allowed."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [name for name in listed.splitlines() if name.endswith(SUFFIXES) and not name.startswith(HISTORY)]
    return [
        (f"{name}:{number}", ALLOWED.sub("", line))
        for name in names
        if (ROOT / name).is_file()
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1)
    ]


@pytest.mark.parametrize("old", OLD)
def test_old_words_are_gone(old):
    found = [f"{place}: {line.strip()}" for place, line in lines() if re.search(old, line)]
    assert not found, f"say {OLD[old]} instead:\n" + "\n".join(found)
