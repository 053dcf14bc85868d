#!/usr/bin/env python3
"""Build engine bundles from a checkpoint: the main job, also known as `harmonyrt build`.

python export/build_engines.py phnet --sizes 128 --precisions fp32 --targets onnx --output engines/
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

try:
    from harmonyrt.common.signals import ended_at_once

    with ended_at_once():
        from harmonyrt.common import HarmonyWarning
        from harmonyrt.common.program import run_program
        from harmonyrt.common.progress import say
        from harmonyrt.export.build.options import parse
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("harmonyrt"):
        raise
    sys.exit("HarmonyRT is not installed for this Python: run pip install -e '.[build]' in the repository")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `harmonyrt build`; returns the exit code: 0 fine, 1 an engine failed, 2 wrong usage, 130 interrupted."""
    given = list(sys.argv[1:] if argv is None else argv)

    def work() -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("always", HarmonyWarning)
            warnings.showwarning = _say_warning
            arguments = parse(given)
            return arguments.run(arguments)

    return run_program(work, interrupted="interrupted; the bundle that was being built was not written")


def _say_warning(message, category, filename, lineno, file=None, line=None) -> None:
    say(f"warning: {message}")


if __name__ == "__main__":
    sys.exit(main())
