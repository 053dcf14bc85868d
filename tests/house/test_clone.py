"""A fresh clone holds all that its tests need."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BESIDE = re.compile(r"""parents\[\d\]\.parent|["'/]shared["'/]""")
"""How a test would reach for files beside the checkout."""


def test_no_test_reads_files_beside_the_checkout():
    found = []
    for path in set((ROOT / "tests").rglob("*.py")) - {Path(__file__)}:
        code = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
        found += [f"{path.relative_to(ROOT)}: {line.strip()}" for line in code if BESIDE.search(line)]
    assert not found


def test_golden_data_are_committed():
    if not (ROOT / ".git").exists():
        pytest.skip("needs a clone; this is a copy without its history")
    folder = ROOT / "tests" / "golden"
    tracked = subprocess.run(["git", "ls-files", "-z", "."], cwd=folder, capture_output=True, text=True, check=True)
    on_disk = {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts}
    missing = {name for name in on_disk if (folder / name).is_file()} - set(tracked.stdout.split("\0"))
    assert not missing
