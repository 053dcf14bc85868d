"""A fresh clone holds all that its tests need."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OUTSIDE = re.compile(r"""parents\[\d\]\.parent\b|/ ["']shared["']|(Path|open)\(["']\.\./""")
"""How a test would reach for files next to the checkout."""


def test_no_test_reads_files_beside_the_checkout():
    found = []
    for path in set((ROOT / "tests").rglob("*.py")) - {Path(__file__)}:
        code = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
        found += [f"{path.relative_to(ROOT)}: {line.strip()}" for line in code if OUTSIDE.search(line)]
    assert not found


def test_golden_lists_have_one_tensor_a_line():
    """A change of one tensor is then a change of one line."""
    for path in sorted((ROOT / "tests" / "golden").glob("*.json")):
        text = path.read_text()
        tensors = json.loads(text)["tensors"]
        lines = text.splitlines()
        assert all(f"  {json.dumps(name)}: {json.dumps(about)}" in text for name, about in tensors.items()), path
        assert len(lines) < len(tensors) + 40, path


def test_golden_cases_are_read_by_tests():
    """By name, or as one of a kind that a test runs all cases of."""
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    kinds = ("dh_unet_", "dh_vae_", "dh_cvae_", "dh_refiner_", "dh_pipeline_", "dh_null_text", "phnet_")
    assert all(f'"{kind}"' in tests for kind in kinds)
    for path in (ROOT / "tests" / "golden" / "public").glob("*.npz"):
        assert path.stem in tests or path.stem.startswith(kinds), f"no test reads {path.name}; remove it"
        assert not path.stem.startswith("phnet_e2e"), "tests pass over it"


def test_golden_data_are_committed():
    if not (ROOT / ".git").exists():
        pytest.skip("needs a clone; this is a copy without its history")
    folder = ROOT / "tests" / "golden"
    tracked = subprocess.run(["git", "ls-files", "-z", "."], cwd=folder, capture_output=True, text=True, check=True)
    on_disk = {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts}
    missing = {name for name in on_disk if (folder / name).is_file()} - set(tracked.stdout.split("\0"))
    assert not missing


def test_a_skip_for_anything_but_what_a_machine_may_lack_fails_the_run(tmp_path):
    (tmp_path / "recipe.py").write_text("")  # a folder without golden cases: tests that need one are skipped
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/evaluation/test_metrics.py"]
    environment = {**os.environ, "HARMONYRT_GOLDEN": str(tmp_path)}
    done = subprocess.run([*command, "--strict-skips"], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 1, done.stdout
    assert "FAILED: no test may be skipped for this reason: Skipped: golden case" in done.stdout
