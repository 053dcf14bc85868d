"""`python -m harmonyrt.cli` is `harmonyrt`."""

import sys

from harmonyrt.common.signals import ended_at_once


def main() -> int:
    """Run the command line of this process; returns its exit code."""
    with ended_at_once():
        from harmonyrt.cli.main import main as run
    return run()


if __name__ == "__main__":
    sys.exit(main())
