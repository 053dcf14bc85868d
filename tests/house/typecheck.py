"""Run mypy on the public faces, through links in a scratch folder: mypy knows nothing of package-dir."""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    *("benchmarks", "calibration", "cli", "common", "evaluation", "export", "fleet", "models", "runtime", "serving"),
    *("training", "video"),
)


def typecheck() -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as scratch:
        house = Path(scratch) / "harmonyrt"
        house.mkdir()
        for room in ROOMS:
            (house / room).mkdir()
            for entry in (ROOT / room).iterdir():  # a folder of data next to a module of its name would hide the module
                if entry.suffix == ".py" or entry.name == "py.typed" or (entry / "__init__.py").exists():
                    (house / room / entry.name).symlink_to(entry)
        command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "-p", "harmonyrt"]
        return subprocess.run(
            [*command, "--cache-dir", str(ROOT / ".mypy_cache")], cwd=scratch, capture_output=True, text=True
        )


if __name__ == "__main__":
    result = typecheck()
    print(result.stdout + result.stderr)
    sys.exit(result.returncode)
