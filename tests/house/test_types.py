"""The public faces are typed."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_mypy_finds_nothing():
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("typecheck.py"))], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
