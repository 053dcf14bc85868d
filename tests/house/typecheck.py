"""Run mypy on the public faces, through links in a scratch folder: mypy knows nothing of package-dir."""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("common", "models", "runtime", "evaluation")


def typecheck() -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as scratch:
        house = Path(scratch) / "harmonyrt"
        house.mkdir()
        for room in ROOMS:
            (house / room).symlink_to(ROOT / room)
        command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "-p", "harmonyrt"]
        return subprocess.run(
            [*command, "--cache-dir", str(ROOT / ".mypy_cache")], cwd=scratch, capture_output=True, text=True
        )


if __name__ == "__main__":
    result = typecheck()
    print(result.stdout + result.stderr)
    sys.exit(result.returncode)
