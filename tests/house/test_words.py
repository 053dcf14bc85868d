"""Words that had two meanings, or read as translated, stay out: docs/architecture.md has the words to use."""

from __future__ import annotations

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
    r"\bwhich this \w+ has not\b": "that this … does not have",
}
ALLOWED = re.compile(r"""[Mm]odel card|["']cards?["']|\.cards\b|["']#\w+-card["']|cards: tuple|\bcards=gpus""")
"""Model cards, and names that files and their readers share."""
SUFFIXES = (".py", ".md", ".cpp", ".hpp", ".h", ".cu", ".c", ".toml", ".yml")


def files() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if name.endswith(SUFFIXES) and not name.startswith(HISTORY)]


@pytest.mark.parametrize("old", OLD)
def test_old_words_are_gone(old):
    pattern = re.compile(old)
    found = []
    for name in files():
        path = ROOT / name
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.is_file() else (), 1):
            if pattern.search(ALLOWED.sub("", line)):
                found.append(f"{name}:{number}: {line.strip()}")
    assert not found, f"say {OLD[old]} instead:\n" + "\n".join(found)
