"""Starting this distribution's own modules as programs."""

from __future__ import annotations

import sys

_START = "import runpy, sys; sys.path[:1] = []; runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"


def module_command(module: str, python: str | None = None) -> list[str]:
    """The command that runs a module, like ``python -m``, but never one from the working directory.

    With ``-m`` a folder named ``harmonyrt`` there, a clone or a place for results, would come before the installed
    package. (Python 3.11 has ``-P`` for this.)

    Args:
        module: its full name.
        python: the interpreter of another environment, which must have this distribution too; None for this one.
    """
    return [python or sys.executable, "-c", _START, module]
