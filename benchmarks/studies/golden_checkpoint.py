"""A PHNet checkpoint of the published size (39.9 M) with golden weights, so that anybody can repeat the tables.

    python -m harmonyrt.benchmarks.studies.golden_checkpoint golden.pth

The weights follow from tensor names and shapes alone (tests/golden/RECIPE.md): right for timing and for parity, of no
use for pictures. Needs a clone of the repository, since the recipe belongs to the tests.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from harmonyrt.common import HarmonyError
from harmonyrt.common.errors import require
from harmonyrt.common.files import written_whole
from harmonyrt.common.program import run_program

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
STATE_DICTS = {"39.9m": "phnet_state_dict.json", "10m": "phnet_iharmony4_state_dict.json"}


def write(path: Path, size: str = "39.9m") -> None:
    """Write the checkpoint of one of :data:`STATE_DICTS`, laid out as the released ones.

    Raises:
        HarmonyError: the recipe is not there, torch is missing, or `path` cannot be written.
    """
    torch = require("torch", "build", "writing a checkpoint")
    spec = importlib.util.spec_from_file_location("golden_recipe", GOLDEN / "recipe.py")
    if not (GOLDEN / "recipe.py").is_file() or spec is None or spec.loader is None:
        raise HarmonyError(f"{GOLDEN / 'recipe.py'} does not exist; run this in a clone of the repository")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    entries = json.loads((GOLDEN / STATE_DICTS[size]).read_text(encoding="utf-8"))["tensors"]
    weights = {name: torch.from_numpy(array) for name, array in recipe.state_dict(entries).items()}
    with written_whole(path) as scratch:
        torch.save(weights, scratch)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("output", type=Path, help="the checkpoint that is written (.pth)")
    parser.add_argument("--size", choices=STATE_DICTS, default="39.9m", help="which of the two configurations")
    arguments = parser.parse_args(argv)
    return run_program(lambda: write(arguments.output, arguments.size))


if __name__ == "__main__":
    sys.exit(main())
