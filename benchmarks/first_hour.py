"""The first hour with a GPU: everything that only a GPU can show, in parts of under nine minutes, in one folder.

    python benchmarks/first_hour.py --output runs/first-hour
    python benchmarks/first_hour.py --part soak --output runs/first-hour      # one part, by number or name

What is here, builds, gates, GPU tests, our kernels, the suites of PHNet and DiffHarmony, 20,000 calls,
compute-sanitizer and Nsight. Each part runs in a separate process that is ended in time; one that fails is a row with a
sentence, and the rest goes on. The folder gets one JSON file for each part, and `index.html`. A part that is done is
not done again while its inputs (code, weights, GPU, driver, packages) stay the same: an interrupted run goes on.

`--dry-run` walks through every part on a machine without a GPU, with stand-ins; it writes "dry" where numbers would be.
Runs from a checkout that was not installed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import types
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
try:
    importlib.import_module("harmonyrt.benchmarks")
except ImportError:  # a checkout on a bare machine: the rooms are the subpackages, for child processes too
    package = types.ModuleType("harmonyrt")
    package.__path__ = [str(ROOT)]
    sys.modules["harmonyrt"] = package
    os.environ["HARMONYRT_FIRST_HOUR_UNINSTALLED"] = "1"

from harmonyrt.benchmarks import gpu_suite  # noqa: E402
from harmonyrt.benchmarks.gpu_hour import driver  # noqa: E402
from harmonyrt.benchmarks.gpu_hour.parts import PARTS, chosen  # noqa: E402
from harmonyrt.common import HarmonyError  # noqa: E402
from harmonyrt.common.files import make_folder  # noqa: E402
from harmonyrt.common.program import run_program  # noqa: E402


def main(argv: Sequence[str] | None = None) -> int:
    """Run the hour: 0 fine, 1 a part failed, 2 wrong usage or no GPU, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    interrupted = "interrupted; what was done is in the folder, and the same command goes on from there"
    return run_program(lambda: _run(arguments), interrupted)


def _parser() -> argparse.ArgumentParser:
    parts = "\n".join(f"  {part.number:>2} {part.name:<18} {part.seconds:>4} s  {part.shows}" for part in PARTS)
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0],
        epilog=f"parts, and the most that each may take:\n{parts}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--output", required=True, type=Path, metavar="DIR", help="folder of the run; one that exists is gone on with")
    add("--part", nargs="+", default=[], metavar="PART", help="only these, by number or name (default: all)")
    add("--dry-run", action="store_true", help="walk through it without a GPU; measures nothing")
    add("--force", action="store_true", help="do again what was done with the same inputs")
    add("--child", help=argparse.SUPPRESS)
    add("--child-seconds", type=float, default=0, help=argparse.SUPPRESS)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    wanted = chosen(arguments.part)
    output = make_folder(arguments.output).resolve()
    if arguments.child:
        return driver.child(arguments.child, output, arguments.dry_run, arguments.child_seconds)
    if not arguments.dry_run and gpu_suite.clocks("name") is None:
        raise HarmonyError(
            "nvidia-smi finds no GPU here: run this on the machine with the GPU, or see what it does with --dry-run"
        )
    code = driver.run_parts(wanted, output, arguments.dry_run, arguments.force, {})
    print(output / "index.html")
    return code


if __name__ == "__main__":
    sys.exit(main())
